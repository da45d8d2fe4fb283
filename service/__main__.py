"""`python -m service`: read Settings, load the models, run the server."""

import gc
import logging
import signal
import sys

from service.errors import SettingsError
from service.settings import load_settings


def main() -> int:
    """Returns 2, after one line on standard error, where the settings ask for what cannot be had."""
    # What is loaded from here on stands until the end: to look through it for garbage, again and again while it grows, is a tenth
    # of the start, and later it stopped all requests for 40 ms, twice a second.
    gc.disable()
    try:
        settings = load_settings()
        logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        # Only now: what is wrong with the settings is told at once, and the libraries too are loaded without the collector.
        from service.http.app import create_app
        from service.http.server import serve, server_config

        app = create_app(settings)
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    gc.freeze()
    # A request leaves next to nothing that counting references does not free: it need not be looked for after every few.
    gc.set_threshold(20_000, 10, 10)
    gc.enable()
    # Until the server listens to it: to be stopped is no fault.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    serve(server_config(app, settings), app.drain, settings.drain_s, app.end_all)
    return 0


if __name__ == "__main__":
    sys.exit(main())
