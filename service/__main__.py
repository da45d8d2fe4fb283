"""`python -m service`: read Settings, load the models, run the server; or try the models without one."""

import argparse
import gc
import logging
import os
import re
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from service.allocator import keep_tidy
from service.descriptors import grant_descriptors
from service.errors import InvalidRequest, RequestError, SettingsError
from service.logs import configure_logs
from service.output import complain, write
from service.settings import PREFIX, Settings, describe_settings, load_settings

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 2, after a line on standard error for each, where the settings or the command ask for what cannot be had."""
    arguments = _parser().parse_args(argv)
    # Until the server listens to it: to be stopped is no fault, and the first process of a container would not hear of it. Nothing
    # has been begun that would have to be ended, and an exception might come up anywhere.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    # What is loaded from here on stands until the end: to look through it for garbage, again and again while it grows, is a tenth
    # of the start, and later it stopped all requests for 40 ms, twice a second.
    gc.disable()
    try:
        typed = {} if arguments.workers is None else {f"{PREFIX}WORKERS": arguments.workers}
        settings = load_settings({**os.environ, **typed})
        if arguments.command is not None:
            return _try_out(settings, arguments)
        configure_logs(settings)
        if arguments.listener is None:  # others have been granted what the one that started them was
            grant_descriptors(settings.max_requests)
        if settings.workers > 1 and arguments.listener is None:
            from service.http.workers import supervise

            return supervise(settings)
        if arguments.lifeline is not None:
            from service.http.workers import hold_on_to

            hold_on_to(arguments.lifeline)
        return _serve(settings, arguments.listener, arguments.shared)
    except (SettingsError, RequestError) as error:
        for fault in error.faults if isinstance(error, SettingsError) else [str(error)]:
            complain(fault)
        return 2


def _serve(settings: Settings, listener: int | None, shared: Path | None) -> int:
    # Only now: what is wrong with the settings is told at once, and the libraries too are loaded without the collector.
    from service.http.app import create_app
    from service.http.listener import address, bind
    from service.http.server import serve, server_config

    keep_tidy()
    app = create_app(settings, shared)
    gc.freeze()
    # A request leaves next to nothing that counting references does not free: it need not be looked for after every few.
    gc.set_threshold(20_000, 10, 10)
    gc.enable()
    if listener is None:
        port = bind(settings)
        log.info("running on %s", address(settings, port))
    else:
        port = socket.socket(fileno=listener)
    serve(server_config(app, settings, app.gate), app.drain, settings.drain_s, app.end_all, port)
    return 0


def _try_out(settings: Settings, arguments: argparse.Namespace) -> int:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # as of any other command, be it in the middle of a text that is typed
    # What they have to say is not for the log.
    configure_logs(settings if "log_level" in settings.model_fields_set else settings.model_copy(update={"log_level": "error"}))
    if arguments.command == "check":
        from service.check import check

        findings = list(check(settings))
        write("\n".join(finding.text for finding in findings))
        return 0 if all(finding.is_good for finding in findings) else 1
    return _ask(settings, arguments)


def _ask(settings: Settings, arguments: argparse.Namespace) -> int:
    from service.ask import ask, read_text

    text = arguments.text
    if text in (None, "-"):
        if sys.stdin is None or (text is None and sys.stdin.isatty()):
            raise InvalidRequest("there is no text: write one behind ask, or pipe one into it")
        text = read_text(sys.stdin.buffer, settings)
    code = 2
    for answer in ask(settings, text, arguments.model, arguments.words):
        if answer.is_good:
            code = 0
            write(answer.text)
        else:
            complain(answer.text)
    return code


class _Parser(argparse.ArgumentParser):
    """Its help, too, may be piped into head."""

    def print_help(self, file: object = None) -> None:
        write(self.format_help().rstrip("\n"))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m service",
        description="Serve the models of a folder over HTTP. Ends with 2 where the settings are wrong.",
        epilog=f"settings, from the environment:\n{describe_settings()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--workers", metavar="N", help="processes that share the port (SEQSERVE_WORKERS)")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands, in place of serving")
    commands.add_parser("check", help="verify the settings and every model; ends with 1 where something is wrong")
    trial = commands.add_parser(
        "ask",
        help="continue and label a text without a server",
        description="Continue and label a text without a server. Ends with 2 where no model answers.",
    )
    trial.add_argument("text", metavar="TEXT", nargs="?", help="the text; left out or -: what standard input holds, in UTF-8")
    trial.add_argument("--model", metavar="NAME", help="the model to ask; otherwise those of /generate and /classify")
    trial.add_argument("--words", metavar="N", type=_count, default=20, help="the most words that are written (%(default)s)")
    # What a process is told by the one that started it.
    parser.add_argument("--listener", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--lifeline", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--shared", type=Path, help=argparse.SUPPRESS)
    return parser


def _count(text: str) -> int:
    if not re.fullmatch("[1-9][0-9]{0,3}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to 9999")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
