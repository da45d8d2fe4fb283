"""The server that people write first: FastAPI, onnxruntime, and every request a run of its own. Same graphs, same tokeniser."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from service.artifact import Artifact
from service.inference.runtime import pad
from tests.bench.bare import classifier_feed, open_session
from tests.bench.subject import newest

MODELS = Path(os.environ["SEQSERVE_MODELS"])


class Parameters(BaseModel):
    max_new_tokens: int = 20


class Question(BaseModel):
    inputs: str
    parameters: Parameters = Parameters()


def loaded(setting: str) -> tuple[Artifact, Any]:
    found = newest(MODELS, os.environ[f"SEQSERVE_{setting}"])
    return found, open_session(found)


generator, generating = loaded("GENERATE_MODEL")
classifier, classifying = loaded("CLASSIFY_MODEL")
state = generator.manifest.state
outputs = ["logits", *(part.output for part in state)]
fixed = {"wanted": np.arange(1)} if any(tensor.name == "wanted" for tensor in generator.manifest.inputs) else {}
never = [word for word in generator.tokenizer.special_ids if word != generator.tokenizer.end_id]
app = FastAPI()


@app.get("/readyz")
def readyz() -> None:
    return None


@app.post("/generate")
def generate(question: Question) -> dict[str, str]:  # no coroutine: FastAPI has threads for what takes a while
    shape = (generator.manifest.layers, 1, generator.manifest.sizes.hidden)
    ids, lengths = pad([generator.tokenizer.encode_prompt(question.inputs).ids], 0)
    feed = {"ids": ids, "lengths": lengths, **fixed} | {part.input: np.zeros(shape, np.float32) for part in state}
    words: list[int] = []
    while len(words) < question.parameters.max_new_tokens:
        logits, *after = generating.run(outputs, feed)
        logits[0, never] = -np.inf
        words.append(int(logits[0].argmax()))
        if words[-1] == generator.tokenizer.end_id:
            break
        feed = {"ids": np.array([words[-1:]]), "lengths": np.ones(1, np.int32), **fixed}
        feed |= {part.input: value for part, value in zip(state, after, strict=True)}
    return {"generated_text": generator.tokenizer.continuation(words).strip()}


@app.post("/classify")
def classify(question: Question) -> list[dict[str, str | float]]:
    (logits,) = classifying.run(["logits"], classifier_feed(classifier, [classifier.encode(question.inputs)]))
    shares = np.exp(logits[0] - logits[0].max())
    shares /= shares.sum()
    order = np.argsort(-shares)
    return [{"label": classifier.manifest.labels[at], "score": float(shares[at])} for at in order]


if __name__ == "__main__":
    port = int(os.environ["SEQSERVE_PORT"])
    uvicorn.run(app, port=port, loop="uvloop", http="httptools", log_config=None, access_log=False, server_header=False)
