"""From generations and labels to the answers of the Open Inference Protocol. Knows no requests on their way."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json

from service.errors import InvalidRequest
from service.http.answers import Author, chosen
from service.http.lean import Content
from service.http.protocol_requests import InferRequest
from service.http.protocol_schemas import OUTPUTS
from service.http.tensors import JSON_BYTES, Tensor
from service.inference.sequence import Generated, Token
from service.model import Model


@dataclass(frozen=True, slots=True)
class Outputs:
    """Writes the tensors that were asked for, as JSON or as bytes after it."""

    asked: InferRequest
    model: Model

    def check(self) -> None:
        """Raises InvalidRequest where one is asked for that the model does not have."""
        names = [output.name for output in OUTPUTS[self.model.manifest.task]]
        for output in self.asked.outputs:
            if output.name not in names:
                raise InvalidRequest(f"outputs: there is no {output.name!r}; there are {', '.join(names)}")

    def write(self, *tensors: Tensor) -> Content:
        found = {tensor.name: tensor for tensor in tensors}
        wanted = {output.name: output.parameters.binary_data for output in self.asked.outputs} or dict.fromkeys(found)
        outputs, parts = [], []
        for name, as_bytes in wanted.items():
            tensor = found[name]
            described: dict[str, Any] = {"name": name, "datatype": tensor.datatype, "shape": tensor.shape}
            if self.asked.parameters.binary_data_output if as_bytes is None else as_bytes:
                parts.append(tensor.to_bytes())
                outputs.append(described | {"parameters": {"binary_data_size": len(parts[-1])}})
            else:
                outputs.append(described | {"data": tensor.values})
        head = to_json(_begun(self.asked.id, self.model) | {"outputs": outputs})
        if not parts:
            return Content(head)
        return Content(b"".join([head, *parts]), b"application/octet-stream", {JSON_BYTES: str(len(head))})

    def labels(self, told: list[list[dict[str, Any]]]) -> Content:
        """Those of every text, the best first."""
        ranked, shape = [one for text in told for one in text], [len(told), len(told[0])]
        labels = Tensor("labels", "BYTES", shape, [one["label"] for one in ranked])
        return self.write(labels, Tensor("scores", "FP32", shape, [one["score"] for one in ranked]))


@dataclass(frozen=True, slots=True)
class InferAuthor(Author):
    """Writes what was generated as a tensor: a text for every input, or a row of n."""

    outputs: Outputs

    def whole(self, results: Sequence[Generated]) -> Content:
        answers = enumerate(chosen(self.wanted.parameters, results))
        rows = [[self._text(index, generated) for generated in likeliest] for index, likeliest in answers]
        shape = [len(rows)] if self.wanted.parameters.n is None else [len(rows), len(rows[0])]
        return self.outputs.write(Tensor("text_output", "BYTES", shape, [text for row in rows for text in row]))


@dataclass(frozen=True, slots=True)
class TextAuthor(Author):
    """Writes a generation as its text, or word by word; id: the request's, if it has one."""

    id: str | None

    def whole(self, results: Sequence[Generated]) -> Content:
        (likeliest,) = chosen(self.wanted.parameters, results)
        answer = self._answer(0, likeliest[0])
        return Content(to_json(_begun(self.id, self.model) | {"text_output": answer.pop("generated_text")} | answer))

    def event(self, part: int, index: int, token: Token, top: list[Token], last: Generated | None) -> bytes:
        """text_output: what the word adds, which is nothing where it ends a sentence."""
        content = _begun(self.id, self.model) | {"text_output": "" if token.special else token.text, "done": last is not None}
        if last is not None and self.wanted.parameters.details:
            content["details"] = self._end(last)
        return b"data:" + to_json(content) + b"\n\n"


def _begun(request_id: str | None, model: Model) -> dict[str, Any]:
    """What stands in every answer."""
    told: dict[str, Any] = {} if request_id is None else {"id": request_id}
    return told | {"model_name": model.manifest.name, "model_version": str(model.manifest.version)}
