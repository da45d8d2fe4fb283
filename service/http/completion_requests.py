"""What OpenAI's clients may ask of /v1/completions, and what it comes to in our own words. Knows no routes.

null is as good as left out, as these clients mean it. What has no effect with the value that they send anyway (`logit_bias: {}`) is
no fault; what would have one and is not supported is.
"""

import unicodedata
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler, WithJsonSchema, model_validator
from pydantic_core import CoreSchema, from_json, to_json

from service.errors import InvalidRequest
from service.http.requests import GenerateRequest, ModelField, OnlyFalse, StrictModel
from service.text import Encoded, Tokenizer

# What the core calls by other names, where a sentence begins with it.
NAMES = {"inputs": "prompt", "parameters.max_new_tokens": "max_tokens", "parameters.top_n_tokens": "logprobs", "parameters.": ""}

_NOT_SUPPORTED = {
    "suffix": "is not supported: the models read forwards alone, and cannot write towards what is to follow",
    "logit_bias": "is not supported",
    "presence_penalty": "is not supported; frequency_penalty is",
}


class Prompts(NamedTuple):
    """A text or several; of prompts that came as ids these are written as JSON, and read_ids reads them."""

    texts: str | list[str]
    are_ids: bool


def _read_prompt(value: Any) -> Prompts:
    if isinstance(value, str):
        return Prompts(value, are_ids=False)
    if isinstance(value, list) and value:
        if all(isinstance(one, str) for one in value):
            return Prompts(value, are_ids=False)
        if _is_ids(value):
            return Prompts(to_json(value).decode(), are_ids=True)
        if all(isinstance(one, list) and one and _is_ids(one) for one in value):
            return Prompts([to_json(one).decode() for one in value], are_ids=True)
    raise ValueError("must be a text, a list of texts, a list of a text's ids or a list of such lists, and not an empty one")


def _is_ids(value: list[Any]) -> bool:
    return all(type(one) is int and one >= 0 for one in value)


def read_ids(tokenizer: Tokenizer, text: str) -> Encoded:
    """The ids of a prompt that came as such; begun as every text is, unless they begin so themselves. Raises InvalidRequest."""
    ids: list[int] = from_json(text)
    for word in ids:
        if word >= tokenizer.vocabulary_size or word == tokenizer.padding_id:
            raise InvalidRequest(f"inputs: {word} is no word; the model has ids from 0 to {tokenizer.vocabulary_size - 1}")
    begun = [tokenizer.end_id] if tokenizer.end_id not in (None, ids[0]) else []
    return Encoded([word for word in (*begun, *ids) if word is not None], {})


_IDS = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}
_TEXT = {"type": "string", "minLength": 1}
_PROMPT_SCHEMA = {
    "anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}, _IDS, {"type": "array", "items": _IDS, "minItems": 1}],
    "description": "A text, a list of texts, the ids of a text, or a list of such lists.",
}


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Stop = Annotated[str, Field(min_length=1)]
_STOP_SCHEMA = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "maxItems": 8}]}


class StreamOptions(StrictModel):
    include_usage: bool = Field(False, description="Before the end of the stream, tell the usage.")
    include_obfuscation: OnlyFalse = Field(False, description="Nothing is added to hide how long words are.")


class CompletionRequest(StrictModel):
    """POST /v1/completions"""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"prompt": "영화가 정말", "max_tokens": 3, "temperature": 0}]},
    )

    prompt: Annotated[Prompts, BeforeValidator(_read_prompt), WithJsonSchema(_PROMPT_SCHEMA)]
    model: ModelField = None
    max_tokens: int = Field(16, ge=0, description="Words to write at the most; 0, with echo: only tell how likely the prompt is.")
    temperature: float = Field(1.0, ge=0, le=100, description="0: the likeliest word at every step; else words are drawn.")
    top_p: float = Field(1.0, gt=0, le=1, description="Draw from the likeliest words that together reach this share.")
    frequency_penalty: float = Field(0.0, ge=-2, le=2, description="Taken off a word's logit for every time that it stands.")
    seed: int | None = Field(None, ge=-(2**63), lt=2**64, description="Same seed, same words; left out, one is drawn and told.")
    stop: Annotated[list[Stop], BeforeValidator(_as_list), WithJsonSchema(_STOP_SCHEMA)] = Field(
        default_factory=list, max_length=8, description="The text ends before the first of these."
    )
    n: int = Field(1, ge=1, description="So many answers to every prompt.")
    best_of: int | None = Field(None, ge=1, description="Draw so many answers and give the n likeliest.")
    logprobs: int | None = Field(None, ge=0, le=20, description="Tell every word's log-probability, and those of the likeliest.")
    echo: bool = Field(False, description="Put the prompt before the answer.")
    stream: bool = Field(False, description="Answer with server-sent events, a word each.")
    stream_options: StreamOptions | None = None
    user: str | None = Field(None, description="Whatever the client calls its user; has no effect.")

    @model_validator(mode="before")
    @classmethod
    def _drop_what_says_nothing(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        for name, reason in _NOT_SUPPORTED.items():
            if data.get(name):
                raise ValueError(f"{name}: {reason}")
        return {name: value for name, value in data.items() if value is not None and name not in _NOT_SUPPORTED}

    @model_validator(mode="after")
    def _consistent(self) -> "CompletionRequest":
        for name in ("n", "best_of"):
            if (getattr(self, name) or 1) > 1 and not self.samples:
                raise ValueError(f"{name}: without sampling all answers would be the same; set temperature and max_tokens")
        if self.best_of is not None and self.best_of < self.n:
            raise ValueError("best_of: cannot be less than n")
        if not self.max_tokens and not self.echo:
            raise ValueError("max_tokens: 0 writes nothing; set echo to be told of the prompt")
        if self.stream:
            self._check_stream()
        elif self.stream_options is not None:
            raise ValueError("stream_options: go with stream alone")
        return self

    def _check_stream(self) -> None:
        if (self.best_of or 1) > self.n:
            raise ValueError("best_of: the best is known at the end alone, and cannot be streamed")
        if not self.max_tokens:
            raise ValueError("max_tokens: a stream has at least one word")
        if self.echo and self.logprobs is not None:
            raise ValueError("logprobs: those of the prompt (echo) are not streamed")

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """What may be left out may be null."""
        schema = handler.resolve_ref_schema(handler(core))
        for name in schema["properties"].keys() - schema["required"]:
            told = schema["properties"][name]
            if {"type": "null"} not in told.get("anyOf", []):
                beside = {key: told.pop(key) for key in ("description", "default", "title") if key in told}
                schema["properties"][name] = {"anyOf": [told, {"type": "null"}], **beside}
        return schema

    @property
    def samples(self) -> bool:
        return self.temperature > 0 and self.max_tokens > 0

    def in_our_words(self, largest: int) -> GenerateRequest:
        """The same as a request to /generate; largest: the words that an operator allows. Raises ValidationError."""
        asked = "max_tokens" in self.model_fields_set
        parameters: dict[str, Any] = {
            "max_new_tokens": self.max_tokens if asked else min(self.max_tokens, largest),
            "do_sample": self.samples,
            "details": self.logprobs is not None or not self.max_tokens,
            "decoder_input_details": self.echo and self.logprobs is not None,
            "return_full_text": self.echo,
            "top_n_tokens": self.logprobs or None,
        }
        if self.max_tokens:
            parameters |= {"stop": [unicodedata.normalize("NFC", stop) for stop in self.stop]}
            parameters |= {"frequency_penalty": self.frequency_penalty or None}
        if self.samples:
            # What changes nothing is left out: so the words are those of a request that does not name it.
            parameters |= {"temperature": self.temperature, "top_p": self.top_p if self.top_p < 1 else None}
            parameters |= {"seed": None if self.seed is None else self.seed % 2**64}
            parameters |= {"n": self.n, "best_of": self.best_of if (self.best_of or 1) > self.n else None}
        wanted = GenerateRequest.model_validate({"inputs": self.prompt.texts, "model": self.model, "parameters": parameters})
        return wanted.model_copy(update={"stream": self.stream})  # of one text or many
