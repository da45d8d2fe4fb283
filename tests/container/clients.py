"""Clients that ask until they are told to go, and what became of every request. Threads: each client waits for its answer."""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests.container.network import Network
from tests.service.http.ask import events

ANSWERED, SENT_AWAY, NOT_CONNECTED = "answered", "503 and connection: close", "connection refused"


@dataclass
class Client:
    """One thread with connections of its own. ended: what became of its requests, in words where that is no good end."""

    network: Network
    path: str
    body: dict[str, Any]
    expected: Any  # the answer, which is the same whenever it is asked for
    ended: Counter[str] = field(default_factory=Counter)
    begun: threading.Event = field(default_factory=threading.Event)  # an answer is there, or the first event of a stream

    def start(self) -> "Client":
        self._thread = threading.Thread(target=self._ask_on)
        self._thread.start()
        return self

    def join(self) -> Counter[str]:
        """Waits until it has gone."""
        self._thread.join(150)
        assert not self._thread.is_alive(), "a request never ended"
        return self.ended

    def _ask_on(self) -> None:
        ask: Callable[[httpx2.Client], str] = self._stream if self.path == "/generate_stream" else self._post
        with self.network.client() as client:
            end = ANSWERED
            while end == ANSWERED:
                try:
                    end = ask(client)
                except httpx2.ConnectError:
                    end = NOT_CONNECTED
                except Exception as error:  # whatever it is, it is what the test must tell
                    end = f"{self.path} was cut off: {error!r}"
                self.ended[end] += 1
            self.begun.set()

    def _post(self, client: httpx2.Client) -> str:
        response = client.post(self.path, json=self.body)
        return self._end(response, response.json())

    def _stream(self, client: httpx2.Client) -> str:
        """A stream is told to go by its next request, like everyone."""
        with client.stream("POST", self.path, json=self.body) as response:
            content = b""
            for piece in response.iter_bytes():
                content += piece
                self.begun.set()
        if response.status_code != 200:
            return self._end(response, None)
        return self._end(response, {"generated_text": events(content)[-1]["generated_text"]})

    def _end(self, response: httpx2.Response, answer: Any) -> str:
        if response.status_code == 503 and response.headers["connection"] == "close":
            return SENT_AWAY
        self.begun.set()
        right = response.status_code == 200 and answer == self.expected
        return ANSWERED if right else f"{self.path}: {response.status_code} and {str(answer)[:200]}"
