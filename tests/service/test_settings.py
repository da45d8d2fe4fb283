"""service.settings: every setting from its variable, and a wrong one named."""

import os
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from service import settings as module
from service.errors import SettingsError
from service.settings import PREFIX, SECRETS, Settings, available_cores, load_settings

KEY = "opens every state of mine"

READ = {
    "host": ("0.0.0.0", "0.0.0.0"),
    "port": ("9001", 9001),
    "workers": ("4", 4),
    "models": ("/srv/models", Path("/srv/models")),
    "generate_model": ("my-words", "my-words"),
    "root_task": ("classify", "classify"),
    "classify_model": ("my-labels", "my-labels"),
    "provider": ("cuda", "cuda"),
    "threads": ("3", 3),
    "max_rows": ("2", 2),
    "max_prefill_words": ("77", 77),
    "max_batch_words": ("78", 78),
    "max_waiting": ("79", 79),
    "max_requests": ("80", 80),
    "max_inputs": ("80", 80),
    "max_input_characters": ("81", 81),
    "max_body_bytes": ("82", 82),
    "max_answer_tokens": ("85", 85),
    "max_new_tokens": ("83", 83),
    "max_best_of": ("84", 84),
    "request_timeout_s": ("0.5", 0.5),
    "keep_alive_s": ("86", 86.0),
    "prefix_cache_bytes": ("0", 0),
    "state_key": (KEY, SecretStr(KEY)),
    "poll_s": ("0", 0.0),
    "versions": ("a=1, b=none,c=newest", {"a": 1, "b": "none", "c": "newest"}),
    "api_keys": (KEY, SecretStr(KEY)),
    "api_keys_file": ("/run/keys", Path("/run/keys")),
    "admin_keys": (KEY, SecretStr(KEY)),
    "admin_keys_file": ("/run/admin", Path("/run/admin")),
    "drain_s": ("87", 87.0),
    "read_timeout_s": ("88", 88.0),
    "max_header_bytes": ("89", 89),
    "playground": ("false", False),
    "cors_origins": ("https://a.example, http://localhost:3000", ("https://a.example", "http://localhost:3000")),
    "log_level": ("debug", "debug"),
    "log_format": ("console", "console"),
    "access_log": ("true", True),
    "traces": ("1", True),
}

WRONG = {
    "port": ["http", "-1", "65536", ""],
    "provider": ["tpu", "CPU"],
    "workers": ["0", "-1", "65", "two", ""],
    "threads": ["-1", "257", "two"],
    "request_timeout_s": ["0", "-1", "86401", "inf", "nan", "soon", ""],
    "keep_alive_s": ["0", "-1", "3601", "inf", "nan", "often", ""],
    "poll_s": ["-1", "86401", "inf", "nan", "often", ""],
    "drain_s": ["0", "-1", "86401", "inf", "nan", "soon", ""],
    "read_timeout_s": ["0", "-1", "3601", "inf", "nan", "soon", ""],
    "versions": ["a", "a=", "a=0", "=1", "a=1=2", "a=-1", "a=latest", "a=1234567890", "a=1;b=2"],
    "prefix_cache_bytes": ["-1", "1.5", "much", ""],
    "root_task": ["both", "label", ""],
    "playground": ["perhaps", ""],
    "cors_origins": [
        "a.example",
        "https://a.example/",
        "https://a.example/page",
        "https://A.example",
        "https://a.example,null",
        "https://a.example https://b.example",
        "https://*.example",
        "**",
    ],
    "log_level": ["loud"],
    "log_format": ["xml", ""],
    "access_log": ["perhaps", ""],
    "traces": ["otlp", ""],
    **{
        name: ["0", "-5", "1.5", "many", ""]
        for name in (
            "max_rows",
            "max_prefill_words",
            "max_batch_words",
            "max_waiting",
            "max_requests",
            "max_inputs",
            "max_input_characters",
            "max_body_bytes",
            "max_header_bytes",
            "max_answer_tokens",
            "max_new_tokens",
            "max_best_of",
        )
    },
}


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith(PREFIX):
            monkeypatch.delenv(name)


def test_this_file_knows_every_setting() -> None:
    assert set(READ) == set(Settings.model_fields)


@pytest.mark.parametrize("name", READ)
def test_every_setting_is_read_from_its_variable(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text, value = READ[name]
    assert getattr(load_settings(), name) != value, "the default would pass this test"
    monkeypatch.setenv(f"{PREFIX}{name.upper()}", text)
    assert getattr(load_settings(), name) == value


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in WRONG.items() for text in texts])
def test_a_wrong_value_is_refused_in_one_line_that_names_the_variable(
    name: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{PREFIX}{name.upper()}", text)
    with pytest.raises(SettingsError) as refusal:
        load_settings()
    assert str(refusal.value).startswith(f"{PREFIX}{name.upper()}={text}: ")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("text", ["short", "fifteen letters", ""])
def test_a_secret_that_is_wrong_is_refused_by_its_variables_name_and_not_shown(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQSERVE_STATE_KEY", text)
    with pytest.raises(SettingsError) as refusal:
        load_settings()
    assert str(refusal.value).startswith("SEQSERVE_STATE_KEY: ")
    assert "16" in str(refusal.value)
    assert not text or text not in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_no_secret_is_shown_where_the_settings_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQSERVE_STATE_KEY", KEY)
    settings = load_settings()
    assert all(
        KEY not in shown for shown in (str(settings), repr(settings), settings.model_dump_json(), str(settings.model_dump()))
    )


def test_every_field_that_holds_a_secret_is_known_as_one() -> None:
    assert {name for name, field in Settings.model_fields.items() if "Secret" in str(field.annotation)} == SECRETS


def test_without_any_variable_no_two_services_share_a_key() -> None:
    assert load_settings().state_key is None


@pytest.mark.parametrize(
    ("name", "meant"),
    [("SEQSERVE_PROT", "PORT"), ("SEQSERVE_MAX_ROW", "MAX_ROWS"), ("seqserve_modls", "MODELS"), ("SEQSERVE_API_KEY", "API_KEYS")],
)
def test_a_name_that_is_nearly_a_setting_is_refused_with_the_one_that_was_meant(
    name: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(SettingsError) as refusal:
        load_settings()
    assert str(refusal.value) == f"{name} is no setting; did you mean SEQSERVE_{meant}?"


def test_all_that_is_wrong_is_told_at_once_a_sentence_each() -> None:
    wrong = {"PORT": "abc", "MAX_ROWS": "-1", "CORS_ORIGINS": "foo.com", "STATE_KEY": "hush", "PROT": "1"}
    service_links = {"SERVICE_HOST": "10.0.0.1", "PORT_8000_TCP": "tcp://10.0.0.1:8000"}
    with pytest.raises(SettingsError) as refusal:
        load_settings({PREFIX + name: value for name, value in (wrong | service_links).items()})
    faults = refusal.value.faults
    assert faults[0] == "SEQSERVE_PROT is no setting; did you mean SEQSERVE_PORT?"
    assert faults[1].startswith("SEQSERVE_PORT_8000_TCP, SEQSERVE_SERVICE_HOST are no settings; there are ")
    assert [fault.partition(":")[0] for fault in faults[2:]] == [
        f"{PREFIX}{name}" for name in ("PORT=abc", "MAX_ROWS=-1", "STATE_KEY", "CORS_ORIGINS=foo.com")
    ]
    assert faults[-1].startswith("SEQSERVE_CORS_ORIGINS=foo.com: 'foo.com' is no origin: ")  # in our words alone
    assert "hush" not in str(refusal.value)


@pytest.mark.parametrize("name", ["SEQSERVE_SERVICE_HOST", "SEQSERVE_SERVICE_PORT", "SEQSERVE_PORT_8000_TCP", "SEQSERVE_"])
def test_a_name_that_is_no_setting_is_refused_and_the_sentence_lists_those_there_are(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(SettingsError, match=f"^{name} is no setting; there are .*SEQSERVE_MAX_ROWS, ") as refusal:
        load_settings()
    assert "enableServiceLinks: false" in str(refusal.value)


def test_a_variable_in_small_letters_is_read_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("seqserve_max_rows", "7")
    assert load_settings().max_rows == 7


def test_variables_of_other_programs_are_no_business_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    before = load_settings()
    monkeypatch.setenv("PORT", "1")
    monkeypatch.setenv("SEQ_MAX_ROWS", "1")
    assert load_settings() == before


def test_the_environment_that_is_handed_in_is_the_one_that_is_read() -> None:
    assert load_settings({"SEQSERVE_MAX_ROWS": "5"}).max_rows == 5


def test_settings_cannot_be_changed_once_read() -> None:
    settings = load_settings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.port = 1  # type: ignore[misc]


def test_without_any_variable_the_service_listens_to_this_machine_alone() -> None:
    assert load_settings().host == "127.0.0.1"


def test_threads_are_those_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQSERVE_THREADS", "9")
    assert load_settings().operator_threads == 9


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (3, 2), (5, 4), (64, 4)])
def test_threads_left_open_leave_a_core_for_http_and_are_four_at_the_most(
    cores: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "available_cores", lambda: cores)
    assert Settings().operator_threads == threads


@pytest.fixture
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> int:
    """A machine that grants this process eight cores, before any quota."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    return 8


def cgroup_v2(folder: Path, content: str) -> Path:
    (folder / "cpu.max").write_text(content)
    return folder


def cgroup_v1(folder: Path, quota: str, period: str = "100000\n") -> Path:
    (folder / "cpu").mkdir()
    (folder / "cpu" / "cpu.cfs_quota_us").write_text(quota)
    (folder / "cpu" / "cpu.cfs_period_us").write_text(period)
    return folder


QUOTAS = [(50_000, 1), (100_000, 1), (150_000, 2), (200_000, 2), (400_000, 4), (1_600_000, 8)]


@pytest.mark.parametrize(("quota", "cores"), QUOTAS)
def test_a_quota_of_cgroup_v2_cuts_the_cores(quota: int, cores: int, eight_cores: int, tmp_path: Path) -> None:
    assert available_cores(cgroup_v2(tmp_path, f"{quota} 100000\n")) == cores


@pytest.mark.parametrize(("quota", "cores"), QUOTAS)
def test_a_quota_of_cgroup_v1_cuts_the_cores(quota: int, cores: int, eight_cores: int, tmp_path: Path) -> None:
    assert available_cores(cgroup_v1(tmp_path, f"{quota}\n")) == cores


def test_the_period_counts_as_well_as_the_quota(eight_cores: int, tmp_path: Path) -> None:
    assert available_cores(cgroup_v2(tmp_path, "30000 10000\n")) == 3


def test_without_a_quota_all_cores_of_the_process_count(eight_cores: int, tmp_path: Path) -> None:
    for name in ("v2", "v1", "none"):
        (tmp_path / name).mkdir()
    assert available_cores(cgroup_v2(tmp_path / "v2", "max 100000\n")) == eight_cores
    assert available_cores(cgroup_v1(tmp_path / "v1", "-1\n")) == eight_cores
    assert available_cores(tmp_path / "none") == eight_cores


@pytest.mark.parametrize("content", ["", "max", "a lot 100000", "1 2 3"])
def test_a_cgroup_file_that_makes_no_sense_is_no_quota(content: str, eight_cores: int, tmp_path: Path) -> None:
    assert available_cores(cgroup_v2(tmp_path, content)) == eight_cores


def test_this_machine_has_a_core_at_least() -> None:
    assert 1 <= available_cores() <= len(os.sched_getaffinity(0))
