"""The parts of the benchmark that put a load on a running service, each a function that tells its figures."""

import json
import math
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.bench.figure import Figure, loaded, spread
from tests.bench.limits import Limits
from tests.bench.load import Job, LoadError, Refused, Request, Result, Tally, post, run_load
from tests.bench.process import Server
from tests.bench.subject import Subject, texts

TARGETS = {"greedy": 0.8, "sampled": 0.65, "streamed": 0.6}  # words/s over HTTP, as shares of the bare loop
CLIENTS, NEW_WORDS, SHORT, LONG = 32, 32, 4, 64
PROMPTS = 8192  # more than are sent in one measurement: what is kept of a prompt does not help the next


@dataclass(frozen=True)
class Bench:
    """A running service with what it is compared with, the words to ask with, and where figures go.

    lengths: how many words the greedy answer to each of the first prompts has; empty where it is always what was asked for.
    """

    running: Server
    subject: Subject
    limits: Limits
    generate_words: list[str]
    classify_words: list[str]
    seconds: float
    tell: Callable[[Figure], None]
    lengths: list[int]

    def load(self, clients: int, requests: list[Request]) -> Result:
        return run_load(Job(self.running.port, clients, requests, self.seconds))

    def prompts(self) -> list[str]:
        return texts(self.generate_words, len(self.lengths) or PROMPTS, 1, 8)

    def told(self, figure: Figure) -> None:
        self.tell(replace(figure, what=self.subject.title + figure.what))


def around(limit: Callable[[], float], load: Callable[[], Result]) -> tuple[Result, float]:
    """A measurement, and the limit as it was just before and after it."""
    before = limit()
    result = load()
    return result, (before + limit()) / 2


def generate(bench: Bench) -> None:
    sampled = [{"temperature": 0.9, "top_p": 0.9, "seed": seed} for seed in range(PROMPTS)]
    _generate(bench, "greedy", _asked(bench.prompts(), lengths=bench.lengths))
    if bench.lengths:  # how long a drawn answer is, nobody knows before
        return
    _generate(bench, "sampled", [_ask(text, NEW_WORDS, parameters=p) for text, p in zip(bench.prompts(), sampled, strict=True)])
    _generate(bench, "streamed", _asked(bench.prompts(), stream=True))
    _generate(bench, "greedy, 8 prompts in turn", _asked(bench.prompts()[:8]))


def single(bench: Bench) -> None:
    """A lone request against the bare loop's time for its words and one round of HTTP."""
    http_ms = bench.limits.http(1).p50_ms
    requests = _asked(bench.prompts(), lengths=bench.lengths)
    result, bare_per_s = around(lambda: bench.limits.generation(1), lambda: bench.load(1, requests))
    step_ms = 1000 / bare_per_s
    tally = result.kinds["generate"]
    words, latency_ms = tally.amount / tally.count, statistics.mean(tally.latencies_ms)
    assert http_ms is not None
    figure = loaded(f"/generate, 1 client, {words:.3g} words", result, "words/s")
    bench.told(replace(figure, ratio=(step_ms * words + http_ms) / latency_ms, of="of bare B=1 and HTTP"))
    ratio = (latency_ms - http_ms) / words / step_ms
    # A short answer is mostly the reading of its prompt, which the bare step leaves out: only the bench model has a target.
    target = None if bench.lengths else 1.25
    what = "/generate, 1 client: a word, HTTP taken off"
    bench.told(Figure(what, p50_ms=ratio * step_ms, ratio=ratio, of="x bare B=1", target=target, at_most=True))


def mixed(bench: Bench) -> None:
    """Whether who asks for little waits for who asks for much."""
    prompts = bench.prompts()
    alone = bench.load(CLIENTS, [_ask(text, SHORT, "short") for text in prompts])
    bench.told(loaded("/generate, 32 clients, all 4 words", alone, "words/s"))
    result = bench.load(CLIENTS, _short_and_long(prompts))
    _check_words(result.kinds["short"], SHORT)
    _check_words(result.kinds["long"], LONG)
    ratio = spread(result.kinds["short"].latencies_ms)[1] / spread(alone.kinds["short"].latencies_ms)[1]
    short = loaded("/generate, 1 in 10 asks 64 words: the others", result, "words/s", "short")
    bench.told(replace(short, ratio=ratio, of="x p99 alone", target=3, at_most=True))
    bench.told(replace(loaded("/generate, 1 in 10 asks 64 words: those", result, "", "long"), per_s=None))


def classify(bench: Bench) -> None:
    sentences = texts(bench.classify_words, PROMPTS, 3, 30)
    batches = [sentences[at : at + 32] for at in range(0, PROMPTS, 32)]
    bench.limits.classification()  # finds the groups that are best
    http = bench.limits.http(CLIENTS).per_s
    assert http is not None
    singles = [post("classify", "/classify", {"inputs": text}) for text in sentences]
    result, bare = around(bench.limits.classification, lambda: bench.load(CLIENTS, singles))
    _check_labels(result.kinds["classify"], 1)
    limit = 1 / (1 / http + 1 / bare)
    figure = loaded("/classify, 32 clients, a sentence each", result, "requests/s")
    bench.told(replace(figure, ratio=(figure.per_s or 0) / limit, of=f"of {limit:,.0f} (HTTP and bare)", target=1))
    lists = [post("batch", "/classify", {"inputs": batch}, len(batch)) for batch in batches]
    result, bare = around(bench.limits.classification, lambda: bench.load(4, lists))
    _check_labels(result.kinds["batch"], len(batches[0]))
    figure = loaded("/classify, 4 clients, 32 sentences each", result, "sentences/s")
    bench.told(replace(figure, ratio=(figure.per_s or 0) / bare, of="of bare, best groups", target=0.85))


def usual(bench: Bench) -> None:
    """Beside a server that runs every request by itself, as most are written; on either side of it, for the machine may change."""
    prompts, sentences = bench.prompts(), texts(bench.classify_words, PROMPTS, 3, 30)
    _beside(bench, "/generate, 32 clients, greedy", "words/s", _asked(prompts, lengths=bench.lengths), "generate")
    _beside(bench, "/generate, 1 in 10 asks 64 words: the others", "words/s", _short_and_long(prompts), "short")
    singles = [post("classify", "/classify", {"inputs": text}) for text in sentences]
    _beside(bench, "/classify, 32 clients, a sentence each", "requests/s", singles, "classify")


def _beside(bench: Bench, what: str, unit: str, requests: list[Request], kind: str) -> None:
    before = loaded(what, bench.load(CLIENTS, requests), unit, kind)
    with bench.limits.usual() as running:
        theirs = loaded(f"{what}: no batches", run_load(Job(running.port, CLIENTS, requests, bench.seconds)), unit, kind)
    after = loaded(what, bench.load(CLIENTS, requests), unit, kind)
    ratio = ((before.per_s or 0) + (after.per_s or 0)) / 2 / (theirs.per_s or math.inf)
    bench.told(replace(theirs, ratio=ratio, of="times as much from the service"))


def idle(bench: Bench) -> None:
    time.sleep(1)  # what the last load left is done
    used_s = bench.running.cpu_s
    time.sleep(5)
    share = (bench.running.cpu_s - used_s) / 5
    bench.told(Figure("the service without requests", ratio=share, of="of a core", target=0.01, at_most=True))


def bare_loops(bench: Bench) -> None:
    """All limits that are the model's own."""
    for rows in (1, 8, 32):
        bench.limits.generation(rows)
    bench.limits.classification()


def answer_lengths(running: Server, prompts: list[str]) -> list[int]:
    """How many words the greedy answer to each prompt has: an answer never depends on load, so it has as many later."""
    lengths = []
    for at in range(0, len(prompts), 128):
        body = {"inputs": prompts[at : at + 128], "parameters": {"max_new_tokens": NEW_WORDS, "details": True}}
        status, answer = running.ask("POST", "/generate", json.dumps(body).encode())
        assert status == 200, answer
        lengths += [one["details"]["generated_tokens"] for one in json.loads(answer)]
    return lengths


def _generate(bench: Bench, how: str, requests: list[Request]) -> None:
    what, streams = f"/generate, 32 clients, {how}", '"stream"' in requests[0].wire
    try:
        result, limit = around(lambda: bench.limits.generation(CLIENTS), lambda: bench.load(CLIENTS, requests))
    except Refused as error:
        if not streams or error.status != 422:
            raise
        bench.told(Figure(what, of="not there"))
        return
    figure = loaded(what, result, "words/s")
    target = None if bench.lengths else TARGETS.get(how)  # the shipped model ends early, and its prompts are most of the work
    bench.told(replace(figure, ratio=(figure.per_s or 0) / limit, of="of bare B=32", target=target))
    tally = result.kinds["generate"]
    if streams:
        p50_ms, p99_ms = spread(tally.first_ms)
        events = tally.events / len(tally.latencies_ms)
        bench.told(Figure(f"/generate, streamed: the first of {events:.3g} events", p50_ms=p50_ms, p99_ms=p99_ms))
    elif not bench.lengths:
        _check_words(tally, NEW_WORDS)


def _check_words(tally: Tally, words: int) -> None:
    """The sample has the words that every answer of its kind counts for. Raises LoadError."""
    if len(json.loads(tally.sample)["generated_text"].split()) != words:
        raise LoadError(f"an answer has not the {words} words that it counts for: {tally.sample}")


def _check_labels(tally: Tally, sentences: int) -> None:
    """The sample has shares of 1 for so many sentences. Raises LoadError."""
    answer = json.loads(tally.sample)
    each = answer if isinstance(answer[0], list) else [answer]
    if len(each) != sentences or any(abs(sum(label["score"] for label in one) - 1) > 1e-3 for one in each):
        raise LoadError(f"an answer has not the labels of {sentences} sentences: {tally.sample}")


def _short_and_long(prompts: list[str]) -> list[Request]:
    """1 in 10 asks for many words."""
    chance = random.Random(5)
    return [_ask(text, LONG, "long") if chance.random() < 0.1 else _ask(text, SHORT, "short") for text in prompts]


def _asked(prompts: list[str], stream: bool = False, lengths: list[int] | None = None) -> list[Request]:
    amounts = lengths or [NEW_WORDS] * len(prompts)
    return [replace(_ask(text, NEW_WORDS, stream=stream), amount=amount) for text, amount in zip(prompts, amounts, strict=True)]


def _ask(
    text: str, words: int, kind: str = "generate", parameters: dict[str, float] | None = None, stream: bool = False
) -> Request:
    body: dict[str, object] = {"inputs": text, "parameters": {"max_new_tokens": words, **(parameters or {})}}
    return post(kind, "/generate", {**body, "stream": True} if stream else body, words)
