"""A memory with a bound never grows beyond it, and always has what came last."""

from hypothesis import given
from hypothesis import strategies as st

from service.memory import keep


@given(st.lists(st.integers(0, 20)), st.integers(1, 8))
def test_it_holds_no_more_than_its_bound_and_what_came_last(keys: list[int], most: int) -> None:
    memory: dict[int, str] = {}
    for key in keys:
        assert keep(memory, key, str(key), most) == str(key)
        assert len(memory) <= most
        assert memory[key] == str(key)
