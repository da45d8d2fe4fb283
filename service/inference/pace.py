"""How fast a model works: seconds for a unit of work, learned from its rounds. Knows no units and no clock."""

_MEMORY = 0.9  # what an older round weighs beside the next one: the last ten count for two thirds


class Pace:
    """Follows the load: what a word costs depends on how many rows share a step."""

    def __init__(self) -> None:
        self.seconds_per_unit = 0.0

    def observe(self, units: int, seconds: float) -> None:
        """A round did units of work in so many seconds."""
        if units <= 0:
            return
        now = seconds / units
        self.seconds_per_unit = now if not self.seconds_per_unit else _MEMORY * self.seconds_per_unit + (1 - _MEMORY) * now

    def seconds(self, units: int) -> float:
        """How long so much work takes at this pace; 0 before anything was observed."""
        return units * self.seconds_per_unit
