"""resets: a third of the clients reset their connections at any point of a request, an answer or a stream. Nothing is left."""

import random
from dataclasses import replace

from tests.bench.load import Request, post
from tests.soak.load import send
from tests.soak.numbers import growth
from tests.soak.result import Findings, Result
from tests.soak.serving import Service, eventually, service, total
from tests.soak.soak import MODELS, PREFIX_CACHE_BYTES, WARM_UP_S, Soak
from tests.soak.watch import watching

SHARE = 0.5
LEAVING, CUT = 0.3, 0.3  # of all requests; and of those that leave, how many never send the whole
LONGEST_S = 0.05
MOST_GROWTH = 0.05
GONE_WITHIN_S = 3.0
# Nearly any word may follow another, and so rarely the end.
LONG: dict[str, object] = {"inputs": "오늘", "parameters": {"max_new_tokens": 512, "temperature": 10.0, "seed": 1}}
HELD = ("seqserve_rows_in_use", "seqserve_waiting")


def resets(soak: Soak) -> Result:
    findings = Findings("resets")
    requests = _leaving(soak)
    with service(soak.work, MODELS, prefix_cache_bytes=PREFIX_CACHE_BYTES) as running:
        idle = running.descriptors
        send(soak.job(running, SHARE, WARM_UP_S, seed=98, requests=requests), soak.work)
        with watching(running) as seen:
            records = send(soak.job(running, SHARE, soak.part_s, requests=requests), soak.work)
            free = eventually(lambda: not any(_held(running)), GONE_WITHIN_S)
        findings.none_failed(records)
        findings.promise("clients left", f"{len(records.left):,}", bool(len(records.left)))
        findings.promise("no row and no place in the queue is held", f"{_held(running)}", free)
        back = eventually(lambda: running.descriptors <= idle, GONE_WITHIN_S)
        findings.promise("open files come back", f"{running.descriptors}, {idle} before", back)
        grown = growth(seen.memory_mb)
        findings.promise(f"memory grows by less than {MOST_GROWTH:.0%}", f"{grown:+.1%}", grown < MOST_GROWTH)
        findings.clean_log(running.complaints)
    return findings.result(records, seen)


def _held(running: Service) -> list[float]:
    text = running.ask("GET", "/metrics")[1].decode()
    return [total(text, name) for name in HELD]


def _leaving(soak: Soak) -> list[Request]:
    """Who leaves has asked for a long text, or has not sent the whole request."""
    chance, made = random.Random(5), list[Request]()
    for request in soak.mix.requests():
        if chance.random() < LEAVING:
            path = "/generate" if chance.random() < 0.5 else "/generate_stream"
            long = post(request.kind, path, LONG, leave_s=chance.uniform(0.0, LONGEST_S))
            request = _cut(long, chance) if chance.random() < CUT else long
        made.append(request)
    return made


def _cut(request: Request, chance: random.Random) -> Request:
    """Less of it than there is."""
    return replace(request, wire=request.wire[: chance.randrange(1, len(request.wire))])
