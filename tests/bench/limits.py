"""What the service is compared with: bare onnxruntime and a route that does nothing.

A machine that others use is now fast and now slow: the bare loops are measured anew, on either side of what is compared with them.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from tests.bench import bare
from tests.bench.figure import Figure, loaded
from tests.bench.load import Job, post, run_load
from tests.bench.process import Server, on_server_core, server
from tests.bench.subject import Subject, newest, texts, words_of

GROUPS = (1, 4, 8, 16, bare.TOGETHER)


class Limits:
    """The limits of one subject on this machine, in this run. Every one is told as a figure of its own."""

    def __init__(self, models: Path, subject: Subject, seconds: float, tell: Callable[[Figure], None]) -> None:
        self._models, self._subject, self._seconds, self._tell = models, subject, seconds, tell
        self._known: dict[str, Figure] = {}
        self._best_group = 0

    def generation(self, rows: int) -> float:
        """Words a second of the bare loop over so many rows, now; what is told of it is the first."""
        loaded = newest(self._models, self._subject.generate)
        with on_server_core():
            per_s = bare.words_per_s(loaded, texts(words_of(loaded), rows, 1, 8), self._seconds / 2)
        self._keep(Figure(f"{self._subject.title}bare onnxruntime, generate, B={rows}", per_s, "words/s"))
        return per_s

    def classification(self) -> float:
        """Sentences a second of the bare loop, tokenising included, now, in the groups that were best when it was first asked."""
        loaded = newest(self._models, self._subject.classify)
        sentences = texts(words_of(loaded), 1024, 3, 30)
        groups = [self._best_group] if self._best_group else list(GROUPS)
        measured = {}
        for group in groups:
            with on_server_core():
                measured[group] = bare.sentences_per_s(loaded, sentences, group, self._seconds / 2)
            what = f"{self._subject.title}bare onnxruntime, classify, groups of {group}"
            self._keep(Figure(what, measured[group], "sentences/s"))
        self._best_group = max(groups, key=lambda group: measured[group])
        return measured[self._best_group]

    def http(self, clients: int) -> Figure:
        """A route that does nothing, asked as /classify is."""
        what = f"{self._subject.title}FastAPI doing nothing, {clients} client{'s' * (clients > 1)}"
        if what not in self._known:
            words = words_of(newest(self._models, self._subject.classify))
            requests = [post("nothing", "/nothing", {"inputs": text}) for text in texts(words, 4096, 3, 30)]
            with server("tests.bench.nothing") as running:
                result = run_load(Job(running.port, clients, requests, self._seconds))
            self._keep(loaded(what, result, "requests/s"))
        return self._known[what]

    def usual(self) -> AbstractContextManager[Server]:
        """A server with the same models that runs every request by itself."""
        names = {"generate_model": self._subject.generate, "classify_model": self._subject.classify}
        return server("tests.bench.usual", models=self._models, **names)

    def _keep(self, figure: Figure) -> None:
        if figure.what not in self._known:
            self._known[figure.what] = figure
            self._tell(figure)
