"""The end of the service: who is still answered, and that nobody else is. Knows no signals and no models."""

from collections.abc import Callable

from service.errors import Unavailable


class Drain:
    """From begin() on no request is taken, and running counts down to nothing."""

    def __init__(self) -> None:
        self.begun = False
        self.running = 0

    def begin(self) -> None:
        self.begun = True

    def check(self) -> None:
        """Raises Unavailable for a request that comes too late."""
        if self.begun:
            raise Unavailable("the service is shutting down; ask again, and another one answers")

    def until_begun(self, work: Callable[[], None]) -> Callable[[], None]:
        """work, as long as somebody may still ask for what comes of it; then nothing."""
        return lambda: None if self.begun else work()
