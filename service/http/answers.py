"""From generations to the JSON of /generate and its streams. Knows no requests on their way and no models' insides."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic_core import to_json

from service.errors import RequestError
from service.http.lean import Content
from service.http.requests import GenerateParameters, GenerateRequest
from service.inference.bookmark import Seal
from service.inference.sequence import Generated, Token
from service.model import Model
from service.text import Encoded


class Writer(Protocol):
    """Puts what was generated into the form that a client expects."""

    def whole(self, results: Sequence[Generated]) -> Content:
        """The answer to all inputs; results come input by input, for each its candidates."""

    def event(self, part: int, index: int, token: Token, top: list[Token], last: Generated | None) -> bytes:
        """The server-sent event of a word of one result, the index-th; last: what was generated, where this is its last word."""

    def fault(self, error: RequestError) -> bytes:
        """What a stream that was begun has in place of a status."""

    def end(self) -> bytes:
        """What comes after the last event of all."""


@dataclass(frozen=True, slots=True)
class Author:
    """Everything that shapes the answers of /generate to one request, apart from what was generated."""

    wanted: GenerateRequest
    model: Model
    prompts: list[Encoded]
    seal: Seal

    def whole(self, results: Sequence[Generated]) -> Content:
        answers = [self._one(index, likeliest) for index, likeliest in enumerate(chosen(self.wanted.parameters, results))]
        return Content(to_json(answers if self.wanted.inputs.is_list else answers[0]))

    def event(self, part: int, index: int, token: Token, top: list[Token], last: Generated | None) -> bytes:
        """Counted from 1 as TGI does."""
        content: dict[str, Any] = {"index": index + 1, "token": _token(token)}
        if self.wanted.parameters.top_n_tokens:
            content["top_tokens"] = [_token(other) for other in top]
        content |= {"generated_text": None, "details": None}
        if last is not None:
            content["generated_text"] = self._text(0, last)
            if self.wanted.parameters.details:
                content["details"] = self._end(last)
            self._add_state(content, last)
        return b"data:" + to_json(content) + b"\n\n"

    def fault(self, error: RequestError) -> bytes:
        return b"data:" + to_json({"error": str(error), "error_type": error.error_type}) + b"\n\n"

    def end(self) -> bytes:
        return b""

    def _one(self, index: int, candidates: list[Generated]) -> Any:
        """The answer to one input, and a list of them where n asks for one."""
        answers = [self._answer(index, generated) for generated in candidates]
        return answers[0] if self.wanted.parameters.n is None else answers

    def _answer(self, index: int, generated: Generated) -> dict[str, Any]:
        content: dict[str, Any] = {"generated_text": self._text(index, generated)}
        if self.wanted.parameters.details:
            content["details"] = self._details(self.prompts[index], generated)
        self._add_state(content, generated)
        return content

    def _details(self, prompt: Encoded, generated: Generated) -> dict[str, Any]:
        details: dict[str, Any] = {
            "finish_reason": generated.finish_reason,
            "generated_tokens": len(generated.ids),
            "seed": generated.seed,
            "prefill": [{"id": word, "text": self.model.tokenizer.piece(word)} for word in prompt.ids],
        }
        if self.wanted.parameters.scores_prompt:
            self._add_scores(details, generated)
        details["tokens"] = [_token(token) for token in generated.tokens]
        if self.wanted.parameters.top_n_tokens:
            details["top_tokens"] = [[_token(token) for token in step] for step in generated.top_tokens]
        details["unknown_words"] = prompt.unknown_words
        return details

    def _add_scores(self, details: dict[str, Any], generated: Generated) -> None:
        """Of the prompt's words; the first has none, unless the model read something before it."""
        logprobs, tops = generated.prompt_logprobs, generated.prompt_top_tokens
        unscored = len(details["prefill"]) - len(logprobs)
        for place, token in enumerate(details["prefill"]):
            scored = place >= unscored
            token["logprob"] = logprobs[place - unscored] if scored else None
            if self.wanted.parameters.top_n_tokens:
                token["top_tokens"] = [_token(other) for other in tops[place - unscored]] if scored else None
        details["perplexity"] = math.exp(min(700.0, -sum(logprobs) / len(logprobs))) if logprobs else None

    def _end(self, last: Generated) -> dict[str, Any]:
        """What a stream tells when it has ended."""
        return {
            "finish_reason": last.finish_reason,
            "generated_tokens": len(last.ids),
            "input_length": len(self.prompts[0].ids),
            "seed": last.seed,
        }

    def _text(self, index: int, generated: Generated) -> str:
        """What was written, after the prompt where that is asked for; between them a space where the first word has one."""
        if not self.wanted.parameters.return_full_text:
            return generated.text
        prompt = self.model.tokenizer.normalise(self.wanted.inputs.texts[index])
        first = self.model.tokenizer.piece(generated.ids[0]) if generated.ids and prompt else ""
        return prompt + (" " if generated.text and first.startswith(" ") else "") + generated.text

    def _add_state(self, content: dict[str, Any], generated: Generated) -> None:
        if generated.bookmark is not None:
            content["state"] = self.seal.close(generated.bookmark, self.model.manifest)


def chosen(parameters: GenerateParameters, results: Sequence[Generated]) -> Iterator[list[Generated]]:
    """For every input those of its results that are answered: all, or the likeliest where there were more to choose from."""
    count = parameters.candidates
    for first in range(0, len(results), count):
        candidates = list(results[first : first + count])
        if parameters.best_of:
            candidates.sort(key=lambda generated: -generated.mean_logprob)
        yield candidates[: parameters.n or 1]


def _token(token: Token) -> dict[str, Any]:
    return {"id": token.id, "text": token.text, "logprob": token.logprob, "special": token.special}
