import asyncio
import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest
import uvloop

from service.errors import SettingsError
from service.http.listener import LISTENERS, address, bind, bind_shares, check_address, spread
from service.settings import Settings


@pytest.mark.parametrize(("host", "reached"), [("127.0.0.1", "http://127.0.0.1:{}"), ("::1", "http://[::1]:{}")])
def test_it_says_where_it_is_reached(settings: Settings, host: str, reached: str) -> None:
    with bind(settings.model_copy(update={"host": host, "port": 0})) as listener:
        assert address(settings.model_copy(update={"host": host}), listener) == reached.format(listener.getsockname()[1])


def test_a_port_that_is_taken_is_named(settings: Settings) -> None:
    with bind(settings.model_copy(update={"host": "127.0.0.1", "port": 0})) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(SettingsError, match=f"127.0.0.1:{port}: address already in use"):
            bind(settings.model_copy(update={"host": "127.0.0.1", "port": port}))


def test_a_host_that_is_not_ours_is_named(settings: Settings) -> None:
    with pytest.raises(SettingsError, match="192.0.2.1:0: cannot assign requested address"):
        bind(settings.model_copy(update={"host": "192.0.2.1", "port": 0}))


@pytest.mark.parametrize("host", ["192.0.2.1", "a" * 70, "127.0.0.1:80", "fe80::1%nothing"])
def test_where_nobody_could_listen_is_told_by_the_settings_name_before_anything_is_loaded(settings: Settings, host: str) -> None:
    elsewhere = settings.model_copy(update={"host": host, "port": 0})
    with pytest.raises(SettingsError, match=f"^SEQSERVE_HOST={host}: [a-z]"):
        check_address(elsewhere)
    with pytest.raises(SettingsError, match=f"^{host}:0: [a-z]"):
        bind(elsewhere)


def test_an_address_at_which_another_listens_could_be_ours(settings: Settings) -> None:
    with bind(settings.model_copy(update={"host": "127.0.0.1", "port": 0})) as listener:
        check_address(settings.model_copy(update={"host": "127.0.0.1", "port": listener.getsockname()[1]}))


def test_sockets_that_cannot_be_had_are_a_fault_of_the_settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("service.http.listener.bind_share", fail)
    with pytest.raises(SettingsError, match="127.0.0.1:[1-9][0-9]*: too many open files"):
        bind_shares(settings.model_copy(update={"host": "127.0.0.1", "port": 0}), 2)


def test_who_connects_is_shared_out_among_those_that_listen_and_nobody_else_can_have_the_address(settings: Settings) -> None:
    here = settings.model_copy(update={"host": "127.0.0.1", "port": 0})
    with ExitStack() as stack:
        shares = [stack.enter_context(share) for share in bind_shares(here, 3)]
        port = shares[0].getsockname()[1]
        for share in shares[:2]:
            share.setblocking(False)
            share.listen(100)
        for _ in range(60):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        taken = [len(list(accepted(share, stack))) for share in shares[:2]]
        assert sum(taken) == 60  # the third does not listen yet, and nobody waits there
        assert min(taken) > 10
        with pytest.raises(SettingsError, match="address already in use"):
            bind_shares(here.model_copy(update={"port": port}), 2)


def accepted(listener: socket.socket, stack: ExitStack) -> Iterator[socket.socket]:
    with suppress(BlockingIOError):
        while True:
            yield stack.enter_context(listener.accept()[0])


def test_many_that_knock_at_once_are_let_in_within_a_few_rounds_of_the_loop(settings: Settings) -> None:
    async def rounds_until_all_are_in(knocking: int) -> int:
        loop, taken, rounds = asyncio.get_running_loop(), 0, 0

        class Door(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                nonlocal taken
                taken += 1
                transport.close()

        with bind(settings.model_copy(update={"host": "127.0.0.1", "port": 0})) as listener:
            clients = [socket.create_connection(listener.getsockname()) for _ in range(knocking)]
            servers = [await loop.create_server(Door, sock=each) for each in spread(listener)]
            while taken < knocking:
                rounds += 1
                await asyncio.sleep(0)
            for server in servers:
                server.close()
            for client in clients:
                client.close()
        return rounds

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        knocking = 4 * LISTENERS
        assert runner.run(rounds_until_all_are_in(knocking)) < knocking / 4
