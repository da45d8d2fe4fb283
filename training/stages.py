"""What a model learns, stage by stage: pre-training, fitting, self-training. Knows no files but those of its run."""

import copy
import hashlib
from dataclasses import replace
from typing import Any

import torch
from accelerate import Accelerator
from rich.console import Console
from rich.markup import escape
from torch import Tensor, nn

from training.baselines import character_scores
from training.checkpoint import Checkpoint
from training.config import Config, FitConfig
from training.corpus import Corpus
from training.evaluate import answer
from training.feeds import fitting_feed, pretraining_feed, self_training_feed
from training.folder import RunFolder
from training.loop import Feed, fit
from training.model import Classifier, LanguageModel, Model
from training.pretrain import BothDirections
from training.progress import Fitted
from training.screen import Screen
from training.selftrain import Agreed, Opinion, Student, agree

# What may be changed in the configuration of a run that is resumed: it changes no number.
UNTOUCHED: dict[str, Any] = {
    "data": True,
    "name": True,
    "description": True,
    "source": True,
    "fit": {"checkpoint_s"},
}


class Stages:
    """The stages of one run. Each goes on from its own checkpoint, so that what was done is not done again."""

    def __init__(self, run: RunFolder, corpus: Corpus, accelerator: Accelerator, console: Console) -> None:
        self._run, self._corpus, self._accelerator, self._console = run, corpus, accelerator, console
        self._config = run.plan.config
        self._seconds = 0.0
        self._faults: list[str] = []

    def learn(self, model: Model) -> tuple[Model, Fitted]:
        """All stages that the configuration asks for. Returns the model that came out of the last one, on the CPU.

        The epochs are those of the last stage, the seconds and faults those of all.
        """
        model, fitted = self._learn(model)
        return model, replace(fitted, seconds=self._seconds, fault=". ".join(self._faults) or None)

    def _learn(self, model: Model) -> tuple[Model, Fitted]:
        if isinstance(model, LanguageModel):
            return model, self._fit("fit", model, fitting_feed(self._config, self._corpus), self._config.fit)
        if self._config.pretrain.epochs:
            self._pretrain(model)
        if not self._config.selftrain.epochs:
            return model, self._fit("fit", model, fitting_feed(self._config, self._corpus), self._config.fit)
        shares = self._taught_shares(copy.deepcopy(model.state_dict()))
        return self._self_train(model, shares)

    def _pretrain(self, model: Classifier) -> None:
        config = self._config
        objective = BothDirections(model, config.pretrain, first_word=len(self._corpus.tokenizer.special_ids))
        part = config.pretrain
        fitting = config.fit.model_copy(
            update={
                "epochs": part.epochs,
                "batch_size": part.batch_size,
                "learning_rate": part.learning_rate,
                "schedule": "linear",
                "average": 0.0,
                "weight_decay": 0.0,
                "patience": part.epochs,
            }
        )
        self._fit("pretrain", objective, pretraining_feed(config, self._corpus), fitting)

    def _taught_shares(self, pretrained: dict[str, Tensor]) -> Agreed:
        """What the teachers say of the unlabelled texts; each begins from the pre-trained weights, with a seed of its own."""
        checkpoint = self._checkpoint("shares")
        kept = checkpoint.load()
        if kept is None:
            opinions = [self._teach(number, pretrained) for number in range(self._config.selftrain.teachers)]
            self._console.print("a linear model over characters reads the texts too", soft_wrap=True)
            agreed = agree(opinions, self._linear_opinion(), self._corpus.valid.targets)
            if self._accelerator.is_main_process:
                so_far = {"seconds": self._seconds, "faults": self._faults}  # teachers are not asked again
                checkpoint.save({"shares": torch.from_numpy(agreed.shares), "linear_share": agreed.linear_share, **so_far})
            return agreed
        self._seconds, self._faults = kept.get("seconds", self._seconds), kept.get("faults", self._faults)
        return Agreed(kept["shares"].numpy(), kept["linear_share"])

    def _teach(self, number: int, pretrained: dict[str, Tensor]) -> Opinion:
        config = self._config.model_copy(update={"seed": self._config.seed + number})
        teacher = build_model(config, self._corpus)
        assert isinstance(teacher, Classifier)
        teacher.load_state_dict(pretrained)
        self._fit(f"teacher {number + 1}", teacher, fitting_feed(config, self._corpus), config.fit, number)
        teacher.to(self._accelerator.device)  # it came back to the CPU, where hundreds of thousands of texts take long
        answers = (answer(teacher, self._corpus, self._config, split).logits for split in ("valid", "unlabelled"))
        return Opinion(*(torch.from_numpy(logits).log_softmax(dim=-1).numpy() for logits in answers))

    def _linear_opinion(self) -> Opinion:
        corpus = self._corpus
        texts = [corpus.rows("valid"), corpus.rows("unlabelled")]
        return Opinion(*character_scores(corpus.rows("train"), corpus.train.targets, texts, len(corpus.labels)))

    def _self_train(self, model: Classifier, agreed: Agreed) -> tuple[Model, Fitted]:
        part = self._config.selftrain
        self._console.print(f"teachers agree best where the linear model has a share of {agreed.linear_share:.1f}", soft_wrap=True)
        model.set_dropout(part.dropout)
        update = {
            "epochs": part.epochs,
            "batch_size": part.batch_size,
            "learning_rate": part.learning_rate,
            "patience": part.epochs,
        }
        fitting = self._config.fit.model_copy(update=update)
        student = Student(model, agreed.shares)
        return model, self._fit("student", student, self_training_feed(self._config, self._corpus), fitting)

    def _fit(self, stage: str, objective: nn.Module, feed: Feed, fitting: FitConfig, number: int = 0) -> Fitted:
        checkpoint = self._checkpoint(stage)
        with Screen(stage, fitting.epochs, self._console, self._run, self._accelerator) as screen:
            fitted = fit(objective, feed, fitting, self._accelerator, self._config.seed + number, checkpoint, screen)
        self._seconds += fitted.seconds
        best, speed = fitted.best, max(epoch.words_per_s for epoch in fitted.history)
        judged = "" if best.valid_loss is None else f", valid loss {best.valid_loss:.4f}"
        if fitted.fault:
            self._tell_fault(stage, fitted.fault)
        self._console.print(
            f"{stage}: {len(fitted.history)} epochs in {fitted.seconds:.0f} s, {speed:,.0f} words/s; "
            f"best epoch {best.number}: train loss {best.train_loss:.4f}{judged}",
            soft_wrap=True,
        )
        return fitted

    def _tell_fault(self, stage: str, fault: str) -> None:
        """What went wrong in any stage, if only in a teacher, is in whatever comes of the model."""
        self._faults.append(f"{stage}: {fault}")
        self._console.print(f"[bold]stopped early: {escape(fault)}[/bold]", soft_wrap=True)
        if self._accelerator.is_main_process:
            self._run.record("fault", {"of": stage, "said": fault})

    def _checkpoint(self, stage: str) -> Checkpoint:
        def warn(line: str) -> None:
            self._console.print(f"warning: {escape(line)}", soft_wrap=True)

        config = self._config
        what = f"{config.model_dump_json(exclude=UNTOUCHED)}{self._corpus.fingerprint}"
        identity = hashlib.sha256(what.encode()).hexdigest()
        return Checkpoint(self._run.checkpoint(stage), identity, config.fit.checkpoint_s, warn)


def build_model(config: Config, corpus: Corpus) -> Model:
    """An untrained model of the right size; the seed decides its weights."""
    torch.manual_seed(config.seed)
    tokenizer = corpus.tokenizer
    if config.task == "generate":
        return LanguageModel(config.model, tokenizer.vocabulary_size, tokenizer.padding_id)
    return Classifier(
        config.model,
        tokenizer.vocabulary_size,
        tokenizer.padding_id,
        tokenizer.unknown_id,
        len(corpus.labels),
        corpus.known_grams,
        config.fit,
        list(corpus.statistics["train"].labels.values()),
    )
