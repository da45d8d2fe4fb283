"""POST /generate."""

import secrets
import unicodedata
from dataclasses import replace

from fastapi import APIRouter, Request, Response
from pydantic import TypeAdapter

from service.errors import InvalidRequest, TooLarge
from service.http import docs, exchange
from service.http.schemas import Details, GenerateAnswer, GenerateParameters, GenerateRequest, PrefillToken, TokenAnswer
from service.inference.sampling import SamplingOptions
from service.inference.sequence import Generated, GenerationOptions, Token
from service.registry import Model, Registry
from service.settings import Settings
from service.text import Encoded

_MANY = TypeAdapter(list[GenerateAnswer])

LONG_ANSWER_TOKENS = 1_000  # about 3 ms of writing JSON


def generate_routes(settings: Settings, registry: Registry) -> APIRouter:
    router = APIRouter(tags=["inference"])

    @router.post("/generate", **docs.operation(GenerateRequest, GenerateAnswer, "Continue a text, or every text of a list"))
    async def generate(request: Request) -> Response:
        wanted = await exchange.read_request(request, GenerateRequest, settings)
        _check_limits(wanted, settings)
        model, worker = registry.generator(wanted.model)
        prompts = await exchange.off_loop(exchange.is_long(wanted.inputs), lambda: _encode(wanted, model))
        candidates = wanted.parameters.best_of or 1
        options = _options(wanted.parameters, settings.max_new_tokens)
        ticket = worker.submit(
            [(prompt.ids, _candidate(options, wanted.parameters)) for prompt in prompts for _ in range(candidates)]
        )
        results = await exchange.answer(request, ticket)
        best = [max(results[i : i + candidates], key=lambda g: g.mean_logprob) for i in range(0, len(results), candidates)]
        content = await exchange.off_loop(
            _answer_tokens(wanted) > LONG_ANSWER_TOKENS, lambda: _to_json(wanted, model, prompts, best)
        )
        return exchange.reply(content, model, ticket)

    return router


def _check_limits(wanted: GenerateRequest, settings: Settings) -> None:
    """The bounds that an operator sets."""
    exchange.check_inputs(wanted.inputs, settings)
    for name, limit in (("max_new_tokens", settings.max_new_tokens), ("best_of", settings.max_best_of)):
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
    return len(wanted.inputs.texts) * (parameters.best_of or 1) * parameters.max_new_tokens * (1 + (parameters.top_n_tokens or 0))


def _encode(wanted: GenerateRequest, model: Model) -> list[Encoded]:
    """Every prompt's ids, cut to the last `truncate` where that is asked for."""
    encoded = [model.tokenizer.encode_prompt(text) for text in wanted.inputs.texts]
    begun = 0 if model.tokenizer.end_id is None else 1
    keep = wanted.parameters.truncate
    if keep is not None:
        encoded = [words.keep_last(keep, begun) for words in encoded]
    exchange.check_words(wanted.inputs, encoded, begun, model)
    return encoded


def _options(parameters: GenerateParameters, limit: int) -> GenerationOptions:
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
        stop=tuple(unicodedata.normalize("NFC", stop) for stop in parameters.stop),
        top_n_tokens=parameters.top_n_tokens or 0,
        log_probabilities=parameters.details or (parameters.best_of or 1) > 1,
    )


def _candidate(options: GenerationOptions, parameters: GenerateParameters) -> GenerationOptions:
    """The options with a seed: the one asked for, else a fresh one for every candidate."""
    if not parameters.samples:
        return options
    # 53 bits: what JavaScript and jq read without rounding, so that a seed that is told can be sent back.
    seed = secrets.randbits(53) if parameters.seed is None else parameters.seed
    return replace(options, sampling=replace(options.sampling, seed=seed))


def _answer(parameters: GenerateParameters, model: Model, text: str, prompt: Encoded, generated: Generated) -> GenerateAnswer:
    written = generated.text
    if parameters.return_full_text:
        written = _full_text(model, text, generated)
    if not parameters.details:
        return GenerateAnswer(generated_text=written)
    shown = {"top_tokens": [[_token(t) for t in step] for step in generated.top_tokens]} if parameters.top_n_tokens else {}
    details = Details(
        finish_reason=generated.finish_reason,
        generated_tokens=len(generated.tokens),
        seed=generated.seed,
        prefill=[PrefillToken(id=i, text=model.tokenizer.piece(i)) for i in prompt.ids],
        tokens=[_token(token) for token in generated.tokens],
        unknown_words=prompt.unknown_words,
        **shown,
    )
    return GenerateAnswer(generated_text=written, details=details)


def _full_text(model: Model, prompt: str, generated: Generated) -> str:
    """The prompt as the model reads it and its continuation, with a space between only where the first word has one."""
    first = model.tokenizer.piece(generated.tokens[0].id)
    space = " " if generated.text and first.startswith(" ") else ""
    return model.tokenizer.normalise(prompt) + space + generated.text


def _token(token: Token) -> TokenAnswer:
    assert token.logprob is not None  # details ask for it
    return TokenAnswer(id=token.id, text=token.text, logprob=token.logprob, special=token.special)


def _to_json(wanted: GenerateRequest, model: Model, prompts: list[Encoded], best: list[Generated]) -> bytes:
    answers = [
        _answer(wanted.parameters, model, text, prompt, generated)
        for text, prompt, generated in zip(wanted.inputs.texts, prompts, best, strict=True)
    ]
    if wanted.inputs.is_list:
        return _MANY.dump_json(answers, exclude_unset=True)
    return answers[0].model_dump_json(exclude_unset=True).encode()
