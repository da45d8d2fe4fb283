"""The service does what /openapi.json says, whatever is asked: schemathesis makes up requests, right ones and wrong ones."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.process import running

pytestmark = pytest.mark.skipif(importlib.util.find_spec("schemathesis") is None, reason="schemathesis is not installed")

ADMIN_KEY = "an-admin-key-of-the-tests"
EXAMPLES = 60  # for every operation, beside those that schemathesis makes of every bound and every type
# A request may be wrong in ways that a schema cannot tell: a seed without sampling, a state that was changed.
LEFT_OUT = "positive_data_acceptance"


# What decides which versions serve is tried apart: to unload the default model ends what the others ask for.
CONTROL = r"^/models/\{name\}/(pin|rollback|load|unload)$"


@pytest.mark.parametrize("which", ["--exclude-path-regex", "--include-path-regex"])
@pytest.mark.parametrize("seed", [1, 2])
def test_what_it_answers_is_what_the_document_says(small_models: Path, tmp_path: Path, seed: int, which: str) -> None:
    """No 500, no status, header or body that is not described, and nothing accepted that the schema forbids."""
    models = {"generate_model": "lstm1-generate", "classify_model": "bilstm1-classify"}
    settings = {**models, "admin_keys": ADMIN_KEY, "playground": False}  # a page is no API
    with running(models=small_models, **settings) as service:
        options = ["--phases", "examples,coverage,fuzzing", "--max-examples", str(EXAMPLES), "--seed", str(seed), "--no-color"]
        options += [
            "--exclude-checks",
            LEFT_OUT,
            "--request-timeout",
            "20",
            which,
            CONTROL,
            "--header",
            f"authorization: Bearer {ADMIN_KEY}",
        ]
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{service.port}/openapi.json", *options]
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=280)
        _, log = service.stop()
    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-2000:]
    assert f"Tested: {4 if which.startswith('--include') else 32}" in ended.stdout, ended.stdout[-2000:]
    assert "Traceback" not in log
