"""Every collector in one object with its own registry. Base units, bounded labels: nothing a client writes becomes a label."""

import os
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


# Where several processes serve on one port, each writes what it counts into files, and any of them tells the totals.
_TOGETHER = "PROMETHEUS_MULTIPROC_DIR"  # prometheus-client's own: it looks when it is imported
_SUM: Literal["livesum"] = "livesum"
_ANY: Literal["livemax"] = "livemax"


class Metrics:
    """One a process, handed down; a test makes its own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._together = _TOGETHER in os.environ
        if not self._together:
            ProcessCollector(registry=registry)
            PlatformCollector(registry=registry)
        self.requests = Counter("seqserve_requests_total", "Requests answered", ["route", "status"], registry=registry)
        self.request_seconds = Histogram(
            "seqserve_request_seconds",
            "Time from a request's first byte to its answer's last",
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
        self.batches = Counter(
            "seqserve_batches_total",
            "Classification batches by why they held no more: all that waited, longer texts would pad, or the budget of words",
            ["model", "reason"],
            registry=registry,
        )
        self.padded_words = Counter("seqserve_padded_words_total", "Words computed, padding included", ["model"], registry=registry)
        self.real_words = Counter("seqserve_real_words_total", "Words computed, padding left out", ["model"], registry=registry)
        self.endings = Counter(
            "seqserve_inputs_total",
            "Accepted inputs by how they ended: answer, error, deadline or cancelled",
            ["model", "outcome"],
            registry=registry,
        )
        self.rows_in_use = Gauge(
            "seqserve_rows_in_use", "Inputs that hold a row of a batch", ["model"], registry=registry, multiprocess_mode=_SUM
        )
        self.waiting = Gauge(
            "seqserve_waiting", "Accepted inputs without a row", ["model"], registry=registry, multiprocess_mode=_SUM
        )
        self.parked = Counter(
            "seqserve_parked_total", "Rows taken from long generations for inputs that waited", ["model"], registry=registry
        )
        self.refused = Counter("seqserve_refused_total", "Inputs refused because the queue was full", ["model"], registry=registry)
        self.prefix_lookups = Counter(
            "seqserve_prefix_cache_lookups_total", "Prompts looked up in the prefix cache", ["model", "result"], registry=registry
        )
        self.prefix_words = Counter(
            "seqserve_prefix_cache_words_total", "Prompt words that the prefix cache spared", ["model"], registry=registry
        )
        self.prefix_bytes = Gauge(
            "seqserve_prefix_cache_bytes", "Memory of the prefix cache", ["model"], registry=registry, multiprocess_mode=_SUM
        )
        self.models = Gauge(
            "seqserve_model_info",
            "1 for every model version that serves",
            ["model", "version", "task"],
            registry=registry,
            multiprocess_mode=_ANY,
        )
        self.loads = Counter(
            "seqserve_model_loads_total",
            "Model versions that were tried, by outcome: served or refused",
            ["model", "outcome"],
            registry=registry,
        )
        self.refused_models = Gauge(
            "seqserve_refused_models", "Model folders that were refused", registry=registry, multiprocess_mode=_ANY
        )

    def render(self) -> bytes:
        """The text format that Prometheus scrapes."""
        if not self._together:
            return generate_latest(self.registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)

    def forget_model(self, name: str, version: str, task: str) -> None:
        """It does not serve any more."""
        if self._together:
            self.models.labels(name, version, task).set(0)  # what other processes read cannot be taken back
        else:
            self.models.remove(name, version, task)


class Phase:
    """The collectors of one kind of batch of one model, looked up once: a step has no time for labels."""

    def __init__(self, metrics: Metrics, model: str, phase: str) -> None:
        self._seconds = metrics.inference_seconds.labels(model, phase)
        self._rows = metrics.batch_rows.labels(model, phase)
        self._padded_words, self._real_words = metrics.padded_words.labels(model), metrics.real_words.labels(model)

    def observe(self, seconds: float, rows: int, padded_words: int, real_words: int) -> None:
        """One call of onnxruntime: how long it took, and of how many rows and words; real ones leave padding out."""
        self._seconds.observe(seconds)
        self._rows.observe(rows)
        self._padded_words.inc(padded_words)
        self._real_words.inc(real_words)


class Lookups:
    """The collectors of one model's prefix cache."""

    def __init__(self, metrics: Metrics, model: str) -> None:
        self._hits, self._misses = (metrics.prefix_lookups.labels(model, result) for result in ("hit", "miss"))
        self._words = metrics.prefix_words.labels(model)
        self._size, self._held = metrics.prefix_bytes.labels(model), 0

    def observe(self, words: int) -> None:
        """A prompt was looked up, and so many of its words were known."""
        (self._hits if words else self._misses).inc()
        self._words.inc(words)

    def hold(self, bytes_: int) -> None:
        """The cache is so large now; those of two versions of a model add up."""
        self._size.inc(bytes_ - self._held)
        self._held = bytes_
