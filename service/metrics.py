"""Every collector in one object with its own registry. Base units, bounded labels: nothing a client writes becomes a label."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """One a process, handed down; a test makes its own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self.requests = Counter("seqserve_requests_total", "Requests answered", ["route", "status"], registry=registry)
        self.request_seconds = Histogram(
            "seqserve_request_seconds",
            "Time from a request's first byte to its answer",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.queue_seconds = Histogram(
            "seqserve_queue_seconds", "Time a request waited for its first row", ["model"], buckets=_SECONDS, registry=registry
        )
        self.inference_seconds = Histogram(
            "seqserve_inference_seconds",
            "Time one batch took in onnxruntime",
            ["model", "phase"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.batch_rows = Histogram(
            "seqserve_batch_rows", "Rows of one batch", ["model", "phase"], buckets=_ROWS, registry=registry
        )
        self.padded_words = Counter("seqserve_padded_words_total", "Words computed, padding included", ["model"], registry=registry)
        self.real_words = Counter("seqserve_real_words_total", "Words computed, padding left out", ["model"], registry=registry)
        self.endings = Counter(
            "seqserve_inputs_total",
            "Accepted inputs by how they ended: answer, error or cancelled",
            ["model", "outcome"],
            registry=registry,
        )
        self.rows_in_use = Gauge("seqserve_rows_in_use", "Inputs that hold a row of a batch", ["model"], registry=registry)
        self.waiting = Gauge("seqserve_waiting", "Accepted inputs without a row yet", ["model"], registry=registry)
        self.refused = Counter("seqserve_refused_total", "Inputs refused because the queue was full", ["model"], registry=registry)
        self.models = Gauge(
            "seqserve_model_info", "1 for every model version that serves", ["model", "version", "task"], registry=registry
        )
        self.refused_models = Gauge("seqserve_refused_models", "Model folders that were refused", registry=registry)

    def observe_batch(self, model: str, phase: str, seconds: float, padded_words: int, lengths: Sequence[int]) -> None:
        """One call of onnxruntime: how long it took, and of how many rows and words; lengths (B) leave padding out."""
        self.inference_seconds.labels(model, phase).observe(seconds)
        self.batch_rows.labels(model, phase).observe(len(lengths))
        self.padded_words.labels(model).inc(padded_words)
        self.real_words.labels(model).inc(int(sum(lengths)))

    def render(self) -> bytes:
        """The text format that Prometheus scrapes."""
        return generate_latest(self.registry)
