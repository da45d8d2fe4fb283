"""`python -m service`: read Settings, load the models, run the server."""

import gc
import logging
import signal
import sys
from contextlib import suppress

import uvicorn

from service.errors import SettingsError
from service.http.app import create_app
from service.http.server import server_config
from service.settings import load_settings


def main() -> int:
    """Returns 2, after one line on standard error, where the settings ask for what cannot be had."""
    try:
        settings = load_settings()
        logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        app = create_app(settings)
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    _rest_the_collector()
    # uvicorn ends by raising the signal once more, for whoever listened before: that is this, and stopping was no fault.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with suppress(KeyboardInterrupt):
        uvicorn.Server(server_config(app, settings.host, settings.port)).run()
    return 0


def _rest_the_collector() -> None:
    """What stands now stands until the end: to look through it for garbage stopped all requests for 40 ms, twice a second.

    And a request leaves next to nothing that counting references does not free, so it need not be looked for after every few.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


if __name__ == "__main__":
    sys.exit(main())
