"""`python -m service`: read Settings, load the models, run the server."""

import logging
import signal
import sys

import uvicorn

from service.errors import SettingsError
from service.http.app import create_app
from service.settings import load_settings

GRACE_S = 20  # with the 5 seconds before it, under the 30 that Kubernetes gives


def main() -> int:
    """Returns 2, after one line on standard error, where the settings ask for what cannot be had."""
    try:
        settings = load_settings()
        logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        app = create_app(settings)
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    # uvicorn ends by raising the signal once more, for whoever listened before: that is this, and stopping was no fault.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
