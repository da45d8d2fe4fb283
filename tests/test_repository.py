"""The repository itself: what is locked, what is shipped, which way imports point."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from service import artifact
from service.metrics import Metrics
from service.settings import Settings
from service.version import VERSION
from tests.conftest import ROOT
from tests.monitoring.documents import alerts
from training.preset import PRESETS, STARTERS, load_config, preset_names

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKS = sorted(path.name for path in ROOT.glob("requirements*.lock"))


def packages(lock: str) -> set[str]:
    return set(re.findall(r"^([a-z0-9._-]+)==", (ROOT / lock).read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-cuda.lock", "requirements-tracing.lock"])
def test_what_serves_has_no_torch_and_nothing_else_that_only_training_needs(lock: str) -> None:
    assert not packages(lock) & {"torch", "onnx", "datasets", "accelerate", "scikit-learn", "matplotlib"}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_has_hashes_and_no_lock_names_an_index(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    entries = re.split(r"\n(?=[a-z0-9])", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    assert all("--hash=sha256:" in entry for entry in entries if "==" in entry)
    assert not re.search(r"https?://|--index-url|--extra-index-url|--find-links|file:", text)


def test_the_lock_files_hold_every_direct_dependency() -> None:
    def names(requirements: list[str]) -> set[str]:
        return {re.split(r"[\[<>=; ]", requirement)[0].lower() for requirement in requirements}

    project = PYPROJECT["project"]
    base, extras = names(project["dependencies"]), project["optional-dependencies"]
    assert base <= packages("requirements.lock")
    assert base | names(extras["training"]) | names(PYPROJECT["dependency-groups"]["dev"]) <= packages("requirements-dev.lock")
    for extra in ("cuda", "tracing"):
        assert names(extras[extra]) <= packages(f"requirements-{extra}.lock")


def test_every_dependency_has_its_reason_beside_it() -> None:
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    requirements = [line for line in lines if re.match(r'\s+"[a-z][^"]*>=[^"]*",', line)]
    assert len(requirements) > 20
    assert [line for line in requirements if "#" not in line] == []


def test_the_version_is_the_same_wherever_it_stands() -> None:
    kustomization = yaml.safe_load((ROOT / "deploy/base/kustomization.yaml").read_text(encoding="utf-8"))
    assert PYPROJECT["project"]["version"] == VERSION
    assert [image["newTag"] for image in kustomization["images"]] == [VERSION]
    assert VERSION in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("preset", preset_names())
def test_every_preset_is_valid_and_names_a_source_that_anyone_can_reach(preset: str) -> None:
    config = load_config(preset)
    assert config.name == preset
    assert len(config.source) > 20
    if preset in STARTERS:
        assert config.data.train is not None
        assert Path(config.data.train).is_file()
    else:
        assert config.data.train is None
        assert re.search(r"github\.com|archive\.ics\.uci\.edu", config.source)


@pytest.mark.parametrize(
    "page", sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("deploy/*.md")}), ids=lambda page: page.name
)
def test_every_link_of_a_page_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not link.startswith("https://") and not (page.parent / link).exists()] == []


def test_the_docs_tell_every_metric_with_its_labels() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    told = {
        name.removesuffix("_total"): labels
        for names, labels in re.findall(r"^\| (`seqserve_.*?) \| (.*?)\|", text, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", names)
    }
    metrics = Metrics()
    ours = [one for one in metrics.registry._collector_to_names if isinstance(one, MetricWrapperBase)]
    assert {name: labels.strip() for name, labels in told.items()} == {one._name: ", ".join(one._labelnames) for one in ours}


def test_the_docs_tell_every_alert() -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    assert [name for name in alerts() if f"`{name}`" not in page] == []


def test_the_readme_tells_every_setting_with_its_default_and_meaning() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = [
        f"| `SEQSERVE_{name.upper()}` | {field.default} | {field.description} |" for name, field in Settings.model_fields.items()
    ]
    assert [row for row in rows if row not in readme] == []


def test_the_readme_tells_the_scores_of_the_models_that_are_shipped() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name, folders in artifact.versions(ROOT / "models"):
        manifest = artifact.load(folders[0]).manifest
        score = manifest.scores[0]
        assert f"| {name} | {manifest.task} |" in readme
        beside = ", ".join(f"{value:g} ({baseline})" for baseline, value in score.baselines.items())
        assert f"| {score.metric} {score.value:g} | {beside} |" in readme


def test_importing_the_service_loads_no_torch_and_nothing_of_training() -> None:
    code = "import sys, service.http.app; print({m.split('.')[0] for m in sys.modules} & {'torch', 'onnx', 'datasets', 'training'})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_presets_and_starters_are_data_of_the_training_package() -> None:
    assert PRESETS == ROOT / "training" / "presets"
    assert (ROOT / "training" / "starter" / "next-word.txt").read_text(encoding="utf-8").count("\n") == 3
