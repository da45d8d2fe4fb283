"""From generations to the JSON of /v1/completions and its streams. Knows no requests on their way and no models' insides.

What is written is what /generate writes, but for a stop sequence: here the text ends before it.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json, to_json

from service.errors import RequestError
from service.http import pieces
from service.http.answers import chosen
from service.http.completion_requests import CompletionRequest
from service.http.completion_schemas import as_fault
from service.http.lean import Content
from service.http.pieces import Held, Piece, Source
from service.http.requests import GenerateRequest
from service.inference.sequence import Generated, Token
from service.model import Model
from service.text import Encoded

_ENDS = {"length": "length", "eos_token": "stop", "stop_sequence": "stop"}  # why a text ended, no password  # nosec B105


@dataclass(slots=True)
class Shown:
    """How far one choice of an answer has come: what is held back, and how many characters were shown."""

    held: Held
    characters: int = 0


@dataclass(slots=True)
class CompletionWriter:
    """Everything that shapes the answer to one request, apart from what was generated; and how far its stream has come."""

    id: str
    asked: CompletionRequest
    wanted: GenerateRequest
    model: Model
    prompts: list[Encoded]
    created: int = field(default_factory=lambda: int(time.time()))
    _shown: dict[int, Shown] = field(default_factory=dict)
    _written: int = 0  # words of the results that have ended

    def whole(self, results: Sequence[Generated]) -> Content:
        choices: list[dict[str, Any]] = []
        for prompt, likeliest in enumerate(chosen(self.wanted.parameters, results)):
            choices += [self._whole_choice(len(choices) + index, prompt, one) for index, one in enumerate(likeliest)]
        usage = self._usage(sum(len(one.ids) for one in results))
        return Content(to_json(self._completion(choices) | {"usage": usage}))

    def event(self, part: int, index: int, token: Token, top: list[Token], last: Generated | None) -> bytes:
        """Nothing, where the word may belong to a stop sequence: it comes with the next one that does not."""
        shown = self._shown.get(part)
        if shown is None:
            shown = self._shown[part] = self._begin(part // self.wanted.parameters.candidates, None)
        shown.held.add(pieces.of_word(self.model, token, top, index == 0, self.asked.echo))
        if last is not None:
            self._written += len(last.ids)
            return self._event([self._ended(part, shown, last)])
        new = shown.held.take()
        return self._event([self._choice(part, shown, new)]) if new else b""

    def fault(self, error: RequestError) -> bytes:
        return b"data: " + to_json(as_fault(error.error_type, str(error))) + b"\n\n"

    def end(self) -> bytes:
        told = self._event([], self._usage(self._written)) if self._tells_usage else b""
        return told + b"data: [DONE]\n\n"

    def _whole_choice(self, index: int, prompt: int, generated: Generated) -> dict[str, Any]:
        shown = self._begin(prompt, generated)
        if generated.tokens:
            for place, token in enumerate(generated.tokens):
                top = generated.top_tokens[place] if generated.top_tokens else []
                shown.held.add(pieces.of_word(self.model, token, top, place == 0, self.asked.echo))
        elif generated.text:
            lead = pieces.lead(self.model, generated.ids[0]) if self.asked.echo else ""
            shown.held.add([Piece(lead + generated.text)])
        return self._ended(index, shown, generated)

    def _begin(self, prompt: int, generated: Generated | None) -> Shown:
        """A choice for this prompt, which stands before it where echo says so; generated: where it was scored."""
        before: list[Piece] = []
        if self.asked.echo:
            source = Source(self.model, self.prompts[prompt], self.wanted.inputs.texts[prompt], self.asked.prompt.are_ids)
            before = [Piece(source.whole())]
            if generated is not None and self.asked.logprobs is not None:
                before = source.pieces(generated.prompt_logprobs, generated.prompt_top_tokens)
        return Shown(Held(self.wanted.parameters.stop, before))

    def _ended(self, index: int, shown: Shown, generated: Generated) -> dict[str, Any]:
        rest = shown.held.take_rest(generated.finish_reason == "stop_sequence")
        ends = {"finish_reason": _ENDS[generated.finish_reason], "seed": generated.seed}
        return self._choice(index, shown, rest) | ends

    def _choice(self, index: int, shown: Shown, new: list[Piece]) -> dict[str, Any]:
        text, logprobs = "".join(piece.text for piece in new), None
        if self.asked.logprobs is not None:
            offsets = [shown.characters]
            for piece in new[:-1]:
                offsets.append(offsets[-1] + len(piece.text))
            logprobs = {
                "tokens": [piece.text for piece in new],
                "token_logprobs": [piece.logprob for piece in new],
                "top_logprobs": [piece.top for piece in new] if self.asked.logprobs else None,
                "text_offset": offsets if new else [],
            }
        shown.characters += len(text)
        return {"text": text, "index": index, "logprobs": logprobs, "finish_reason": None, "seed": None}

    def _event(self, choices: list[dict[str, Any]], usage: dict[str, int] | None = None) -> bytes:
        told = {"usage": usage} if self._tells_usage else {}
        return b"data: " + to_json(self._completion(choices) | told) + b"\n\n"

    @property
    def _tells_usage(self) -> bool:
        """Whether a stream does, in an event of its own; all others then have none."""
        return self.asked.stream_options is not None and self.asked.stream_options.include_usage

    def _completion(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "text_completion",
            "created": self.created,
            "model": self.model.manifest.name,
            "system_fingerprint": self.model.label,
            "choices": choices,
        }

    def _usage(self, written: int) -> dict[str, int]:
        begun = 0 if self.model.tokenizer.end_id is None else 1
        if self.asked.prompt.are_ids:
            read = sum(
                len(from_json(text)) for text in self.wanted.inputs.texts
            )  # as they came, with an end before them or without
        else:
            read = sum(len(prompt.ids) - begun for prompt in self.prompts)
        return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
