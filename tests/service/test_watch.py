"""service.watch: looks again and again, whatever a look comes to, until it is told to stop."""

import threading

from service.watch import Watch


def test_it_looks_again_and_again_though_a_look_fails() -> None:
    looks, enough = [], threading.Event()

    def look() -> None:
        looks.append(threading.current_thread().name)
        if len(looks) == 3:
            enough.set()
        raise OSError("the volume is away")

    watch = Watch(look, 0.001)
    watch.start()
    assert enough.wait(10)
    watch.stop()
    count = len(looks)
    assert set(looks) == {"seqserve-watch"}
    assert not enough.wait(0.02) or len(looks) == count


def test_an_interval_of_nothing_is_never() -> None:
    looks: list[int] = []
    watch = Watch(lambda: looks.append(1), 0)
    watch.start()
    watch.stop()
    assert looks == []


def test_who_stops_it_waits_for_the_look_that_is_under_way() -> None:
    begun, may_end, ended = threading.Event(), threading.Event(), []

    def look() -> None:
        begun.set()
        may_end.wait(10)
        ended.append(1)

    watch = Watch(look, 0.001)
    watch.start()
    assert begun.wait(10)
    threading.Timer(0.05, may_end.set).start()
    watch.stop()
    assert ended
