"""hostile: bodies and headers that are made to break a reader. Each is refused at once, and none leaves anything behind."""

import socket
import time
from collections.abc import Sequence

from tests.soak.load import sending
from tests.soak.result import Findings, Result
from tests.soak.serving import Service, service
from tests.soak.soak import MODELS, PREFIX_CACHE_BYTES, Soak
from tests.soak.watch import watching

SHARE = 0.3
AT_ONCE_MS = 500.0
LEAST_S = 8.0
READ_TIMEOUT_S = 2.0
MOST_MORE_MB = 100.0  # pages between which bodies of 1 MB lay, and that are used again
DEEP, LONG = 100_000, 1_000_000

# What must be refused with one of these, or may be answered where 200 stands there too.
BODIES: dict[str, tuple[bytes, set[int]]] = {
    "lists in lists": (b'{"inputs":' + b"[" * DEEP + b"]" * DEEP + b"}", {422}),
    "objects in objects": (b'{"inputs":"a","parameters":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}", {422}),
    "lists in an unknown field": (b'{"inputs":"a","b":' + b"[" * DEEP + b"]" * DEEP + b"}", {422}),
    "brackets that are never closed": (b"[" * LONG, {422}),
    "one byte too many": (b"[" * (LONG + 1), {413}),
    "braces that are never closed": (b'{"a":' * (LONG // 5), {422}),
    "a number of 900,000 digits": (b'{"inputs":"a","parameters":{"max_new_tokens":' + b"9" * 900_000 + b"}}", {422}),
    "a number beyond every number": (b'{"inputs":"a","parameters":{"temperature":1e999999999}}', {422}),
    "no number": (b'{"inputs":"a","parameters":{"temperature":NaN}}', {422}),
    "a seed of 2**64": (b'{"inputs":"a","parameters":{"do_sample":true,"seed":18446744073709551616}}', {422}),
    "a key twice": (b'{"inputs":"a","inputs":"b","parameters":{"max_new_tokens":1}}', {200, 422}),
    "a key 50,000 times": (b"{" + b'"inputs":"a",' * 50_000 + b'"inputs":"a"}', {200, 422}),
    "100,000 unknown keys": (b"{" + b",".join(b'"%d":0' % number for number in range(DEEP)) + b"}", {413, 422}),
    "no UTF-8": (b'{"inputs":"\xff\xfe\x80"}', {422}),
    "UTF-8 that is too long": (b'{"inputs":"\xc0\xaf"}', {422}),
    "half a surrogate": (rb'{"inputs":"\ud800"}', {422}),
    "surrogates the wrong way round": (rb'{"inputs":"\udc00\ud800"}', {422}),
    "UTF-16": ('{"inputs":"a"}'.encode("utf-16"), {422}),
    "nothing": (b"", {422}),
    "nothing but zeros": (bytes(1000), {422}),
    "300,000 inputs": (b'{"inputs":[' + b'"",' * 300_000 + b'""]}', {413, 422}),
    "an input of 900,000 characters": (b'{"inputs":"' + b"a" * 900_000 + b'"}', {413}),
    "a word of 20,000 characters": (b'{"inputs":"' + b"a" * 20_000 + b'","parameters":{"max_new_tokens":1}}', {200, 413, 422}),
    "a letter with 19,999 accents": (('{"inputs":"a' + "\u0301" * 19_999 + '"}').encode(), {200, 413, 422}),
}
HEADS: dict[str, tuple[bytes, set[int]]] = {
    "a header of 1 MB": (b"POST /generate HTTP/1.1\r\nhost: a\r\nx: " + b"a" * LONG + b"\r\n\r\n", {431, 0}),
    "10,000 headers": (b"POST /generate HTTP/1.1\r\n" + b"x: a\r\n" * 10_000 + b"\r\n", {431, 0}),
    "two lengths": (b"POST /generate HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}", {400}),
    "a length and chunks": (
        b"POST /generate HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        {400, 422},
    ),
    "a length below nothing": (b"POST /generate HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n", {400}),
    "a chunk of more than there is": (
        b"POST /generate HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        {400, 413},
    ),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", {400}),
    "a path in no encoding": (b"POST /\xff\xfe HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n", {400, 404}),
}
BYTES = sum(len(content) for content, _ in (*BODIES.values(), *HEADS.values()))


def hostile(soak: Soak) -> Result:
    findings = Findings("hostile")
    with service(soak.work, MODELS, read_timeout_s=READ_TIMEOUT_S, prefix_cache_bytes=PREFIX_CACHE_BYTES) as running:
        soak.warm_up(running)
        idle = running.descriptors
        with watching(running) as seen, sending(soak.job(running, SHARE, max(soak.part_s, LEAST_S)), soak.work) as load:
            rounds = [_ask_all(running)]
            while time.monotonic() < load.ends_s - 1.0:
                rounds.append(_ask_all(running))
            records = load.wait()
        findings.none_failed(records)
        _check(findings, rounds)
        sent_mb, more_mb = len(rounds) * BYTES / 1e6, seen.last_mb - seen.first_mb
        found = f"{more_mb:+.0f} MB after {sent_mb:,.0f} MB"
        findings.promise(f"at most {MOST_MORE_MB:.0f} MB are kept of all that was sent", found, more_mb <= MOST_MORE_MB)
        findings.promise("open files come back", f"{running.descriptors}, {idle} before", running.descriptors <= idle)
        findings.clean_log(running.complaints)
    return findings.result(records, seen)


Found = dict[str, tuple[int, float]]


def _ask_all(running: Service) -> Found:
    """By name, the status (0: closed without one) and the milliseconds until it was there."""
    found = {name: _send(running.port, head) for name, (head, _) in HEADS.items()}
    for name, (body, _) in BODIES.items():
        head = f"POST /generate HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
        found[name] = _send(running.port, head.encode() + body)
    return found


def _send(port: int, content: bytes) -> tuple[int, float]:
    began_s = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        try:
            connection.sendall(content)
            answer = connection.recv(65536)
        except OSError:  # it may be closed before all was sent
            answer = b""
    status = int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0
    return status, (time.monotonic() - began_s) * 1000


def _check(findings: Findings, rounds: Sequence[Found]) -> None:
    wrong, slow = [], []
    for name, (_, allowed) in {**HEADS, **BODIES}.items():
        statuses, longest_ms = {found[name][0] for found in rounds}, sorted(found[name][1] for found in rounds)[len(rounds) // 2]
        if not statuses <= allowed:
            wrong.append(f"{name}: {sorted(statuses)}, not {sorted(allowed)}")
        slow.append((longest_ms, name))
    count = len(rounds) * len(slow)
    findings.promise("what is hostile is refused", "; ".join(wrong) or f"all of {count}", not wrong)
    findings.in_time(f"at once: the slowest is {max(slow)[1]}", max(slow)[0], AT_ONCE_MS)
