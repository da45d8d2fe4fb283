"""The onnxruntime session of one model. Owns batches of ids going in, logits and state coming out; holds nothing of a request.

State is data: step(ids, state) -> (logits, state). A state is a tuple of arrays, each (layers, B, hidden): one for RNN and GRU,
two (h and c) for LSTM. Row i of a batch is `[:, i, :]` of each. stack and unstack are inverses. Between two steps a state may stay
on the device that computed it (Held); host() fetches it.

A row's answer never depends on its batch-mates: right padding is exact because the operators are told the lengths, and
onnxruntime's fp32 kernels give a row the same bits for any batch size, as long as a graph sums over nothing but a first axis.
`RNN` alone does so only on one thread and for two rows or more, and is run so.
"""

import os
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

# onnxruntime's Linux wheels report to their maker from the moment they are imported, unless this is set before.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort

from service.artifact import Artifact, Manifest
from service.errors import ArtifactError, SettingsError
from service.words import Words

Array = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
Lengths = npt.NDArray[np.int32]
State = tuple[Array, ...]
Held = tuple["Array | ort.OrtValue", ...]
Provider = Literal["cpu", "cuda"]

ONNXRUNTIME_VERSION: str = ort.__version__

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_DTYPES = {"tensor(int64)": "int64", "tensor(int32)": "int32", "tensor(float)": "float32"}

# Another processor rounds differently and must not refuse a good model; a wrong model is off by far more.
GOLDEN_TOLERANCE = 2e-3


class Runtime:
    """One model, ready to run. Safe to call from several threads."""

    def __init__(self, artifact: Artifact, provider: Provider = "cpu", threads: int = 1, bound: bool | None = None) -> None:
        """bound: whether state stays on the device between steps; left out, where the device is not the CPU.

        Raises SettingsError where the provider cannot be had, ArtifactError where the graph is not what its manifest says.
        """
        require_provider(provider)
        self.manifest: Manifest = artifact.manifest
        self._where = f"{artifact.manifest.name}/{artifact.manifest.version}"
        # onnxruntime's RNN shares a batch out among its threads in ways that round differently: it gets one.
        self._session = _open_session(self._where, artifact.graph, provider, 1 if self.manifest.cell == "rnn" else threads)
        self._device = provider
        # Measured on the CPU: binding costs what it saves, as nothing is copied there either way.
        self._bound = provider != "cpu" if bound is None else bound
        self._outputs = ["logits", *(part.output for part in self.manifest.state)]
        # onnxruntime's RNN rounds a lone row differently from one among others: it never runs alone.
        self._min_rows = 2 if self.manifest.cell == "rnn" else 1
        self._check_tensors()
        self._check_golden(artifact)

    def warm_up(self, rows: int) -> None:
        """Runs once as large as a step may be, so that no request waits for memory that is asked for the first time."""
        words = np.full((rows, 1), self.manifest.special_ids.unknown, np.int64)
        if self.manifest.task == "generate":
            self.step(words, np.ones(rows, np.int32), self.initial_state(rows))
        else:
            self.classify(words, np.ones(rows, np.int32))

    def initial_state(self, rows: int) -> State:
        """Zeros, each (layers, rows, hidden): the state before any word."""
        shape = (self.manifest.layers, rows, self.manifest.sizes.hidden)
        return tuple(np.zeros(shape, np.float32) for _ in self.manifest.state)

    def step(self, ids: Ids, lengths: Lengths, state: Held, wanted: Ids | None = None) -> tuple[Array, Held]:
        """Feeds ids (B, T), padded on the right to lengths (B), after state.

        Returns the logits (K, V) of the word after the last real one of each of the wanted rows (K), all where it is left out, and
        the state (B) there. Rows that only read cost little: most of the work is in the output layer, which they do not pass.
        """
        if wanted is None:
            wanted = np.arange(len(ids))
        if len(ids) < self._min_rows:
            twice: Held = tuple(np.repeat(part, 2, axis=1) for part in host(state))
            logits, after = self.step(np.repeat(ids, 2, axis=0), np.repeat(lengths, 2), twice, wanted)
            return logits, select(host(after), [0])
        inputs: dict[str, npt.NDArray[Any]] = {"ids": ids, "lengths": lengths, "wanted": wanted}
        named = {spec.input: part for spec, part in zip(self.manifest.state, state, strict=True)}
        if self._bound:
            return self._run_bound(inputs, named)
        logits, *after = self._session.run(self._outputs, {**inputs, **named})
        return logits, tuple(after)

    def classify(self, ids: Ids, lengths: Lengths, grams: Ids | None = None) -> Array:
        """The logits (B, C) of whole texts, ids (B, T) padded on the right to lengths (B); see pad_words() for grams (U, slots)."""
        if len(ids) < self._min_rows:
            return self.classify(np.repeat(ids, 2, axis=0), np.repeat(lengths, 2), grams)[: len(ids)]
        inputs: dict[str, npt.NDArray[Any]] = {"ids": ids, "lengths": lengths}
        if self.manifest.ngrams is not None:
            # The graph's sums are the same to the bit for any number of rows but none.
            inputs["grams"] = np.zeros((1, self.manifest.ngrams.slots), np.int64) if grams is None else grams
        logits: Array = self._session.run(["logits"], inputs)[0]
        return logits

    def classify_texts(self, texts: Sequence[Words]) -> Array:
        """The logits (B, C) of texts, all of them in one batch."""
        return self.classify(*pad_words(texts, self.manifest.special_ids.padding, self.manifest.sizes.vocabulary))

    def _run_bound(self, inputs: dict[str, npt.NDArray[Any]], state: dict[str, "Array | ort.OrtValue"]) -> tuple[Array, Held]:
        """One step whose state stays where it is computed; only ids go in and logits come out."""
        binding = self._session.io_binding()
        for name, array in inputs.items():
            binding.bind_cpu_input(name, array)
        for name, part in state.items():
            value = ort.OrtValue.ortvalue_from_numpy(part, self._device, 0) if isinstance(part, np.ndarray) else part
            binding.bind_ortvalue_input(name, value)
        binding.bind_output("logits", "cpu")
        for name in self._outputs[1:]:
            binding.bind_output(name, self._device, 0)
        self._session.run_with_iobinding(binding)
        logits, *after = binding.get_outputs()
        return logits.numpy(), tuple(after)

    def _check_tensors(self) -> None:
        """The graph's inputs and outputs are the manifest's, by name, element type and fixed sizes."""
        pairs = [
            ("input", self.manifest.inputs, self._session.get_inputs()),
            ("output", self.manifest.outputs, self._session.get_outputs()),
        ]
        for kind, declared, found in pairs:
            expected = {t.name: (t.dtype, [d if isinstance(d, int) else None for d in t.shape]) for t in declared}
            actual = {t.name: (_DTYPES.get(t.type, t.type), [d if isinstance(d, int) else None for d in t.shape]) for t in found}
            if expected != actual:
                raise ArtifactError(f"{self._where}: the graph's {kind}s are {actual}, the manifest says {expected}")

    def _check_golden(self, artifact: Artifact) -> None:
        """All golden examples as one padded batch give the logits that the trainer saw."""
        golden = self.manifest.golden
        try:
            if self.manifest.task == "generate":
                logits = self._answer_in_two_steps(*pad([example.ids for example in golden], self.manifest.special_ids.padding))
            else:
                logits = self.classify_texts([artifact.encode(example.text) for example in golden])
            for row, example in zip(logits, golden, strict=True):
                worst = np.max(np.abs(row[example.outputs] - np.asarray(example.logits, np.float32)))
                if not worst <= GOLDEN_TOLERANCE:
                    raise ArtifactError(
                        f"{self._where}: the golden example {example.text!r} is answered differently, by {worst:.2g}"
                    )
        except ArtifactError:
            raise
        except Exception as error:  # onnxruntime raises classes of its own, all of them Exception
            raise ArtifactError(f"{self._where}: the graph does not run: {_first_line(error)}") from error

    def _answer_in_two_steps(self, ids: Ids, lengths: Lengths) -> Array:
        """The first words, then the rest after the state that they left: so the state is compared too."""
        logits, state = self.step(ids[:, :1], np.ones_like(lengths), self.initial_state(len(ids)))
        longer = np.flatnonzero(lengths > 1)
        if len(longer):
            logits[longer] = self.step(ids[longer, 1:], lengths[longer] - 1, select(host(state), longer.tolist()))[0]
        return logits


def require_provider(provider: Provider) -> None:
    """Raises SettingsError, saying what to do, where onnxruntime lacks the provider."""
    if _PROVIDERS[provider] not in ort.get_available_providers():
        raise SettingsError(
            f"SEQSERVE_PROVIDER={provider}, but the installed onnxruntime {ort.__version__} has no {_PROVIDERS[provider]}: "
            "install requirements-cuda.lock (onnxruntime-gpu) or set SEQSERVE_PROVIDER=cpu"
        )
    if provider == "cuda":
        ort.preload_dlls()  # the CUDA libraries that came as wheels beside onnxruntime-gpu


def pad(rows: Sequence[Sequence[int]], padding_id: int) -> tuple[Ids, Lengths]:
    """Ids of different lengths as one batch (B, T), filled up on the right, and the lengths (B)."""
    lengths = np.fromiter((len(row) for row in rows), np.int32, len(rows))
    ids = np.full((len(rows), int(lengths.max())), padding_id, np.int64)
    for target, row in zip(ids, rows, strict=True):
        target[: len(row)] = row
    return ids, lengths


def pad_words(texts: Sequence[Words], padding_id: int, vocabulary: int) -> tuple[Ids, Lengths, Ids | None]:
    """Texts as one batch: ids and lengths as pad(), and the rows (U, slots) of their unknown words one after another, if any.

    An id from the size of the vocabulary on is numbered afresh, as the size plus its row in all of these.
    """
    ids, lengths = pad([text.ids for text in texts], padding_id)
    grams = [row for text in texts for row in text.grams]
    if not grams:
        return ids, lengths, None
    before = np.cumsum([0, *(len(text.grams) for text in texts[:-1])])
    ids += np.where(ids >= vocabulary, before[:, None], 0)
    return ids, lengths, np.stack(grams)


def host(held: Held) -> State:
    """A state as arrays, wherever it was held."""
    return tuple(part if isinstance(part, np.ndarray) else part.numpy() for part in held)


def stack(states: Sequence[State]) -> State:
    """States of several batches as one, rows in the order given. The inverse of unstack."""
    return tuple(np.concatenate(parts, axis=1) for parts in zip(*states, strict=True))


def unstack(state: State) -> list[State]:
    """Each row of a state as a state of one row, not sharing memory with it. The inverse of stack."""
    return [select(state, [row]) for row in range(state[0].shape[1])]


def select(state: State, rows: Sequence[int]) -> State:
    """A copy of some rows of a state, in the order given."""
    return tuple(np.ascontiguousarray(part[:, rows]) for part in state)


def _open_session(where: str, graph: bytes, provider: Provider, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # What it would remember of every shape it has met gains nothing where there is always a new one, and is never forgotten.
    options.enable_mem_pattern = False
    # A thread that spins while it waits burns a whole core of an idle service.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # A graph that keeps weights in other files does not find them, wherever the service was started.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", "/nonexistent")
    try:
        session = ort.InferenceSession(graph, options, providers=[_PROVIDERS[provider]])
    except Exception as error:  # onnxruntime raises classes of its own, all of them Exception
        raise ArtifactError(f"{where}: onnxruntime cannot load the graph: {_first_line(error)}") from error
    session.disable_fallback()
    session._model_bytes = None  # kept for a fallback; the weights stand in the session, and need not stand here again
    if session.get_providers()[0] != _PROVIDERS[provider]:
        raise SettingsError(
            f"SEQSERVE_PROVIDER={provider}, but onnxruntime fell back to {session.get_providers()[0]}: no usable device"
        )
    return session


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
