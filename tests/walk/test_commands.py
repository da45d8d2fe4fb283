"""Every command that a page names, in a block or in a sentence, is one that there is; what changes nothing is typed.

docs/api.md is typed as a whole by test_api.py, and the README by `make walk`; what else they name is asked for here.
"""

import argparse
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from service.settings import PREFIX, load_settings
from service.version import VERSION
from tests.conftest import ROOT
from tests.deploy.references import SECRET
from tests.deploy.rendering import DEPLOY, OLDEST_MINOR, kubectl, kustomizations, render_on_top, rendering
from tests.walk.pages import commands, named

PAGES = sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("deploy/*.md")})
PROGRAMS = re.compile(r"(\S*/)?(make|python|torchrun|kubectl|docker)( |$)")
PLACES = {"SECONDS": "1", "...": "--dry-run"}  # what a page leaves to its reader, and something that he might say
rendered = pytest.mark.skipif(
    kubectl() is None, reason=f"needs kubectl of 1.{OLDEST_MINOR} or newer, of the development environment"
)


def told(page: Path) -> Iterator[str]:
    """Commands, one by one, without the settings before them."""
    found = [command.line for command in commands(page) if command.language == "sh"] + named(page)
    for line in (part for one in found for part in one.split(" && ")):
        command = re.sub(r"^([A-Z_]+=\S+ )+", "", line)
        if PROGRAMS.match(command):
            yield re.sub("|".join(map(re.escape, PLACES)), lambda match: PLACES[match[0]], command)


def make(*words: str) -> str:
    """What it prints, whatever was given to a make that runs these tests."""
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKEOVERRIDES", "ARGS")}
    return subprocess.run(["make", *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout


def all_told(program: str) -> list[str]:
    lines = [line for page in PAGES for line in told(page)]
    lines += re.findall(r"^make [^|\n]*[^|\s]", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)
    return sorted({line for line in lines if (found := PROGRAMS.match(line)) and found[2] == program})


class Read(Exception):
    """The arguments were taken."""


def read(module: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Has a command read its arguments, and do nothing with them."""

    def parse_args(parser: argparse.ArgumentParser, given: list[str] | None = None) -> argparse.Namespace:
        parse(parser, given)
        raise Read

    parse = argparse.ArgumentParser.parse_args
    name = f"{module}.__main__" if module == "service" else module
    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
        patch.setattr(sys, "argv", [module, *arguments])
        with pytest.raises((Read, SystemExit)) as ended:
            importlib.import_module(name).main()
    assert not getattr(ended.value, "code", 0), f"python -m {module} {' '.join(arguments)}"


def check_python(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """line: a command with `-m`."""
    module, *arguments = shlex.split(line.partition(" -m ")[2])
    if module == "pytest":
        assert [path for path in arguments if path.startswith("tests/") and not (ROOT / path).exists()] == []
    elif arguments:  # without any it would be run, where it takes none
        read(module, arguments, monkeypatch)
    else:
        assert importlib.util.find_spec(module)


def test_pages_name_commands_of_all_kinds() -> None:
    """Or this file would look for nothing."""
    for program, least in {"make": 25, "python": 6, "kubectl": 8}.items():
        assert len(all_told(program)) > least


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("line", all_told("make"))
def test_what_is_to_be_made_can_be_and_takes_its_arguments(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = shlex.split(line)[1:]
    targets = set(re.findall(r"^  make (\S+)", make("help"), re.MULTILINE))
    assert {word for word in words if "=" not in word} <= targets
    for name, value in (word.split("=", 1) for word in words if "=" in word):
        assert name in ("ARGS", "LOCK", "UPGRADE")
        assert name != "LOCK" or (ROOT / value).is_file()
    for command in (one for one in make("--dry-run", *words).splitlines() if "bin/python -m " in one):
        check_python(command, monkeypatch)


@pytest.mark.parametrize("line", [*all_told("python"), *all_told("torchrun")])
def test_a_module_takes_the_arguments_that_a_page_gives_it(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_python(line, monkeypatch)


def test_a_part_of_the_tests_is_chosen_as_the_page_says() -> None:
    (line,) = [one for one in all_told("make") if one.startswith("make test ARGS=")]
    chosen = shlex.split(shlex.split(line)[2].removeprefix("ARGS="))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", *chosen], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "::" in done.stdout


@pytest.mark.parametrize(
    "line", [line for page in PAGES for line in named(page) if re.match(f"{PREFIX}[A-Z_]+=\\S+( make|$)", line)]
)
def test_a_setting_is_one_that_the_service_takes(line: str) -> None:
    name, _, value = line.split()[0].partition("=")
    value = {"N": "2"}.get(value, value)
    assert load_settings({name: value}) != load_settings({})


# ------------------------------------------------------------------------------------------------------------------- deploy


@pytest.mark.parametrize("line", [line for line in all_told("kubectl") if re.search(r" -k \S", line)])
def test_a_folder_that_is_applied_is_rendered_by_the_tests_of_deploy(line: str) -> None:
    folder = Path(shlex.split(line)[-1]).relative_to("deploy")
    assert str(folder) in kustomizations()


@rendered
@pytest.mark.parametrize("line", [line for line in all_told("kubectl") if re.search(r"[a-z]/seqserve", line)])
def test_what_a_command_names_in_the_cluster_is_deployed(line: str) -> None:
    ((kind, name),) = re.findall(r"\b(deployment|cronjob)/(\S+)", line)
    folder = {"deployment": "overlays/cpu", "cronjob": "overlays/retraining"}[kind]
    assert name in [one["metadata"]["name"] for one in rendering(folder).manifests if one["kind"].lower() == kind]


@rendered
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_the_secret_is_made_with_the_keys_that_pods_read() -> None:
    (line,) = [line for line in all_told("kubectl") if "create secret" in line]
    typed = line.replace("kubectl", str(kubectl()), 1) + " --dry-run=client -o yaml"
    done = subprocess.run(["bash", "-c", typed], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    made = yaml.safe_load(done.stdout)
    assert made["metadata"]["name"] == SECRET["metadata"]["name"]
    assert made["data"].keys() == SECRET["stringData"].keys()
    assert all(len(value) > 40 for value in made["data"].values())


@rendered
def test_a_folder_of_the_readers_own_is_rendered_with_his_names() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", (DEPLOY / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    own = yaml.safe_load(block)
    own["resources"] = [folder.removeprefix("../seqserve/deploy/") for folder in own["resources"]]
    manifests = [one for one in yaml.safe_load_all(render_on_top(own)) if one]
    (pod,) = [one["spec"]["template"]["spec"] for one in manifests if one["kind"] == "Deployment"]
    (settings,) = [one["data"] for one in manifests if one["kind"] == "ConfigMap"]
    assert {one["metadata"].get("namespace") for one in manifests} == {"text"}
    assert pod["containers"][0]["image"] == f"REGISTRY/seqserve:{VERSION}"
    assert settings["SEQSERVE_MAX_ROWS"] == "128"


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_an_image_is_pushed_under_the_tag_with_which_it_was_made() -> None:
    tags = [word for line in all_told("docker") for word in line.split() if re.search(r"seqserve:\d", word)]
    assert {tag.removeprefix("REGISTRY/") for tag in tags} == {f"seqserve:{VERSION}"}
    assert f" -t seqserve:{VERSION} " in make("--dry-run", "image")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_path_that_a_page_names_is_there(page: Path) -> None:
    """From the page's own folder, or from the repository's; what commands write is ignored by git, and may be there or not."""
    written = [line.strip("/") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()]
    paths = [name for name in named(page) if re.fullmatch(r"[a-z][\w.-]*(/[\w.-]+)+/?", name)]
    first = {path.name for folder in (ROOT, page.parent) for path in folder.iterdir() if path.is_dir()}.difference(written)
    ours = [path for path in paths if path.split("/")[0] in first]
    assert [path for path in ours if not (ROOT / path).exists() and not (page.parent / path).exists()] == []
