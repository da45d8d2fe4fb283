"""The HTTP limit: a FastAPI route with pydantic in and out that does nothing, as the service runs its own."""

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


@app.get("/livez")
async def livez() -> None:
    return None


@app.post("/nothing")
async def nothing(question: Question) -> list[Answer]:
    return [Answer(label="positive", score=0.9), Answer(label="negative", score=0.1)]


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ["SEQSERVE_PORT"]), log_level="warning", access_log=False)
