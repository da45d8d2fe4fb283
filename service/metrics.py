"""Every collector in one object with its own registry. Base units, bounded labels: nothing a client writes becomes a label."""

import os
import platform
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import onnxruntime
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from service.processes import Processes, Totals
from service.version import VERSION

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_WORD_SECONDS = (0.0001, 0.00025, *_SECONDS)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_TENTHS = tuple(tenth / 10 for tenth in range(1, 11))

# Where several processes serve on one port, each writes what it counts into files, and any of them tells the totals.
_TOGETHER = "PROMETHEUS_MULTIPROC_DIR"  # prometheus-client's own: it looks when it is imported


class Metrics:
    """One a process, handed down; a test makes its own."""

    def __init__(self, provider: str = "cpu") -> None:
        """provider: of onnxruntime, to be told."""
        self.registry = registry = CollectorRegistry()
        self._together = _TOGETHER in os.environ
        if not self._together:
            ProcessCollector(registry=registry)
            PlatformCollector(registry=registry)
        counter, timer = partial(Counter, registry=registry), partial(Histogram, registry=registry, buckets=_SECONDS)
        total, anyone = (partial(Gauge, registry=registry, multiprocess_mode=mode) for mode in ("livesum", "livemax"))
        model = ["model"]

        told = "Requests by how they ended: answer, an error's type, or left"
        self.requests = counter("seqserve_requests_total", told, ["route", "model", "status", "outcome"])
        told = "Time from a request's first byte to its answer's last"
        self.request_seconds = timer("seqserve_request_seconds", told, ["route", "model"])
        self.encode_seconds = timer("seqserve_encode_seconds", "Time to turn a request's texts into ids", model)
        self.queue_seconds = timer("seqserve_queue_seconds", "Time a request waited for its first row", model)
        self.inference_seconds = timer("seqserve_inference_seconds", "Time from a request's first row to its end", model)
        told = "Time from a request's acceptance to the first word of a text"
        self.first_word_seconds = timer("seqserve_first_word_seconds", told, model)
        told = "Mean time of a text's words after the first"
        self.word_seconds = timer("seqserve_word_seconds", told, model, buckets=_WORD_SECONDS)

        batch = ["model", "phase"]
        self.batch_seconds = timer("seqserve_batch_seconds", "Time one batch took in onnxruntime", batch)
        self.batch_rows = timer("seqserve_batch_rows", "Rows of one batch", batch, buckets=_ROWS)
        told = "Classification batches by why they held no more: all that waited, longer texts would pad, or the budget of words"
        self.batches = counter("seqserve_batches_total", told, ["model", "reason"])
        self.padded_words = counter("seqserve_padded_words_total", "Words computed, padding included", model)
        self.real_words = counter("seqserve_real_words_total", "Words computed, padding left out", model)

        self.read_words = counter("seqserve_read_words_total", "Words of accepted inputs", model)
        told = "Words of accepted inputs that the model does not know"
        self.unknown_words = counter("seqserve_unknown_words_total", told, model)
        self.generated_words = counter("seqserve_generated_words_total", "Words written", model)
        told = "Entropy of a text's label scores as a share of the largest there is: 0 is sure, 1 knows nothing"
        self.score_entropy = timer("seqserve_score_entropy_ratio", told, model, buckets=_TENTHS)

        told = "Accepted inputs by how they ended: answer, error, deadline or cancelled"
        self.endings = counter("seqserve_inputs_total", told, ["model", "outcome"])
        self.rows_in_use = total("seqserve_rows_in_use", "Inputs that hold a row of a batch", model)
        self.waiting = total("seqserve_waiting", "Accepted inputs without a row", model)
        self.parked = counter("seqserve_parked_total", "Rows taken from long generations for inputs that waited", model)
        self.refused = counter("seqserve_refused_total", "Inputs refused because the queue was full", model)
        told = "Prompts looked up in the prefix cache"
        self.prefix_lookups = counter("seqserve_prefix_cache_lookups_total", told, ["model", "result"])
        self.prefix_words = counter("seqserve_prefix_cache_words_total", "Prompt words that the prefix cache spared", model)
        self.prefix_bytes = total("seqserve_prefix_cache_bytes", "Memory of the prefix cache", model)

        self.models = anyone("seqserve_model_info", "1 for every model version that serves", ["model", "version", "task"])
        told = "Model versions that were tried, by outcome: served or refused"
        self.loads = counter("seqserve_model_loads_total", told, ["model", "outcome"])
        self.refused_models = anyone("seqserve_refused_models", "Model folders that were refused")
        built = {
            "version": VERSION,
            "python": platform.python_version(),
            "onnxruntime": onnxruntime.__version__,
            "provider": provider,
        }
        anyone("seqserve_build_info", "1 for what this is made of", list(built)).labels(**built).set(1)

    def render(self) -> bytes:
        """The text format that Prometheus scrapes."""
        if not self._together:
            return generate_latest(self.registry)
        registry = CollectorRegistry()
        folder = Path(os.environ[_TOGETHER])
        PlatformCollector(registry=registry)
        registry.register(Totals(folder))
        registry.register(Processes(folder, os.getppid()))
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
        self._seconds = metrics.batch_seconds.labels(model, phase)
        self._rows = metrics.batch_rows.labels(model, phase)
        self._padded_words, self._real_words = metrics.padded_words.labels(model), metrics.real_words.labels(model)

    def observe(self, seconds: float, rows: int, padded_words: int, real_words: int) -> None:
        """One call of onnxruntime: how long it took, and of how many rows and words; real ones leave padding out."""
        self._seconds.observe(seconds)
        self._rows.observe(rows)
        self._padded_words.inc(padded_words)
        self._real_words.inc(real_words)


class Intake:
    """The collectors of what one model is given to read."""

    def __init__(self, metrics: Metrics, model: str, unknown_id: int) -> None:
        self._unknown_id = unknown_id
        self._read, self._unknown = metrics.read_words.labels(model), metrics.unknown_words.labels(model)

    def observe(self, texts: Iterable[Sequence[int]]) -> None:
        """The ids of accepted texts."""
        read = unknown = 0
        for ids in texts:
            read += len(ids)
            unknown += ids.count(self._unknown_id)
        self._read.inc(read)
        if unknown:
            self._unknown.inc(unknown)


class Writing:
    """The collectors of what one model writes."""

    def __init__(self, metrics: Metrics, model: str) -> None:
        self._first, self._word = metrics.first_word_seconds.labels(model), metrics.word_seconds.labels(model)
        self._words = metrics.generated_words.labels(model)

    def begin(self, waited_s: float) -> None:
        """The first word of a text, so long after its request was accepted."""
        self._first.observe(waited_s)

    def step(self, words: int) -> None:
        """So many texts have one more word."""
        self._words.inc(words)

    def end(self, words: int, seconds: float) -> None:
        """A text of so many words was finished, so long after its first one."""
        if words > 1:
            self._word.observe(seconds / (words - 1))


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
