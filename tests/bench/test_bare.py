"""What the service is measured beside takes the models of this repository, whatever their graphs take."""

from json import dumps, loads

import pytest

from tests.bench import bare
from tests.bench.limits import Limits
from tests.bench.process import PROC
from tests.bench.subject import ROOT, SHIPPED, newest, texts, words_of

MODELS = ROOT / "models"
CLASSIFIERS = sorted(path.name for path in MODELS.iterdir() if newest(MODELS, path.name).manifest.task == "classify")


def test_the_bare_loop_writes_words_of_the_shipped_model() -> None:
    loaded = newest(MODELS, SHIPPED.generate)
    assert bare.words_per_s(loaded, texts(words_of(loaded), 3, 1, 8), 0.0) > 0


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_bare_loop_labels_with_every_shipped_classifier(name: str) -> None:
    loaded = newest(MODELS, name)
    sentences = ["zzqx 뷁뷁", *texts(words_of(loaded), 2 * bare.TOGETHER, 3, 30)]  # a word that nobody knows
    assert bare.sentences_per_s(loaded, sentences, 4, 0.01) > 0


@pytest.mark.skipif(not PROC.is_dir(), reason="what a process uses is read from /proc, which this system does not have")
def test_the_usual_server_writes_and_labels_with_the_shipped_models() -> None:
    with Limits(MODELS, SHIPPED, 0.1, print).usual() as running:
        for path, field in (("/generate", "generated_text"), ("/classify", "label")):
            status, answer = running.ask("POST", path, dumps({"inputs": "이 영화는 뷁뷁"}).encode())
            told = loads(answer)
            assert (status, field in (told[0] if isinstance(told, list) else told)) == (200, True)
