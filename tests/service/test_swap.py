"""service.registry: another version takes the place of the one that serves, and no request is the worse for it."""

import gc
import shutil
import threading
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from service.errors import InvalidRequest, NotFound, Replaced, Unavailable
from service.farewell import Farewell
from service.inference.prompt import Prompt
from service.inference.sequence import GenerationOptions
from service.metrics import Metrics
from service.registry import Registry
from service.settings import NEWEST, UNLOADED, Settings
from tests.service.conftest import ENDLESS
from tests.service.damage import copy_version, flip_byte
from tests.service.process import eventually

OTHER = "bilstm1-classify"


@pytest.fixture
def models(service_models: Path, tmp_path: Path) -> Path:
    """Version 1 of a generator and of a classifier, which a test may change."""
    for name in (ENDLESS, OTHER):
        copy_version(service_models, name, tmp_path / "models")
    return tmp_path / "models"


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def open_registry(models: Path, metrics: Metrics) -> Iterator[Any]:
    with ExitStack() as stack:

        def open_now(**changes: Any) -> Registry:
            settings = Settings(models=models, generate_model=ENDLESS, classify_model=OTHER, max_new_tokens=10**8, **changes)
            return stack.enter_context(closing(Registry(settings, metrics)))

        yield open_now


def serving(registry: Registry, name: str = ENDLESS) -> int | None:
    model = registry.models.get(name)
    return None if model is None else model.manifest.version


def info(metrics: Metrics, version: int) -> float | None:
    values = {"model": ENDLESS, "version": str(version), "task": "generate"}
    return metrics.registry.get_sample_value("seqserve_model_info", values)


def begin(registry: Registry, words: int) -> Any:
    model, worker = registry.generator(ENDLESS)
    return worker.submit([Prompt(model.tokenizer.encode_prompt("오늘").ids, [GenerationOptions(words)])])


def test_a_new_version_serves_after_two_looks_at_it(
    open_registry: Any, models: Path, service_models: Path, metrics: Metrics
) -> None:
    registry = open_registry()
    copy_version(service_models, ENDLESS, models, 2)
    registry.refresh()
    assert serving(registry) == 1  # it may still be on its way
    registry.refresh()
    assert serving(registry) == 2
    assert (info(metrics, 1), info(metrics, 2)) == (None, 1)
    assert serving(registry, OTHER) == 1


def test_what_runs_ends_on_the_version_that_it_began_on(open_registry: Any, models: Path, service_models: Path) -> None:
    registry = open_registry()
    before = registry.models[ENDLESS]
    running = begin(registry, 3000)
    copy_version(service_models, ENDLESS, models, 2)
    registry.refresh(at_once=True)
    assert serving(registry) == 2
    assert len(running.future.result(60)[0].text.split()) == 3000
    eventually(lambda: not before.worker.running)
    with pytest.raises(Replaced):
        before.worker.submit([Prompt([1], [GenerationOptions(1)])])


def test_under_load_no_request_is_refused_while_versions_change_places(
    open_registry: Any, models: Path, service_models: Path
) -> None:
    registry = open_registry()
    answered, faults, stop = [], [], threading.Event()

    def ask() -> None:
        while not stop.is_set():
            try:
                answered.append(len(begin(registry, 3).future.result(30)[0].text.split()))
            except Replaced:  # a route asks anew
                continue
            except Exception as error:
                faults.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for version in (2, 3, 4):
        copy_version(service_models, ENDLESS, models, version)
        registry.refresh(at_once=True)
        assert serving(registry) == version
    stop.set()
    for thread in threads:
        thread.join(30)
    assert faults == []
    assert set(answered) == {3}


def test_nothing_of_a_version_that_was_replaced_is_kept(
    open_registry: Any, models: Path, service_models: Path, metrics: Metrics
) -> None:
    """By counting references alone: the collector rarely looks at what is old."""
    registry, gone = open_registry(), threading.Event()
    weakref.finalize(registry.models[ENDLESS].worker, gone.set)
    begin(registry, 5).future.result(30)
    gc.disable()
    try:
        copy_version(service_models, ENDLESS, models, 2)
        registry.refresh(at_once=True)
        assert gone.wait(30)
    finally:
        gc.enable()
    for gauge in ("seqserve_rows_in_use", "seqserve_waiting", "seqserve_prefix_cache_bytes"):
        assert metrics.registry.get_sample_value(gauge, {"model": ENDLESS}) == 0


def test_a_bad_version_is_refused_once_and_the_old_one_serves_on(
    open_registry: Any, models: Path, service_models: Path, metrics: Metrics
) -> None:
    registry = open_registry()
    folder = copy_version(service_models, ENDLESS, models, 2)
    flip_byte(folder / "model.onnx")
    for _ in range(4):
        registry.refresh()
    assert serving(registry) == 1
    assert [(refused.name, refused.version) for refused in registry.refused] == [(ENDLESS, 2)]
    assert metrics.registry.get_sample_value("seqserve_refused_models") == 1
    labels = {"model": ENDLESS, "outcome": "refused"}
    assert metrics.registry.get_sample_value("seqserve_model_loads_total", labels) == 1
    assert registry.faults() == []
    flip_byte(folder / "model.onnx")  # mended
    registry.refresh()
    registry.refresh()
    assert serving(registry) == 2
    assert registry.refused == []
    assert metrics.registry.get_sample_value("seqserve_refused_models") == 0


def test_a_folder_that_is_deleted_takes_nothing_down(open_registry: Any, models: Path) -> None:
    registry = open_registry()
    shutil.rmtree(models)
    registry.refresh()
    assert serving(registry) == 1
    assert len(begin(registry, 2).future.result(30)[0].text.split()) == 2
    models.mkdir()
    registry.refresh()
    assert serving(registry) == 1


def test_where_the_highest_version_is_deleted_the_next_one_serves(open_registry: Any, models: Path, service_models: Path) -> None:
    copy_version(service_models, ENDLESS, models, 2)
    registry = open_registry()
    assert serving(registry) == 2
    shutil.rmtree(models / ENDLESS / "2")
    registry.refresh(at_once=True)
    assert serving(registry) == 1


def test_a_loop_that_died_is_begun_anew(open_registry: Any) -> None:
    registry = open_registry()
    registry.models[ENDLESS].worker.close(1)
    assert registry.faults() == [f"the loop of {ENDLESS}/1 has stopped"]
    registry.refresh(at_once=True)
    assert registry.faults() == []
    begin(registry, 1).future.result(30)


def test_what_was_closed_is_not_begun_anew(open_registry: Any) -> None:
    registry = open_registry()
    registry.close()
    registry.refresh(at_once=True)
    assert not registry.models[ENDLESS].worker.alive


def test_at_the_end_nobody_waits_for_a_version_to_go_nor_reads_the_next(
    open_registry: Any, models: Path, service_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.registry.LEAVES_S", 60)
    registry, waiting = open_registry(), waits(monkeypatch)
    begin(registry, 10**8)
    copy_version(service_models, ENDLESS, models, 2)
    registry.refresh(at_once=True)  # and the first goes on, for its answer takes long
    copy_version(service_models, ENDLESS, models, 3)
    waiting.clear()
    look = threading.Thread(target=registry.refresh, args=(True,))
    look.start()
    assert waiting.wait(10)
    registry.retire()
    look.join(20)
    assert not look.is_alive()
    assert (serving(registry), registry.refused) == (2, [])
    registry.close(0.0)


def waits(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set when somebody waits for versions to go."""
    waiting, wait = threading.Event(), Farewell.wait

    def tell(farewell: Farewell, at_most_s: float) -> None:
        waiting.set()
        wait(farewell, at_most_s)

    monkeypatch.setattr(Farewell, "wait", tell)
    return waiting


def test_at_the_end_no_version_is_chosen_any_more(open_registry: Any, models: Path, service_models: Path) -> None:
    """By who has waited for his turn until then: everybody else is refused before."""
    copy_version(service_models, ENDLESS, models, 2)
    registry = open_registry()
    registry.close()
    with pytest.raises(Unavailable, match="the service is shutting down"):
        registry.choose(ENDLESS, 1)
    with pytest.raises(Unavailable, match="the service is shutting down"):
        registry.choose(OTHER, UNLOADED)
    with pytest.raises(Unavailable, match="the service is shutting down"):
        registry.roll_back(ENDLESS)
    assert [model.label for model in registry.models.values()] == [f"{OTHER}/1", f"{ENDLESS}/2"]
    assert not any(model.worker.alive for model in registry.models.values())
    assert (registry.wanted(ENDLESS), registry.wanted(OTHER)) == (NEWEST, NEWEST)


# What is wanted


def test_a_pinned_version_stays_until_the_pin_is_lifted(open_registry: Any, models: Path, service_models: Path) -> None:
    copy_version(service_models, ENDLESS, models, 2)
    registry = open_registry()
    registry.choose(ENDLESS, 1)
    assert (serving(registry), registry.wanted(ENDLESS)) == (1, 1)
    copy_version(service_models, ENDLESS, models, 3)
    registry.refresh(at_once=True)
    assert serving(registry) == 1
    registry.choose(ENDLESS, NEWEST)
    assert (serving(registry), registry.wanted(ENDLESS)) == (3, NEWEST)


def test_a_pin_that_cannot_be_loaded_changes_nothing(open_registry: Any, models: Path, service_models: Path) -> None:
    flip_byte(copy_version(service_models, ENDLESS, models, 2) / "model.onnx")
    registry = open_registry()
    with pytest.raises(InvalidRequest, match=f"^{ENDLESS}/2: model.onnx is damaged"):
        registry.choose(ENDLESS, 2)
    with pytest.raises(NotFound, match="there is no version 7; there are 1, 2"):
        registry.choose(ENDLESS, 7)
    with pytest.raises(NotFound, match="there is no model 'nothing'"):
        registry.choose("nothing", 1)
    assert (serving(registry), registry.wanted(ENDLESS)) == (1, NEWEST)


def test_a_choice_that_cannot_be_kept_changes_nothing(models: Path, service_models: Path, metrics: Metrics, tmp_path: Path) -> None:
    copy_version(service_models, ENDLESS, models, 2)
    settings = Settings(models=models, generate_model=ENDLESS, classify_model=OTHER)
    with closing(Registry(settings, metrics, tmp_path / "nothing" / "choices.json")) as registry:
        with pytest.raises(Unavailable, match="the choice cannot be kept: No such file"):
            registry.choose(ENDLESS, 1)
        with pytest.raises(Unavailable, match="the choice cannot be kept: No such file"):
            registry.roll_back(ENDLESS)
        assert (serving(registry), registry.wanted(ENDLESS)) == (2, NEWEST)
        begin(registry, 1).future.result(30)


def test_two_that_choose_at_the_same_time_both_do_what_either_was_told(models: Path, service_models: Path, tmp_path: Path) -> None:
    copy_version(service_models, ENDLESS, models, 2)
    settings = Settings(models=models, generate_model=ENDLESS, classify_model=OTHER)
    with ExitStack() as stack:
        one, other = (stack.enter_context(closing(Registry(settings, Metrics(), tmp_path / "choices.json"))) for _ in "ab")
        one.choose(ENDLESS, 1)
        other.choose(OTHER, UNLOADED)
        one.follow()
        assert [(serving(registry), serving(registry, OTHER)) for registry in (one, other)] == [(1, None)] * 2


def test_rolled_back_the_next_lower_good_version_is_pinned(open_registry: Any, models: Path, service_models: Path) -> None:
    for version in (2, 3, 4):
        copy_version(service_models, ENDLESS, models, version)
    flip_byte(models / ENDLESS / "3" / "model.onnx")
    registry = open_registry()
    registry.roll_back(ENDLESS)
    assert (serving(registry), registry.wanted(ENDLESS)) == (2, 2)
    registry.refresh(at_once=True)
    assert serving(registry) == 2
    registry.roll_back(ENDLESS)
    with pytest.raises(NotFound, match="no good version below"):
        registry.roll_back(ENDLESS)
    assert serving(registry) == 1


def test_what_is_unloaded_answers_what_it_accepted_and_nothing_more(open_registry: Any) -> None:
    registry = open_registry()
    running = begin(registry, 2000)
    registry.choose(ENDLESS, UNLOADED)
    with pytest.raises(NotFound):
        begin(registry, 1)
    with pytest.raises(Unavailable):
        registry.generator(None)
    assert len(running.future.result(60)[0].text.split()) == 2000
    registry.refresh(at_once=True)
    assert serving(registry) is None
    registry.choose(ENDLESS, NEWEST)
    assert serving(registry) == 1


def test_the_settings_say_which_versions_serve(open_registry: Any, models: Path, service_models: Path) -> None:
    copy_version(service_models, ENDLESS, models, 2)
    registry = open_registry(versions={ENDLESS: 1, OTHER: UNLOADED})
    assert {name: model.manifest.version for name, model in registry.models.items()} == {ENDLESS: 1}


def test_a_version_that_the_settings_promise_and_is_not_there_is_a_reason_not_to_be_ready(open_registry: Any) -> None:
    registry = open_registry(versions={ENDLESS: 5})
    assert serving(registry) is None
    assert f"{ENDLESS}/5 is asked for and not loaded" in registry.faults()
