"""The settings: frozen, read once from the environment (prefix SEQSERVE_), passed down. Knows no other module's business."""

import math
import os
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.errors import SettingsError

PREFIX = "SEQSERVE_"

SECRETS = {"state_key", "api_keys", "admin_keys"}  # never shown, not even when they are wrong

NEAR = 0.7  # how like a setting a name must be that is taken for it: PROT is PORT, and SERVICE_PORT is not

NEWEST: Literal["newest"] = "newest"
UNLOADED: Literal["none"] = "none"
Wanted = int | Literal["newest", "none"]  # a version, the highest good one, or none at all

Positive = Annotated[int, Field(ge=1)]


def _read_versions(value: object) -> object:
    """`a=1, b=none` as a table."""
    if not isinstance(value, str):
        return value
    table: dict[str, Wanted] = {}
    for part in filter(None, (part.strip() for part in value.split(","))):
        name, _, wanted = (word.strip() for word in part.partition("="))
        if not name or not (wanted in (NEWEST, UNLOADED) or re.fullmatch(r"[1-9][0-9]{0,8}", wanted)):
            raise ValueError(f"{part!r} is not NAME=VERSION, NAME=newest or NAME=none")
        table[name] = int(wanted) if wanted.isdecimal() else cast(Wanted, wanted)
    return table


def _read_origins(value: object) -> object:
    """`https://a.example, http://localhost:3000` as a tuple; each as a browser writes its own."""
    if not isinstance(value, str):
        return value
    origins = tuple(filter(None, (part.strip() for part in value.split(","))))
    for origin in origins:
        if origin != "*" and not re.fullmatch(
            r"[a-z][a-z0-9+.-]*://[a-z0-9._-]+(:[0-9]+)?|https?://\[[0-9a-f:.]+\](:[0-9]+)?", origin
        ):
            raise ValueError(
                f"{origin!r} is no origin: scheme://host or scheme://host:port, in small letters and with nothing behind it"
            )
    return origins or None


class Settings(BaseSettings):
    """What an operator may change. Every field is SEQSERVE_<NAME> in the environment."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", min_length=1, description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    workers: Annotated[int, Field(ge=1, le=64)] = Field(1, description="processes that share the port, each with models of its own")
    models: Path = Field(Path("models"), description="folder of published models")
    poll_s: float = Field(
        5, ge=0, le=86_400, allow_inf_nan=False, description="seconds between looks into the folder for new versions; 0: never"
    )
    versions: Annotated[dict[str, Wanted], NoDecode, BeforeValidator(_read_versions)] = Field(
        {}, description="versions that serve in place of the newest: NAME=VERSION, NAME=none; separated by commas"
    )
    generate_model: str = Field("korean-next-word", description="model of /generate where a request names none")
    classify_model: str = Field("korean-sentiment", description="model of /classify where a request names none")
    root_task: Literal["generate", "classify"] = Field(
        "generate", description="what a request to / is for whose fields could be of either task"
    )
    provider: Literal["cpu", "cuda"] = Field("cpu", description="onnxruntime execution provider")
    threads: int = Field(0, ge=0, le=256, description="threads of a model's operators; 0: one fewer than the cores, 1 to 4")
    max_rows: Positive = Field(64, description="sequences that a model generates at the same time")
    max_prefill_words: Positive = Field(256, description="padded prompt words read between two generation steps")
    max_batch_words: Positive = Field(2048, description="padded words in one classification batch")
    max_waiting: Positive = Field(1024, description="inputs that a model has accepted and not answered; more get 429")
    max_requests: Positive = Field(
        1024, description="requests that a process works on at a time; more get 429 before they are read"
    )
    max_inputs: Positive = Field(256, description="inputs in one request; more get 413")
    max_input_characters: Positive = Field(20_000, description="characters of one input; more get 413")
    max_body_bytes: Positive = Field(1_000_000, description="bytes of a request's body; more get 413")
    max_answer_tokens: Positive = Field(
        65_536, description="inputs x best_of x max_new_tokens x (1 + top_n_tokens) of one request; more gets 413"
    )
    max_new_tokens: Positive = Field(512, description="largest max_new_tokens of a request")
    max_best_of: Positive = Field(8, description="largest best_of of a request")
    request_timeout_s: float = Field(
        60, gt=0, le=86_400, allow_inf_nan=False, description="seconds that a request may take; a client may ask for fewer"
    )
    keep_alive_s: float = Field(
        15, gt=0, le=3600, allow_inf_nan=False, description="seconds without a word after which a stream sends a comment"
    )
    prefix_cache_bytes: int = Field(
        64_000_000, ge=0, description="memory of a model for the states after prompts; 0 switches the cache off"
    )
    state_key: SecretStr | None = Field(
        None, min_length=16, description="signs the states that clients keep; the same on every replica. Unset: a random one"
    )
    api_keys: SecretStr | None = Field(None, description="keys, separated by commas, of which a request needs one. Unset: none")
    api_keys_file: Path | None = Field(None, description="the same from a file, one a line; read again when it changes")
    admin_keys: SecretStr | None = Field(
        None, description="keys with which POST /models/{name}/... changes what serves. Unset: nothing does"
    )
    admin_keys_file: Path | None = Field(None, description="the same from a file, one a line; read again when it changes")
    drain_s: float = Field(25, gt=0, le=86_400, allow_inf_nan=False, description="seconds that running requests have after SIGTERM")
    read_timeout_s: float = Field(
        10, gt=0, le=3600, allow_inf_nan=False, description="seconds that a client has to send a request's headers, and its body"
    )
    max_header_bytes: Positive = Field(16_384, description="bytes of a request's line and headers; more get 431")
    playground: bool = Field(True, description="whether / is a page to try the service with")
    cors_origins: Annotated[tuple[str, ...] | None, NoDecode, BeforeValidator(_read_origins)] = Field(
        None, description="origins, separated by commas, whose pages may ask from a browser; *: any. Unset: none"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="what goes to the log")
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="a JSON object a line, or lines for a person; auto: those at a terminal, JSON elsewhere"
    )
    access_log: bool = Field(False, description="whether the log has a line for every request")
    traces: bool = Field(
        False,
        description="whether every request becomes a trace of OpenTelemetry, sent as OTEL_* say; needs requirements-tracing.lock",
    )

    @property
    def operator_threads(self) -> int:
        """threads, or what a worker's cores allow: one is left for HTTP, and small models gain nothing beyond four."""
        return self.threads or min(4, max(1, available_cores() // self.workers - 1))


def load_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings from the environment. Raises SettingsError, naming every variable with a wrong value or an unknown name."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    unknown = [name for name in environment if name.upper().startswith(PREFIX) and name.upper() not in known]
    values: dict[str, Any] = {
        name.removeprefix(PREFIX).lower(): value for given, value in environment.items() if (name := given.upper()) in known
    }
    faults = list(_unknown_faults(sorted(unknown), sorted(known)))
    try:
        settings = Settings(**values)
    except ValidationError as error:
        raise SettingsError(*faults, *map(_value_fault, error.errors(include_url=False))) from error
    if faults:
        raise SettingsError(*faults)
    return settings


def _unknown_faults(names: list[str], known: list[str]) -> Iterator[str]:
    """A sentence for each that is near to a setting, and one for all that are not: the list of settings is long."""
    strange = []
    for name in names:
        # Without what they all begin with, which would make any two of them alike.
        near = get_close_matches(name.upper().removeprefix(PREFIX), [one.removeprefix(PREFIX) for one in known], 1, NEAR)
        if near:
            yield f"{name} is no setting; did you mean {PREFIX}{near[0]}?"
        else:
            strange.append(name)
    if strange:
        yield (
            f"{', '.join(strange)} {'is no setting' if len(strange) == 1 else 'are no settings'}; there are {', '.join(known)} "
            "(in Kubernetes, a Service called seqserve adds such names: set enableServiceLinks: false)"
        )


def _value_fault(fault: ErrorDetails) -> str:
    name = str(fault["loc"][0])
    shown = "" if name in SECRETS else f"={fault['input']}"
    return f"{PREFIX}{name.upper()}{shown}: {fault['msg'].removeprefix('Value error, ')}"


def describe_settings() -> str:
    """A line for every setting: its variable, its default and what it is for."""
    fields = Settings.model_fields.items()
    return "\n".join(f"  {PREFIX}{name.upper()} ({field.default}): {field.description}" for name, field in fields)


def available_cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores this process may use: its affinity, cut by the cgroup's quota (v2 or v1), never the host's count."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_quota(cgroup)
    return affinity if quota is None else max(1, min(affinity, math.ceil(quota)))


def _cgroup_quota(cgroup: Path) -> float | None:
    """Cores granted, or None where there is no limit."""
    try:
        if (cgroup / "cpu.max").exists():
            quota, period = (cgroup / "cpu.max").read_text().split()
        else:
            quota = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text().strip()
        return None if quota in ("max", "-1") else int(quota) / int(period)
    except (OSError, ValueError):
        return None
