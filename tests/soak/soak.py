"""What all scenarios have in common: where they write, what they send, and how much of it the service carries."""

from dataclasses import dataclass
from pathlib import Path

from tests.bench.load import Request
from tests.bench.subject import ROOT
from tests.soak.load import Job, send
from tests.soak.mix import Mix
from tests.soak.records import Records
from tests.soak.serving import Service

MODELS = ROOT / "models"
WARM_UP_S = 2.0
# Small enough to be full before memory is looked at: that a cache fills up is what it is for.
PREFIX_CACHE_BYTES = 4_000_000


@dataclass(frozen=True)
class Soak:
    """per_s: requests of the mix a second that the service carries; steady_s, part_s: seconds of the steady and any other load."""

    work: Path
    mix: Mix
    requests: list[Request]
    per_s: float
    steady_s: float
    part_s: float

    def job(self, running: Service, share: float, seconds: float, seed: int = 1, requests: list[Request] | None = None) -> Job:
        """The mix at a share of what the service carries."""
        return Job(running.port, requests or self.requests, share * self.per_s, seconds, seed)

    def warm_up(self, running: Service, share: float = 0.5) -> Records:
        """Tables and caches are filled, and what is rare has happened once."""
        return send(self.job(running, share, WARM_UP_S, seed=99), self.work)
