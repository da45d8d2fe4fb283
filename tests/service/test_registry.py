"""service.registry: the highest good version of every model serves, and what is bad is refused aloud."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from service.errors import InvalidRequest, NotFound, SettingsError, Unavailable
from service.inference.prompt import Prompt
from service.inference.sequence import GenerationOptions
from service.metrics import Metrics
from service.model import Model
from service.registry import Registry
from service.settings import Settings
from tests.service.damage import (
    READING,
    RUNNING,
    copy_version,
    edit_graph,
    edit_manifest,
    edit_tokenizer,
    external,
    replace_file,
)

GENERATE, CLASSIFY, OTHER = "lstm1-generate", "bilstm1-classify", "rnn1-generate"
FAULTS = READING | RUNNING

Open = Callable[..., Registry]


@pytest.fixture
def models(small_models: Path, tmp_path: Path) -> Path:
    """A models folder with a sound version 1 of a generator and of a classifier, which a test may change."""
    for name in (GENERATE, CLASSIFY):
        copy_version(small_models, name, tmp_path / "models")
    return tmp_path / "models"


@pytest.fixture
def open_registry(models: Path) -> Iterator[Open]:
    """Opens registries over the folder as it is then, and closes them after the test."""
    with ExitStack() as stack:

        def open_now(metrics: Metrics | None = None, **changes: Any) -> Registry:
            chosen = Settings(**{"models": models, "generate_model": GENERATE, "classify_model": CLASSIFY, **changes})
            return stack.enter_context(closing(Registry(chosen, metrics or Metrics())))

        yield open_now


def continuation(registry: Registry, name: str | None = None, words: int = 5) -> str:
    model, worker = registry.generator(name)
    ids = model.tokenizer.encode_prompt("오늘 날씨가").ids
    return worker.submit([Prompt(ids, [GenerationOptions(words)])]).future.result(30)[0].text


def labels(registry: Registry) -> list[str]:
    return [model.label for model in registry.models.values()]


def reasons(registry: Registry, version: int = 2, name: str = GENERATE) -> str:
    """The one line with which the version was refused."""
    (refused,) = registry.refused
    assert (refused.name, refused.version) == (name, version)
    assert refused.reason.splitlines() == [refused.reason]
    assert refused.reason.startswith(f"{name}/{version}: ")
    return refused.reason


def test_the_highest_version_of_every_model_serves(models: Path, small_models: Path, open_registry: Open) -> None:
    for version in (2, 9, 10):
        copy_version(small_models, GENERATE, models, version)
    registry = open_registry()
    assert labels(registry) == [f"{CLASSIFY}/1", f"{GENERATE}/10"]
    assert registry.refused == []
    assert registry.faults() == []


@pytest.mark.parametrize("fault", FAULTS)
def test_a_version_with_a_fault_is_refused_and_the_one_before_it_serves(
    fault: str, models: Path, small_models: Path, open_registry: Open
) -> None:
    damage, reason = FAULTS[fault]
    damage(copy_version(small_models, GENERATE, models, 2))
    metrics = Metrics()
    registry = open_registry(metrics)
    assert reason in reasons(registry)
    assert labels(registry) == [f"{CLASSIFY}/1", f"{GENERATE}/1"]
    assert registry.faults() == []
    assert metrics.registry.get_sample_value("seqserve_refused_models") == 1
    assert isinstance(continuation(registry), str)


def test_a_classifier_with_fewer_labels_than_its_graph_has_outputs_is_refused(
    models: Path, small_models: Path, open_registry: Open
) -> None:
    folder = copy_version(small_models, CLASSIFY, models, 2)
    edit_manifest(folder, lambda manifest: manifest.update(labels=["positive"]))
    assert reasons(open_registry(), name=CLASSIFY)


def test_a_classifier_with_more_labels_than_its_graph_has_outputs_is_refused(
    models: Path, small_models: Path, open_registry: Open
) -> None:
    folder = copy_version(small_models, CLASSIFY, models, 2)
    edit_manifest(folder, lambda manifest: manifest["labels"].append("neutral"))
    assert reasons(open_registry(), name=CLASSIFY)


def test_a_graph_that_writes_words_which_the_tokenizer_lacks_is_refused(
    models: Path, small_models: Path, open_registry: Open
) -> None:
    folder = copy_version(small_models, GENERATE, models, 2)

    def forget_last_word(raw: dict[str, Any]) -> None:
        words = raw["model"]["vocab"]
        del words[max(words, key=words.__getitem__)]

    edit_tokenizer(folder, forget_last_word)

    def forget_it_here_too(manifest: dict[str, Any]) -> None:
        manifest["sizes"]["vocabulary"] -= 1
        last = manifest["sizes"]["vocabulary"]
        manifest["golden"] = [golden for golden in manifest["golden"] if last not in golden["ids"]]

    edit_manifest(folder, forget_it_here_too)
    assert reasons(open_registry())


def test_a_state_whose_parts_are_listed_the_other_way_round_is_put_right_or_refused(
    models: Path, small_models: Path, open_registry: Open
) -> None:
    """Which output goes back into which input is said by the manifest's state; the order of its outputs says nothing."""
    expected = continuation(open_registry(), words=10)
    folder = copy_version(small_models, GENERATE, models, 2)
    edit_manifest(folder, lambda manifest: manifest.update(outputs=[manifest["outputs"][i] for i in (0, 2, 1)]))
    assert continuation(open_registry(), words=10) == expected


@pytest.mark.parametrize("location", ["weights.bin", "absolute"])
def test_a_graph_whose_weights_lie_in_another_file_is_refused_even_where_the_file_is_there(
    location: str, models: Path, small_models: Path, open_registry: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hash over the graph says nothing of a file that it names."""
    folder = copy_version(small_models, GENERATE, models, 2)
    external(folder, location if location == "weights.bin" else str(folder / "weights.bin"))
    monkeypatch.chdir(folder)
    assert "onnxruntime cannot load the graph: " in reasons(open_registry())


def test_a_graph_that_gives_no_numbers_is_refused(models: Path, small_models: Path, open_registry: Open) -> None:
    def poison(model: Any) -> None:
        for weight in model.graph.initializer:
            if weight.name == "embedding":
                values = numpy_helper.to_array(weight) * float("nan")
                weight.CopyFrom(numpy_helper.from_array(values, "embedding"))

    edit_graph(copy_version(small_models, GENERATE, models, 2), poison)
    assert "the golden example " in reasons(open_registry())


def test_a_graph_of_another_kind_altogether_is_refused(models: Path, small_models: Path, open_registry: Open) -> None:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    other = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "other", [value], [other])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    replace_file(copy_version(small_models, GENERATE, models, 2), "model.onnx", model.SerializeToString())
    assert "the graph's inputs are " in reasons(open_registry())


def test_half_published_and_strange_folders_are_passed_over_in_silence(models: Path, open_registry: Open) -> None:
    (models / ".publishing-x1y2" / GENERATE / "2").mkdir(parents=True)
    for name in (".publishing-3", "new", "2.bak", "02", "0", "latest"):
        (models / GENERATE / name).mkdir()
    (models / "README.md").write_text("no model")
    (models / GENERATE / "3").write_text("no folder")
    registry = open_registry()
    assert labels(registry) == [f"{CLASSIFY}/1", f"{GENERATE}/1"]
    assert registry.refused == []


def test_every_bad_version_above_the_one_that_serves_is_told(models: Path, small_models: Path, open_registry: Open) -> None:
    for version in (2, 3):
        (copy_version(small_models, GENERATE, models, version) / "model.onnx").unlink()
    registry = open_registry()
    assert [(refused.name, refused.version) for refused in registry.refused] == [(GENERATE, 3), (GENERATE, 2)]
    assert f"{GENERATE}/1" in labels(registry)


def test_a_model_without_a_good_version_is_not_there_and_the_others_are(models: Path, open_registry: Open) -> None:
    (models / GENERATE / "1" / "model.onnx").unlink()
    registry = open_registry()
    assert labels(registry) == [f"{CLASSIFY}/1"]
    with pytest.raises(NotFound, match=f"there is no '{GENERATE}'; there are {CLASSIFY}"):
        registry.generator(GENERATE)
    with pytest.raises(Unavailable, match=f"the default model {GENERATE} is not loaded"):
        registry.generator(None)


def test_a_folder_without_any_model_makes_a_service_that_is_not_ready(models: Path, tmp_path: Path, open_registry: Open) -> None:
    (tmp_path / "empty").mkdir()
    registry = open_registry(models=tmp_path / "empty")
    assert registry.models == {}
    assert registry.faults() == [f"no model could be loaded from {tmp_path / 'empty'}"]


def test_where_every_model_was_refused_the_reasons_say_why_the_service_is_not_ready(models: Path, open_registry: Open) -> None:
    for name in (GENERATE, CLASSIFY):
        (models / name / "1" / "model.onnx").unlink()
    fault, *reasons = open_registry().faults()
    assert "no model could be loaded" in fault
    assert [reason.split(":")[0] for reason in reasons] == [f"{CLASSIFY}/1", f"{GENERATE}/1"]


@pytest.mark.parametrize("name", ["nothing", "file"])
def test_a_models_folder_that_is_none_is_refused_by_the_settings_name(name: str, tmp_path: Path, open_registry: Open) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=rf"^SEQSERVE_MODELS=.*{name}: there is no such folder$"):
        open_registry(models=tmp_path / name)


@pytest.mark.skipif("CUDAExecutionProvider" in ort.get_available_providers(), reason="needs an onnxruntime without CUDA")
def test_cuda_without_cuda_is_refused_before_any_model_is_read(models: Path, open_registry: Open) -> None:
    for path in models.rglob("manifest.json"):
        path.write_text("damaged")
    with pytest.raises(SettingsError, match=r"^SEQSERVE_PROVIDER=cuda, .* or set SEQSERVE_PROVIDER=cpu$"):
        open_registry(provider="cuda")


def test_a_request_that_names_no_model_gets_the_default_one(small_models: Path, models: Path, open_registry: Open) -> None:
    copy_version(small_models, OTHER, models)
    registry = open_registry(generate_model=OTHER)
    assert registry.generator(None)[0].label == f"{OTHER}/1"
    assert registry.generator(GENERATE)[0].label == f"{GENERATE}/1"
    assert registry.classifier(None)[0].label == f"{CLASSIFY}/1"
    assert [name for name, model in registry.models.items() if registry.is_default(model.manifest)] == [CLASSIFY, OTHER]


def test_a_model_of_the_other_task_is_refused_by_name(open_registry: Open) -> None:
    registry = open_registry()
    with pytest.raises(InvalidRequest, match=f"^model: {CLASSIFY} is for /classify, not for /generate$"):
        registry.generator(CLASSIFY)
    with pytest.raises(InvalidRequest, match=f"^model: {GENERATE} is for /generate, not for /classify$"):
        registry.classifier(GENERATE)


def test_a_default_model_of_the_other_task_is_refused_by_name(open_registry: Open) -> None:
    registry = open_registry(generate_model=CLASSIFY)
    with pytest.raises(Unavailable, match=f"the default model {CLASSIFY} is not loaded for /generate"):
        registry.generator(None)
    assert registry.faults() == [f"SEQSERVE_GENERATE_MODEL={CLASSIFY}: that model is for /classify, not for /generate"]


def test_a_model_that_lies_where_none_is_looked_for_is_logged_once(
    models: Path, open_registry: Open, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(models / CLASSIFY / "1", models / "한국어" / "1")
    registry = open_registry()
    registry.refresh(at_once=True)
    assert [record.getMessage()[:12] for record in caplog.records if record.levelname == "WARNING"] == ["skipped: 한국어"]


def test_a_model_that_is_not_there_is_told_with_those_that_are(open_registry: Open) -> None:
    with pytest.raises(NotFound, match=f"^model: there is no 'nothing'; there are {CLASSIFY}, {GENERATE}$"):
        open_registry().generator("nothing")


def test_the_versions_that_serve_are_in_the_metrics(models: Path, small_models: Path, open_registry: Open) -> None:
    copy_version(small_models, GENERATE, models, 2)
    metrics = Metrics()
    open_registry(metrics)
    for model, version, task in ((GENERATE, "2", "generate"), (CLASSIFY, "1", "classify")):
        values = {"model": model, "version": version, "task": task}
        assert metrics.registry.get_sample_value("seqserve_model_info", values) == 1
    assert metrics.registry.get_sample_value("seqserve_refused_models") == 0


def test_closing_answers_what_was_accepted_and_then_nothing_more(open_registry: Open) -> None:
    registry = open_registry()
    model, worker = registry.generator(None)
    ids = model.tokenizer.encode_prompt("오늘 날씨가").ids
    tickets = [worker.submit([Prompt(ids, [GenerationOptions(50)])]) for _ in range(10)]
    registry.close()
    assert all(ticket.future.result(0) for ticket in tickets)
    assert [_stopped(model) for model in registry.models.values()] == [True, True]
    assert len(registry.faults()) == 2
    with pytest.raises(Unavailable):
        worker.submit([Prompt(ids, [GenerationOptions(1)])])


def _stopped(model: Model) -> bool:
    return not model.worker.alive
