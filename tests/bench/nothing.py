"""The HTTP limit: a FastAPI route with pydantic in and out that does nothing, run by uvicorn as the service is."""

import os

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel


class Question(BaseModel):
    inputs: str


class Answer(BaseModel):
    label: str
    score: float


app = FastAPI()


@app.get("/readyz")
async def readyz() -> None:
    return None


@app.post("/nothing")
async def nothing(question: Question) -> list[Answer]:
    return [Answer(label="positive", score=0.9), Answer(label="negative", score=0.1)]


if __name__ == "__main__":
    port = int(os.environ["SEQSERVE_PORT"])
    uvicorn.run(app, port=port, loop="uvloop", http="httptools", log_config=None, access_log=False, server_header=False)
