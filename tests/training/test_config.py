"""A preset and what was typed become one frozen value, or one sentence that names the key."""

import re
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from service.artifact import Cell
from tests.training.samples import write_text
from training.config import Config
from training.errors import ConfigError
from training.preset import PRESETS, STARTERS, left_out, load_config, preset_names

ANY = "starter-next-word"
CLASSIFIES = "starter-sentiment"


def leaves() -> list[str]:
    """Every key of Config that can be set, dotted."""
    found = []
    for name, field in Config.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found += [f"{name}.{leaf}" for leaf in kind.model_fields]
        else:
            found.append(name)
    return found


# Presets


@pytest.mark.parametrize("preset", preset_names())
def test_every_shipped_preset_is_valid_and_says_where_its_data_can_be_had(preset: str) -> None:
    config = load_config(preset)
    assert config.name == preset
    assert config.description.strip()
    assert config.source.strip()


@pytest.mark.parametrize("preset", preset_names())
def test_a_preset_either_ships_its_data_or_names_none(preset: str) -> None:
    train = load_config(preset).data.train
    assert train is None or Path(train).is_file()


@pytest.mark.parametrize("preset", STARTERS)
def test_a_starter_preset_ships_its_data_wherever_it_is_called_from(
    preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    train = load_config(preset).data.train
    assert train is not None
    assert Path(train).is_file()


def test_the_presets_are_the_yaml_files_of_their_folder() -> None:
    assert preset_names() == sorted(file.name.removesuffix(".yaml") for file in PRESETS.iterdir() if file.suffix == ".yaml")
    assert set(STARTERS) <= set(preset_names())


@pytest.mark.parametrize("preset", ["no-such", "", "../config", "starter-next-word.yaml", "*", "presets/starter-next-word"])
def test_an_unknown_preset_is_refused_with_the_names_of_those_there_are(preset: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        load_config(preset)
    assert f"--preset {preset}:" in str(refusal.value)
    assert all(name in str(refusal.value) for name in preset_names())


@pytest.fixture
def own_preset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A preset named own, in a folder of presets where it is the only one."""
    path = write_text(tmp_path / "presets" / "own.yaml", ["{name: own, task: generate, description: d, source: s}"])
    monkeypatch.setattr("training.preset.PRESETS", path.parent)
    return path


def test_data_that_is_typed_takes_the_place_of_every_file_of_the_preset(own_preset: Path) -> None:
    write_text(own_preset, ["name: own", "task: generate", "description: d", "source: s", "data: {train: a, valid: b, test: c}"])
    shipped, own = load_config("own").data, load_config("own", data="mine.txt").data
    assert [shipped.train, shipped.valid, shipped.test] == [str(own_preset.parents[1] / name) for name in "abc"]
    assert [own.train, own.valid, own.test] == ["mine.txt", None, None]


@pytest.mark.parametrize(
    ("line", "key"), [("epochs: 3", "epochs"), ("fit: {epoch: 3}", "fit.epoch"), ("fit: {epochs: no}", "fit.epochs")]
)
def test_a_wrong_key_or_value_in_a_preset_is_refused_by_name(own_preset: Path, line: str, key: str) -> None:
    write_text(own_preset, ["name: own", "task: generate", "description: d", "source: s", line])
    with pytest.raises(ConfigError, match=rf"^{re.escape(key)}: "):
        load_config("own")


def test_a_configuration_is_frozen() -> None:
    config = load_config(ANY)
    with pytest.raises(ValidationError):
        config.seed = 2  # type: ignore[misc]
    with pytest.raises(ValidationError):
        config.model.hidden = 2  # type: ignore[misc]


# Keys


@pytest.mark.parametrize("key", ["hidden", "model.hidden", " hidden ", " model.hidden "])
def test_a_key_is_dotted_or_its_last_part_alone(key: str) -> None:
    assert load_config(ANY, [f"{key}=77"]).model.hidden == 77


def test_the_last_of_two_values_for_one_key_counts() -> None:
    assert load_config(ANY, ["hidden=5", "model.hidden=6"]).model.hidden == 6


def test_what_is_not_overridden_stays_as_the_preset_says() -> None:
    changed, preset = load_config(ANY, ["hidden=77"]), load_config(ANY)
    assert changed != preset
    assert changed.model_copy(update={"model": preset.model}) == preset
    assert changed.model.model_copy(update={"hidden": preset.model.hidden}) == preset.model


def test_a_preset_that_is_silent_about_a_section_can_still_have_it_set() -> None:
    assert load_config("korean-next-word", ["data.columns=[text]"]).data.columns == ["text"]


@pytest.mark.parametrize("preset", [ANY, CLASSIFIES])
def test_every_key_can_be_set_by_its_dotted_name_and_by_its_last_part(preset: str) -> None:
    for key in [*leaves(), *(key.rpartition(".")[2] for key in leaves())]:
        with pytest.raises(ConfigError, match=r"valid|should be|must") as refusal:
            load_config(preset, [f"{key}=[[never a value]]"])
        assert key in str(refusal.value)
        assert "no such key" not in str(refusal.value)


def test_a_bare_key_is_never_that_of_an_earlier_stage_where_another_section_has_it() -> None:
    """Whoever typed epochs=3 before there were such stages means the same today."""
    shared = [key for key in leaves() if not key.startswith(("pretrain.", "selftrain."))]
    assert len(shared) == len({key.rpartition(".")[2] for key in shared})
    preset = load_config("korean-sentiment")
    config = load_config("korean-sentiment", ["epochs=77", "batch_size=78", "learning_rate=79", "dropout=0.77"])
    assert (config.fit.epochs, config.fit.batch_size, config.fit.learning_rate) == (77, 78, 79)
    assert config.model.dropout == 0.77
    assert (config.pretrain, config.selftrain) == (preset.pretrain, preset.selftrain)
    assert load_config("korean-sentiment", ["words=123"]).pretrain.words == 123


@pytest.mark.parametrize(
    "key",
    ["hiden", "model.hiden", "modell.hidden", "fit.hidden", "model", "data", "model.hidden.x", "name.x", ".hidden", "model.", ""],
)
def test_an_unknown_key_is_refused_by_name_with_the_keys_there_are(key: str) -> None:
    with pytest.raises(ConfigError, match="there is no such key") as refusal:
        load_config(ANY, [f"{key}=1"])
    assert f"--set {key}:" in str(refusal.value)
    assert all(known in str(refusal.value) for known in leaves())


def test_an_override_without_an_equals_sign_is_refused_with_how_to_write_it() -> None:
    with pytest.raises(ConfigError, match=r"--set hidden: write it as key=value"):
        load_config(ANY, ["hidden"])


# Values


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("hidden=0", "model.hidden"),
        ("hidden=-3", "model.hidden"),
        ("hidden=1.5", "model.hidden"),
        ("hidden=many", "model.hidden"),
        ("hidden=", "model.hidden"),
        ("layers=9", "model.layers"),
        ("cell=transformer", "model.cell"),
        ("pooling=min", "model.pooling"),
        ("head=tanh", "model.head"),
        ("dropout=1", "model.dropout"),
        ("dropout=-0.1", "model.dropout"),
        ("bidirectional=perhaps", "model.bidirectional"),
        ("punctuation=gone", "text.punctuation"),
        ("max_words=0", "text.max_words"),
        ("max_length=1", "text.max_length"),
        ("valid_fraction=1", "data.valid_fraction"),
        ("test_fraction=-0.1", "data.test_fraction"),
        ("columns=text", "data.columns"),
        ("epochs=0", "fit.epochs"),
        ("batch_size=0", "fit.batch_size"),
        ("patience=0", "fit.patience"),
        ("optimiser=lion", "fit.optimiser"),
        ("learning_rate=0", "fit.learning_rate"),
        ("learning_rate=-1", "fit.learning_rate"),
        ("learning_rate=.nan", "fit.learning_rate"),
        ("learning_rate=.inf", "fit.learning_rate"),
        ("weight_decay=-1", "fit.weight_decay"),
        ("clip=0", "fit.clip"),
        ("schedule=step", "fit.schedule"),
        ("learning_rate=101", "fit.learning_rate"),
        ("average=1", "fit.average"),
        ("mode=lines", "fit.mode"),
        ("window=1", "fit.window"),
        ("checkpoint_s=0", "fit.checkpoint_s"),
        ("class_weights=equal", "fit.class_weights"),
        ("unit=syllable", "text.unit"),
        ("ngrams=7", "model.ngrams"),
        ("buckets=0", "model.buckets"),
        ("tables=int4", "model.tables"),
        ("pretrain.epochs=-1", "pretrain.epochs"),
        ("selftrain.teachers=0", "selftrain.teachers"),
        ("precision=int8", "fit.precision"),
        ("seed=-1", "seed"),
        ("seed=2147483648", "seed"),
        ("seed=x", "seed"),
        ("task=translate", "task"),
        ("name=Not A Name", "name"),
        ("name=../elsewhere", "name"),
        ("name=.publishing-x", "name"),
    ],
)
def test_a_wrong_value_is_refused_in_one_line_that_names_its_key_and_the_value(override: str, key: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        load_config(ANY, [override])
    line = str(refusal.value)
    assert line.startswith(f"{key}: ")
    assert ", not " in line
    assert len(line.splitlines()) == 1


def test_a_name_that_is_no_part_of_an_address_is_told_so_and_not_by_its_pattern() -> None:
    with pytest.raises(ConfigError, match=r"^name: is part of an address: [^\^]+, not '내-모델'$"):
        load_config(ANY, ["name=내-모델"])


@pytest.mark.parametrize("value", ["[1, 2", "{a: b", "'open", "a: b: c", "@x", "*x"])
def test_what_is_no_yaml_value_is_refused_by_key_in_one_line(value: str) -> None:
    with pytest.raises(ConfigError, match=r"^--set hidden: ") as refusal:
        load_config(ANY, [f"hidden={value}"])
    assert len(str(refusal.value).splitlines()) == 1


@pytest.mark.parametrize("value", ["2024-13-45", "0x_", "0b_", "9" * 5000])
def test_what_yaml_takes_for_an_impossible_date_or_number_is_refused_by_key(value: str) -> None:
    with pytest.raises(ConfigError, match="seed"):
        load_config(ANY, [f"seed={value}"])


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_no_value_whatever_ends_in_anything_but_a_configuration_or_a_sentence(value: str) -> None:
    try:
        assert isinstance(load_config(ANY, [f"hidden={value}"]), Config)
    except ConfigError as refusal:
        assert "hidden" in str(refusal)  # noqa: PT017 - either ending is right


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("learning_rate=1e-3", 0.001),
        ("learning_rate=0.5", 0.5),
        ("lowercase=true", True),
        ("columns=[label, text]", ["label", "text"]),
        ("labels={'0': bad, '1': good}", {"0": "bad", "1": "good"}),
        ("columns=null", None),
        ("description=a=b", "a=b"),
        ("train=some file.txt", "some file.txt"),
    ],
)
def test_a_value_is_read_as_yaml(override: str, expected: object) -> None:
    key = override.partition("=")[0]
    config = load_config(CLASSIFIES, [override])
    found = [
        getattr(part, key)
        for part in (config, config.data, config.text, config.model, config.fit)
        if key in type(part).model_fields
    ]
    assert found == [expected]


# What does not go together


@pytest.mark.parametrize("preset", ["starter-next-word", "korean-next-word"])
def test_a_model_that_generates_must_not_read_backwards_and_is_told_why(preset: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        load_config(preset, ["bidirectional=true"])
    assert str(refusal.value).startswith("model.bidirectional: ")
    assert "words to come" in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_a_model_that_classifies_may_read_backwards_with_any_cell(cell: Cell) -> None:
    config = load_config(CLASSIFIES, ["bidirectional=true", f"cell={cell}"])
    assert (config.model.bidirectional, config.model.cell) == (True, cell)


REFUSED_TOGETHER = [
    (ANY, "data.unlabelled=texts.txt", "data.unlabelled"),
    (ANY, "model.ngrams=3", "model.ngrams"),
    (ANY, "pretrain.epochs=1", "pretrain.epochs"),
    (ANY, "fit.label_smoothing=0.1", "fit.label_smoothing"),
    (ANY, "fit.class_weights=balanced", "fit.class_weights"),
    (CLASSIFIES, "fit.mode=stream", "fit.mode"),
]


@pytest.mark.parametrize(("preset", "override", "key"), REFUSED_TOGETHER)
def test_what_means_nothing_to_the_task_is_refused_and_not_ignored(preset: str, override: str, key: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{re.escape(key)}: means nothing") as refusal:
        load_config(preset, [override])
    assert len(str(refusal.value).splitlines()) == 1


UNREAD = [  # what was typed, and the key of it that nothing would read
    (ANY, ["window=35"], "fit.window"),
    (ANY, ["fit.window=10", "mode=stream", "mode=sentence"], "fit.window"),
    (CLASSIFIES, ["window=35"], "fit.window"),
    (ANY, ["mode=stream", "max_length=50"], "text.max_length"),
    (CLASSIFIES, ["buckets=100", "ngrams=0"], "model.buckets"),
    (CLASSIFIES, ["pretrain.words=5", "pretrain.epochs=0"], "pretrain.words"),
    ("korean-sentiment", ["selftrain.teachers=3", "selftrain.epochs=0", "unlabelled=a.txt"], "selftrain.teachers"),
    ("korean-sentiment", [" selftrain.dropout =0.1"], "selftrain.dropout"),
    (ANY, ["label_column=label"], "data.label_column"),
    (ANY, ["data.labels={'0': bad}"], "data.labels"),
]


@pytest.mark.parametrize(("preset", "overrides", "key"), UNREAD)
def test_what_was_typed_and_nothing_would_read_is_refused_with_what_would(preset: str, overrides: list[str], key: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{re.escape(key)}: is read only (with|by) ") as refusal:
        load_config(preset, overrides)
    assert len(str(refusal.value).splitlines()) == 1


STREAM = "text: {max_length: 9}, fit: {mode: stream, window: 10}, data: {label_column: stars, labels: {a: b}}"


@pytest.mark.parametrize(
    ("preset", "override"),
    [
        ("own", "mode=stream"),
        ("own", "mode=sentence"),
        ("korean-sentiment", "ngrams=0"),
        ("korean-sentiment", "pretrain.epochs=0"),
        ("korean-sentiment", "selftrain.epochs=0"),
    ],
)
def test_what_a_preset_has_left_over_is_not_refused(
    preset: str, override: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(PRESETS, tmp_path / "presets")
    write_text(tmp_path / "presets" / "own.yaml", [f"{{name: own, task: generate, description: d, source: s, {STREAM}}}"])
    monkeypatch.setattr("training.preset.PRESETS", tmp_path / "presets")
    key, _, value = override.partition("=")
    *outer, last = key.split(".")
    told = load_config(preset, [override]).model_dump()
    places = [told[name] for name in outer] or [told, *(part for part in told.values() if isinstance(part, dict))]
    assert [str(place[last]) for place in places if last in place] == [value]


def test_pre_training_needs_both_directions() -> None:
    with pytest.raises(ConfigError, match=r"^pretrain\.epochs: .*two directions"):
        load_config(CLASSIFIES, ["pretrain.epochs=1", "bidirectional=false"])


def test_characters_have_no_runs_of_characters_within_them() -> None:
    with pytest.raises(ConfigError, match=r"^model\.ngrams: "):
        load_config(CLASSIFIES, ["unit=char", "ngrams=3"])


# Texts without labels


@pytest.fixture
def with_unlabelled(tmp_path: Path) -> Path:
    """A data folder that has some."""
    for name in ("train.csv", "unlabelled.txt"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("preset", "overrides", "read"),
    [
        (CLASSIFIES, [], False),
        (CLASSIFIES, ["pretrain.epochs=1"], True),
        (CLASSIFIES, ["selftrain.epochs=1"], True),
        ("korean-sentiment", [], True),
        ("korean-sentiment", ["pretrain.epochs=0"], True),
        ("korean-sentiment", ["pretrain.epochs=0", "selftrain.epochs=0"], False),
        ("korean-next-word", [], False),
        (ANY, [], False),
    ],
)
def test_those_beside_the_training_text_are_read_where_a_stage_learns_from_them(
    with_unlabelled: Path, preset: str, overrides: list[str], read: bool
) -> None:
    found = load_config(preset, overrides, data=str(with_unlabelled)).data.unlabelled
    assert found == (str(with_unlabelled / "unlabelled.txt") if read else None)


def test_those_that_were_typed_are_read_instead_of_those_in_the_folder(with_unlabelled: Path) -> None:
    for key in ("unlabelled", "data.unlabelled"):
        assert load_config("korean-sentiment", [f"{key}=mine.txt"], str(with_unlabelled)).data.unlabelled == "mine.txt"


def test_a_preset_that_would_learn_from_them_does_without_where_there_are_none() -> None:
    config = load_config("korean-sentiment", data="reviews.csv")
    assert config.data.unlabelled is None
    assert config.selftrain.epochs == 0
    assert config.pretrain == load_config("korean-sentiment").pretrain  # it reads the training texts
    assert left_out("korean-sentiment", config) == (
        "no self-training: the preset korean-sentiment does it on texts without labels, and there are none (--unlabelled)"
    )


def test_nothing_is_said_to_be_left_out_where_it_is_there_or_was_never_to_be(with_unlabelled: Path) -> None:
    assert left_out("korean-sentiment", load_config("korean-sentiment", data=str(with_unlabelled))) is None
    assert left_out(CLASSIFIES, load_config(CLASSIFIES)) is None
    assert left_out("a preset of then", load_config(CLASSIFIES)) is None


def test_self_training_that_was_asked_for_needs_them() -> None:
    with pytest.raises(ConfigError, match=r"^selftrain\.epochs: there is no text without labels") as refusal:
        load_config(CLASSIFIES, ["selftrain.epochs=1"], "reviews.csv")
    assert len(str(refusal.value).splitlines()) == 1


# Where the data is


def test_a_data_set_of_the_hub_is_taken_by_its_name() -> None:
    data = load_config(CLASSIFIES, data="hub:owner/reviews").data
    assert (data.train, data.valid, data.test) == ("hub:owner/reviews", None, None)


def test_a_file_typed_as_data_is_the_training_split_and_nothing_of_the_preset_s_files_is_left() -> None:
    config = load_config(ANY, data="mine.csv")
    assert (config.data.train, config.data.valid, config.data.test) == ("mine.csv", None, None)


def test_data_keeps_what_else_the_preset_says_about_it() -> None:
    config = load_config("korean-sentiment", data="mine.csv")
    assert config.data.text_column == "document"
    assert config.data.labels == {"0": "negative", "1": "positive"}


def test_a_folder_brings_its_train_valid_and_test_files(tmp_path: Path) -> None:
    for name in ("train.csv", "valid.jsonl", "test.parquet", "notes.txt", "training.csv"):
        (tmp_path / name).touch()
    data = load_config(CLASSIFIES, data=str(tmp_path)).data
    assert [data.train, data.valid, data.test] == [str(tmp_path / name) for name in ("train.csv", "valid.jsonl", "test.parquet")]


def test_a_folder_may_have_no_valid_and_test_files(tmp_path: Path) -> None:
    write_text(tmp_path / "train.txt", ["a b"])
    data = load_config(ANY, data=str(tmp_path)).data
    assert (data.train, data.valid, data.test) == (str(tmp_path / "train.txt"), None, None)


def test_a_folder_without_training_text_is_refused_by_name(tmp_path: Path) -> None:
    write_text(tmp_path / "test.txt", ["a b"])
    with pytest.raises(ConfigError, match="no train") as refusal:
        load_config(ANY, data=str(tmp_path))
    assert str(tmp_path) in str(refusal.value)


def test_a_folder_with_two_files_for_one_split_is_refused_with_both_names(tmp_path: Path) -> None:
    for name in ("train.txt", "valid.csv", "valid.tsv"):
        (tmp_path / name).touch()
    with pytest.raises(ConfigError, match=r"valid\.csv and valid\.tsv"):
        load_config(ANY, data=str(tmp_path))


def test_a_folder_whose_name_has_wildcards_is_read_itself(tmp_path: Path) -> None:
    for name in ("a1", "a[1]"):
        write_text(tmp_path / name / "train.txt", ["a b"])
    assert load_config(ANY, data=str(tmp_path / "a[1]")).data.train == str(tmp_path / "a[1]" / "train.txt")


def test_an_override_beats_the_data_that_was_typed(tmp_path: Path) -> None:
    shutil.copy(PRESETS.parent / "starter" / "next-word.txt", tmp_path / "train.txt")
    config = load_config(ANY, ["data.valid=other.txt"], data=str(tmp_path))
    assert (config.data.train, config.data.valid) == (str(tmp_path / "train.txt"), "other.txt")


def test_text_without_labels_that_no_stage_would_read_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"data\.unlabelled: only pretrain\.epochs and selftrain\.epochs read it"):
        load_config(CLASSIFIES, ["data.unlabelled=more.txt", "pretrain.epochs=0", "selftrain.epochs=0"])
