"""Examples that OpenAPI shows: a sentence for every error, and an answer for every request that the schemas show.

The models are those that ship; a test asks them, so that what is shown is what comes.
"""

from typing import Any, NamedTuple

from service.errors import (
    DeadlineExceeded,
    Forbidden,
    InternalError,
    InvalidRequest,
    NotFound,
    Overloaded,
    RequestError,
    StateMismatch,
    TooLarge,
    Unauthorized,
    Unavailable,
)
from service.version import VERSION


class Fault(NamedTuple):
    """told: when an error is answered; sentence: as it may be told then."""

    told: str
    sentence: str


Faults = dict[type[RequestError], Fault]

ERRORS: Faults = {
    Unauthorized: Fault("No API key, where keys are set", "this needs a key: authorization: Bearer KEY"),
    NotFound: Fault("No such model", "model: there is no 'mine'; there are korean-next-word, korean-sentiment"),
    StateMismatch: Fault("A state of another model", "state: is not of korean-next-word/2; begin anew with inputs"),
    TooLarge: Fault("Too many inputs, or one that is too long", "inputs[3]: 1500 words are more than the 1024 of korean-next-word"),
    InvalidRequest: Fault("The request is wrong; the sentence names the field", "parameters.top: there is no such field"),
    Overloaded: Fault(
        "The queue is full; Retry-After says when to try again",
        "1020 inputs are being worked on and 1024 are the most; try again in 2 s",
    ),
    InternalError: Fault("The model failed on this request", "the model failed on this request"),
    Unavailable: Fault("No model, or shutting down", "the service is shutting down; ask again, and another one answers"),
    DeadlineExceeded: Fault(
        "It took longer than it may (header x-request-timeout, in seconds, or the service's own limit)",
        "the request took longer than it may (x-request-timeout, SEQSERVE_REQUEST_TIMEOUT_S)",
    ),
}
# Where no state is sent, none is of another model.
STATELESS: Faults = {kind: fault for kind, fault in ERRORS.items() if kind is not StateMismatch}
READING: Faults = {kind: ERRORS[kind] for kind in (Unauthorized, Unavailable)}
READING_ONE: Faults = {Unauthorized: ERRORS[Unauthorized], NotFound: ERRORS[NotFound], Unavailable: ERRORS[Unavailable]}
NOT_READY: Faults = {
    Unavailable: Fault("Nobody should be sent here; the sentence says why", "the loop of korean-sentiment/2 has stopped")
}
FILES: Faults = READING_ONE | {
    NotFound: Fault("No such model serves, or it has no such file", "there is no curves.png of a model 'mine' that serves"),
}
CHANGES: Faults = {
    Unauthorized: Fault("No admin key", "this needs an admin key: authorization: Bearer KEY"),
    Forbidden: Fault(
        "No admin keys are set",
        "SEQSERVE_ADMIN_KEYS is not set: what serves is changed by the settings and the models folder alone",
    ),
    NotFound: Fault("No such model, or no such version", "korean-sentiment: there is no version 9; there are 2, 1"),
    InvalidRequest: Fault(
        "The version is refused; the sentence says why", "korean-sentiment/1: model.onnx is not what manifest.json says"
    ),
    Unavailable: Fault("The folder cannot be read, or shutting down", "the models folder cannot be read: Permission denied"),
}

# ------------------------------------------------------------------------------------------------- /generate and /classify

_TOKENS = [
    {"id": 9, "text": "너무", "logprob": -3.98, "special": False},
    {"id": 71, "text": " 좋다", "logprob": -2.963, "special": False},
    {"id": 3, "text": ".", "logprob": -0.755, "special": False},
]
_PREFILL = [{"id": 2, "text": "</s>"}, {"id": 31, "text": " 영화가"}, {"id": 10, "text": " 정말"}]
GENERATED: dict[str, Any] = {
    "generated_text": "너무 좋다.",
    "details": {
        "finish_reason": "length",
        "generated_tokens": 3,
        "seed": None,
        "prefill": _PREFILL,
        "tokens": _TOKENS,
        "unknown_words": [],
    },
}
LISTED: list[dict[str, Any]] = [{"generated_text": "너무 좋다..."}]
EVENT: dict[str, Any] = {"index": 1, "token": _TOKENS[0], "generated_text": None, "details": None}
LABELLED: list[dict[str, Any]] = [{"label": "positive", "score": 0.996}, {"label": "negative", "score": 0.004}]

# ------------------------------------------------------------------------------------------------------------ /v1 and /v2

_COMPLETED: dict[str, Any] = {"index": 0, "logprobs": None, "finish_reason": "length", "seed": None}
COMPLETION: dict[str, Any] = {
    "id": "cmpl-1601651ba9959f690000000000000001",
    "object": "text_completion",
    "created": 1795346612,
    "model": "korean-next-word",
    "system_fingerprint": "korean-next-word/2",
    "choices": [{"text": "너무 좋다."} | _COMPLETED],
    "usage": {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5},
}
COMPLETION_EVENT = {name: value for name, value in COMPLETION.items() if name != "usage"}
COMPLETION_MODEL: dict[str, Any] = {"id": "korean-next-word", "object": "model", "created": 1795319567, "owned_by": "seqserve"}

_LABELLER: dict[str, Any] = {"model_name": "korean-sentiment", "model_version": "2"}
_WRITER: dict[str, Any] = {"model_name": "korean-next-word", "model_version": "2"}
INFERRED: dict[str, Any] = _LABELLER | {
    "outputs": [
        {"name": "labels", "datatype": "BYTES", "shape": [1, 2], "data": ["positive", "negative"]},
        {"name": "scores", "datatype": "FP32", "shape": [1, 2], "data": [0.996, 0.004]},
    ]
}
WRITTEN: dict[str, Any] = _WRITER | {"text_output": "너무 좋다."}
WRITTEN_EVENT: dict[str, Any] = _WRITER | {"text_output": "너무", "done": False}
SERVER: dict[str, Any] = {"name": "seqserve", "version": VERSION, "extensions": ["binary_tensor_data", "generate", "parameters"]}
METADATA: dict[str, Any] = {
    "name": "korean-sentiment",
    "versions": ["2"],
    "platform": "onnxruntime_onnx",
    "inputs": [{"name": "text_input", "datatype": "BYTES", "shape": [-1]}],
    "outputs": [
        {"name": "labels", "datatype": "BYTES", "shape": [-1, -1]},
        {"name": "scores", "datatype": "FP32", "shape": [-1, -1]},
    ],
}

# --------------------------------------------------------------------------------------------------------- the service itself

MODEL: dict[str, Any] = {
    "name": "starter-next-word",
    "version": 1,
    "task": "generate",
    "default": False,
    "wanted": "newest",
    "description": "The three sentences of the course notes, continued word by word by a vanilla RNN.",
    "cell": "rnn",
    "layers": 1,
    "directions": 1,
    "hidden": 32,
    "vocabulary": 16,
    "parameters": 2064,
    "unit": "word",
    "ngrams": None,
    "tables": "float32",
    "labels": [],
    "max_input_words": 1024,
    "state_bytes": 128,
    "scores": [{"metric": "perplexity", "split": "train", "value": 1.001, "baselines": {"Kneser-Ney bigrams": 3.252}}],
    "plots": ["curves.png"],
    "trained": "2026-11-22T00:19:08Z",
}
MODELS: dict[str, Any] = {
    "models": [MODEL],
    "refused": [{"name": "mine", "version": 3, "reason": "mine/3: model.onnx is not what manifest.json says"}],
}
INFO: dict[str, Any] = {
    "service": "seqserve",
    "version": VERSION,
    "onnxruntime": "1.31.1",
    "provider": "cpu",
    "threads": 1,
    "generate_model": "korean-next-word",
    "classify_model": "korean-sentiment",
    "max_new_tokens": 512,
    "max_best_of": 8,
    "max_inputs": 256,
    "max_input_characters": 20000,
    "max_body_bytes": 1000000,
    "max_waiting": 1024,
    "max_rows": 64,
    "max_answer_tokens": 65536,
    "request_timeout_s": 60.0,
}
CHOICE: dict[str, Any] = {"name": "korean-sentiment", "wanted": 2, "serving": 2}
CARD = "# korean-sentiment\n\nIs a Korean film review positive or negative?\n"
METRICS = 'seqserve_requests_total{model="korean-next-word",outcome="answer",route="/generate",status="200"} 12.0\n'
