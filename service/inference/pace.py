"""How fast a model works: seconds for a unit of work, learned from its rounds. Knows no units and no clock."""

_MEMORY = 0.9  # what is left of older rounds with every new one


class Pace:
    """Follows the load: what a word costs depends on how many share a step. Rounds count by the work they did."""

    def __init__(self) -> None:
        self._units = 0.0
        self._seconds = 0.0

    def observe(self, units: int, seconds: float) -> None:
        """A round did units of work in so many seconds."""
        if units > 0:
            self._units = _MEMORY * self._units + units
            self._seconds = _MEMORY * self._seconds + seconds

    def seconds(self, units: int) -> float:
        """How long so much work takes at this pace; 0 before anything was observed."""
        return units * self._seconds / self._units if self._units else 0.0
