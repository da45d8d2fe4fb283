"""POST /generate and POST /generate_stream."""

import random
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, replace

from fastapi import APIRouter, Request, Response

from service.errors import InvalidRequest, TooLarge
from service.http import docs, examples, exchange
from service.http.answers import Author, Writer
from service.http.docs import Events
from service.http.lean import LeanRoute
from service.http.requests import GenerateParameters, GenerateRequest
from service.http.schemas import GenerateAnswer, StreamEvent
from service.http.stream import EventStream
from service.inference.bookmark import Bookmark, Seal
from service.inference.prompt import Prompt
from service.inference.sampling import SamplingOptions
from service.inference.sequence import MAX_STOP_CHARACTERS, GenerationOptions
from service.model import Model
from service.registry import Registry
from service.settings import Settings
from service.text import Encoded, Tokenizer

# Of the system's randomness once: a seed is no secret, and asking anew for each can cost more than the model's step.
_fresh = random.Random()

LONG_ANSWER_TOKENS = 1_000  # about 3 ms of writing JSON

WriterOf = Callable[[GenerateRequest, Model, list[Encoded], Seal], Writer]
ReadOf = Callable[[Tokenizer], Callable[[str], Encoded]]


def encode_prompt(tokenizer: Tokenizer) -> Callable[[str], Encoded]:
    return tokenizer.encode_prompt


@dataclass(frozen=True, slots=True)
class Generations:
    """What every request to generate comes to, whatever the form in which it was asked."""

    settings: Settings
    registry: Registry
    seal: Seal

    async def respond(
        self,
        request: Request,
        wanted: GenerateRequest,
        ends_s: float,
        writer_of: WriterOf = Author,
        read_of: ReadOf = encode_prompt,
    ) -> Response:
        """The answer, or a stream of it.

        writer_of: puts it into its client's form, and may refuse the model before anything is accepted. read_of: makes ids of an
        input that does not go on from a state.
        """
        _check_limits(wanted, self.settings)
        return await exchange.accepted(lambda: self._answer(request, wanted, ends_s, writer_of, read_of))

    async def _answer(
        self, request: Request, wanted: GenerateRequest, ends_s: float, writer_of: WriterOf, read_of: ReadOf
    ) -> Response:
        model, worker = self.registry.generator(wanted.model)
        start = None if wanted.state is None else self.seal.open(wanted.state, model.manifest)
        read = read_of(model.tokenizer) if start is None else model.tokenizer.encode
        encoded = _checked(wanted, model, await exchange.encode(request, model, wanted.inputs, read))
        told = _check_told(wanted, encoded, self.settings)
        options = _options(wanted, self.settings.max_new_tokens)
        prompts = [Prompt(words.ids, _ways(options, wanted.parameters, start), start) for words in encoded]
        writer = writer_of(wanted, model, encoded, self.seal)
        if wanted.stream:
            ticket, sequences = worker.stream_all(prompts)
            return EventStream(
                *(request, ticket, sequences, writer, ends_s, self.settings.keep_alive_s),
                headers_then=lambda: exchange.headers(model, ticket),
            )
        ticket = worker.submit(prompts)
        results = await exchange.answer(request, ticket, ends_s)
        content = await exchange.off_loop(_answer_tokens(wanted) + told > LONG_ANSWER_TOKENS, lambda: writer.whole(results))
        return exchange.reply(content, model, ticket)


def generate_routes(generations: Generations) -> APIRouter:
    router, settings = APIRouter(tags=["inference"], route_class=LeanRoute), generations.settings

    answers, faults = GenerateAnswer | list[GenerateAnswer] | list[list[GenerateAnswer]], docs.errors(examples.ERRORS)

    summary, events = "Continue a text, or every text of a list", Events(StreamEvent, examples.EVENT)

    @router.post("/generate", **docs.operation(GenerateRequest, answers, examples.GENERATED, summary, faults=faults, events=events))
    async def generate(request: Request) -> Response:
        return await generations.respond(request, *await exchange.read_request(request, GenerateRequest, settings))

    summary = "Continue a text, a server-sent event a word"

    @router.post("/generate_stream", **docs.stream(GenerateRequest, events, summary, faults))
    async def generate_stream(request: Request) -> Response:
        wanted, ends_s = await exchange.read_request(request, GenerateRequest, settings)
        return await generations.respond(request, streamed(wanted), ends_s)

    return router


def streamed(wanted: GenerateRequest) -> GenerateRequest:
    """The same, to be answered as a stream. Raises InvalidRequest where it cannot be."""
    try:
        wanted.check_stream()
    except ValueError as error:
        raise InvalidRequest(str(error)) from None
    return wanted.model_copy(update={"stream": True})


def _check_limits(wanted: GenerateRequest, settings: Settings) -> None:
    """The bounds that an operator sets."""
    exchange.check_inputs(wanted.inputs, settings)
    limits = {"max_new_tokens": settings.max_new_tokens, "best_of": settings.max_best_of, "n": settings.max_best_of}
    for name, limit in limits.items():
        if name in wanted.parameters.model_fields_set and (getattr(wanted.parameters, name) or 0) > limit:
            raise InvalidRequest(f"parameters.{name}: the largest is {limit}")
    if _answer_tokens(wanted) > settings.max_answer_tokens:
        raise TooLarge(
            f"inputs: {len(wanted.inputs.texts)} texts with these parameters ask for up to {_answer_tokens(wanted)} tokens "
            f"(inputs x best_of x max_new_tokens x (1 + top_n_tokens)), more than {settings.max_answer_tokens}"
        )


def _answer_tokens(wanted: GenerateRequest) -> int:
    """How much work and answer a request may come to."""
    parameters = wanted.parameters
    return len(wanted.inputs.texts) * parameters.candidates * parameters.max_new_tokens * (1 + (parameters.top_n_tokens or 0))


def _check_told(wanted: GenerateRequest, encoded: list[Encoded], settings: Settings) -> int:
    """How many tokens of the prompts an answer tells, with the likeliest in their place; bounded as those that are written."""
    parameters = wanted.parameters
    words = sum(len(text.ids) for text in encoded) if parameters.tells_prompt and not wanted.stream else 0
    top = (parameters.top_n_tokens or 0) if parameters.scores_prompt else 0
    tokens = words * parameters.candidates * (1 + top)
    if parameters.details and tokens > settings.max_answer_tokens:
        raise TooLarge(
            f"inputs: {words} words with these parameters are told with up to {tokens} tokens "
            f"(words x best_of x (1 + top_n_tokens)), more than {settings.max_answer_tokens}"
        )
    return tokens


def _checked(wanted: GenerateRequest, model: Model, encoded: list[Encoded]) -> list[Encoded]:
    """Every prompt's ids, cut to the last `truncate` where that is asked for; there are some, or a state to go on from."""
    begins = wanted.state is None
    begun = 1 if begins and model.tokenizer.end_id is not None else 0
    keep = wanted.parameters.truncate
    if keep is not None:
        encoded = [words.keep_last(keep, begun) for words in encoded]
    if begins or encoded[0].ids or wanted.inputs.texts[0].strip():
        exchange.check_words(wanted.inputs, encoded, begun, model)
    return encoded


def _options(wanted: GenerateRequest, limit: int) -> GenerationOptions:
    parameters = wanted.parameters
    sampling = SamplingOptions(
        repetition_penalty=parameters.repetition_penalty,
        frequency_penalty=parameters.frequency_penalty,
        do_sample=parameters.samples,
        temperature=parameters.temperature,
        top_k=parameters.top_k,
        top_p=parameters.top_p,
        typical_p=parameters.typical_p,
    )
    return GenerationOptions(
        max_new_tokens=min(parameters.max_new_tokens, limit),  # the default may be above an operator's limit
        sampling=sampling,
        stop=tuple(_normalised(stop) for stop in parameters.stop),
        top_n_tokens=parameters.top_n_tokens or 0,
        log_probabilities=wanted.stream or parameters.details or (parameters.best_of or 1) > 1,
        score_prompt=parameters.scores_prompt,
        keep_state=parameters.return_state,
    )


def _normalised(stop: str) -> str:
    """As the texts in which it is looked for."""
    stop = unicodedata.normalize("NFC", stop)
    if len(stop) > MAX_STOP_CHARACTERS:  # a few signs grow
        raise InvalidRequest(f"parameters.stop: at most {MAX_STOP_CHARACTERS} characters after Unicode normalisation (NFC)")
    return stop


def _ways(options: GenerationOptions, parameters: GenerateParameters, start: Bookmark | None) -> list[GenerationOptions]:
    """The options of every candidate for one input: each has the seed after its forerunner's, and each can be asked for alone.

    The first seed is the one asked for, else that of the text which goes on, else a fresh one.
    """
    if not parameters.samples:
        return [options]
    first = parameters.seed
    if first is None and start is not None:
        first = start.seed
    if first is None:
        # 52 bits: what JavaScript and jq read without rounding, so that a seed that is told can be sent back.
        first = _fresh.getrandbits(52)
    seeds = [(first + index) % 2**64 for index in range(parameters.candidates)]
    return [replace(options, sampling=replace(options.sampling, seed=seed)) for seed in seeds]
