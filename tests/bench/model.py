"""`python -m tests.bench.model FOLDER`: models of the size that people train, with random weights, published by the product's code.

Random weights make the next word either certain or anyone's guess, and both flatter or wrong a sampler. So the output is scaled
until the next word is as uncertain as a trained model's. There is no end of a sentence: an answer has the words asked for.
"""

import random
import sys
import tempfile
from pathlib import Path

import torch

from service.artifact import Score
from tests.bench.subject import BENCH
from tests.builders import Small, small_config
from training.config import Config
from training.corpus import Corpus, load_corpus
from training.export import export_classifier, export_language_model
from training.manifest import describe
from training.model import LanguageModel, Model
from training.progress import Epoch, Fitted
from training.publish import publish
from training.stages import build_model

GENERATE_VOCABULARY, CLASSIFY_VOCABULARY = 10_000, 20_000
SPECIAL = 2  # padding and unknown
PERPLEXITY = 80.0
WORDS_MATTER = 40.0  # how much larger than torch starts them the weights of the input are, so that words lead to other words


def publish_bench_models(models: Path) -> None:
    generator = Small("generate", embedding=256, hidden=512, sentence_end=False, words=made_up(GENERATE_VOCABULARY - SPECIAL))
    classifier = Small(
        "classify", bidirectional=True, embedding=128, hidden=128, words=made_up(CLASSIFY_VOCABULARY - SPECIAL), pooling="max"
    )
    with tempfile.TemporaryDirectory(prefix="seqserve-bench-") as scratch:
        for name, small in ((BENCH.generate, generator), (BENCH.classify, classifier)):
            folder = Path(scratch) / name
            config = small_config(small, folder).model_copy(update={"name": name, "description": "For make bench."})
            corpus = load_corpus(config, folder)
            _publish(models, config, corpus, _random_model(config, corpus))


def made_up(count: int) -> tuple[str, ...]:
    """Different words of two or three Hangul syllables."""
    chance, words = random.Random(11), dict[str, None]()
    while len(words) < count:
        words["".join(chr(chance.randint(0xAC00, 0xD7A3)) for _ in range(chance.randint(2, 3)))] = None
    return tuple(words)


def _random_model(config: Config, corpus: Corpus) -> Model:
    model = build_model(config, corpus).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "weight_ih" in name:
                weight.mul_(WORDS_MATTER)
        if isinstance(model, LanguageModel):
            _scale_output(model)
    return model


def _scale_output(model: LanguageModel) -> None:
    """Halves the interval of scales until the words after random texts have, on average, the entropy of PERPLEXITY."""
    assert model.projection is not None  # as in the shipped preset: tied, and of another width than the state
    model.output.bias.zero_()  # what is left is proportional to the projection
    ids = torch.randint(SPECIAL, GENERATE_VOCABULARY, (16, 16), generator=torch.Generator().manual_seed(3))
    logits = model.logits(ids, torch.full((16,), 16))[0][:, :, SPECIAL:]
    low, high = 0.0, 10_000.0
    for _ in range(60):
        scale = (low + high) / 2
        logs = torch.log_softmax(logits * scale, dim=-1)
        entropy = -(logs.exp() * logs).sum(dim=-1).mean()
        low, high = (scale, high) if entropy.exp() > PERPLEXITY else (low, scale)
    model.projection.weight.mul_(scale)


def _publish(models: Path, config: Config, corpus: Corpus, model: Model) -> None:
    exported = export_language_model(model) if isinstance(model, LanguageModel) else export_classifier(model, len(corpus.labels))
    epoch = Epoch(1, 1.0, None, 1.0)
    scores = [Score(metric="loss", split="train", value=1.0)]
    manifest = describe(config, corpus, model, exported, Fitted([epoch], epoch, 1.0), scores, "bench", "make bench")
    publish(models, manifest, {"model.onnx": exported.graph, "tokenizer.json": corpus.tokenizer.to_json().encode()})


if __name__ == "__main__":
    publish_bench_models(Path(sys.argv[1]))
