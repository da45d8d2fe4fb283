"""From generations to the JSON of /generate and its streams. Knows no requests on their way and no models' insides."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json

from service.http.requests import GenerateRequest
from service.inference.bookmark import Seal
from service.inference.sequence import Generated, Token
from service.model import Model
from service.text import Encoded


@dataclass(frozen=True, slots=True)
class Author:
    """Everything that shapes the answers to one request, apart from what was generated."""

    wanted: GenerateRequest
    model: Model
    prompts: list[Encoded]
    seal: Seal

    def whole(self, results: Sequence[Generated]) -> bytes:
        """The answer to all inputs; results come input by input, for each its candidates."""
        count = self.wanted.parameters.candidates
        answers = [self._one(index, list(results[index * count : (index + 1) * count])) for index in range(len(self.prompts))]
        return to_json(answers if self.wanted.inputs.is_list else answers[0])

    def event(self, index: int, token: Token, top: list[Token], last: Generated | None) -> bytes:
        """One server-sent event, counted from 1 as TGI does; last: what was generated, where this is its last word."""
        content: dict[str, Any] = {"index": index + 1, "token": _token(token)}
        if self.wanted.parameters.top_n_tokens:
            content["top_tokens"] = [_token(other) for other in top]
        content |= {"generated_text": None, "details": None}
        if last is not None:
            content["generated_text"] = self._text(0, last)
            if self.wanted.parameters.details:
                content["details"] = {
                    "finish_reason": last.finish_reason,
                    "generated_tokens": len(last.ids),
                    "input_length": len(self.prompts[0].ids),
                    "seed": last.seed,
                }
            self._add_state(content, last)
        return b"data:" + to_json(content) + b"\n\n"

    def _one(self, index: int, candidates: list[Generated]) -> Any:
        """The answer to one input: the only candidate or the likeliest, and a list of them where n asks for one."""
        parameters = self.wanted.parameters
        if parameters.best_of:
            candidates.sort(key=lambda generated: -generated.mean_logprob)
        if parameters.n is None:
            return self._answer(index, candidates[0])
        return [self._answer(index, generated) for generated in candidates[: parameters.n]]

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
            _add_scores(details, generated.prompt_logprobs)
        details["tokens"] = [_token(token) for token in generated.tokens]
        if self.wanted.parameters.top_n_tokens:
            details["top_tokens"] = [[_token(token) for token in step] for step in generated.top_tokens]
        details["unknown_words"] = prompt.unknown_words
        return details

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


def _add_scores(details: dict[str, Any], logprobs: list[float]) -> None:
    """Log-probabilities of the prompt's words; the first has none, unless the model read something before it."""
    prefill = details["prefill"]
    unscored = len(prefill) - len(logprobs)
    for place, token in enumerate(prefill):
        token["logprob"] = None if place < unscored else logprobs[place - unscored]
    details["perplexity"] = math.exp(min(700.0, -sum(logprobs) / len(logprobs))) if logprobs else None


def _token(token: Token) -> dict[str, Any]:
    return {"id": token.id, "text": token.text, "logprob": token.logprob, "special": token.special}
