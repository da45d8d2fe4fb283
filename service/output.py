"""What a command tells a person: on standard output what it was asked for, on standard error why that cannot be had.

A terminal may know few letters, the reader of a pipe may leave, and a disk may be full. Knows no command.
"""

import io
import os
import sys
from contextlib import suppress
from typing import TextIO

READER_LEFT = 128 + 13  # what a shell says of a program that SIGPIPE ended
UNWRITABLE = 2


def write(text: str) -> None:
    """Raises SystemExit where standard output takes no more: READER_LEFT, or after a line that says why UNWRITABLE."""
    try:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        print(text, flush=True)  # what goes wrong is told here, and not when Python ends
    except BrokenPipeError:
        _forget(sys.stdout)
        raise SystemExit(READER_LEFT) from None
    except OSError as error:
        _forget(sys.stdout)
        complain(f"standard output cannot be written: {(error.strerror or str(error)).lower()}")
        raise SystemExit(UNWRITABLE) from None


def complain(text: str) -> None:
    """A line on standard error. Where not even that can be written, the exit code has to do."""
    try:
        print(f"error: {text}", file=sys.stderr, flush=True)
    except OSError:
        _forget(sys.stderr)


def _forget(stream: TextIO) -> None:
    # Python would write what is left in the buffer when it ends, fail again, and end with another code.
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
