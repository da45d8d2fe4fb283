"""Tensors of the Open Inference Protocol: texts and numbers with a shape, as JSON or, by the binary extension, as bytes after it.

As bytes a number is little-endian, and a text its length in four bytes and then itself in UTF-8. Knows no models.
"""

import math
import struct
from typing import Any, Literal, NamedTuple

from service.errors import InvalidRequest

JSON_BYTES = "inference-header-content-length"  # a header: so many bytes of the body are JSON, and what follows is tensors


class Tensor(NamedTuple):
    """values: row by row, texts of BYTES or numbers of FP32."""

    name: str
    datatype: Literal["BYTES", "FP32"]
    shape: list[int]
    values: list[Any]

    def to_bytes(self) -> bytes:
        if self.datatype == "FP32":
            return struct.pack(f"<{len(self.values)}f", *self.values)
        return b"".join(struct.pack("<I", len(text)) + text for text in (value.encode() for value in self.values))


def texts_of_bytes(name: str, raw: bytes) -> list[str]:
    """The texts of a BYTES tensor. Raises InvalidRequest where the bytes are none."""
    texts: list[str] = []
    at = 0
    while at < len(raw):
        start = at + 4
        at = start + int.from_bytes(raw[at:start], "little")
        if at > len(raw) or start > len(raw):
            raise InvalidRequest(f"{name}[{len(texts)}]: ends before its length says")
        try:
            texts.append(raw[start:at].decode())
        except UnicodeDecodeError:
            raise InvalidRequest(f"{name}[{len(texts)}]: is not UTF-8") from None
    return texts


def texts_of_json(name: str, data: Any) -> list[str]:
    """The same from JSON, flat or row by row. Raises InvalidRequest."""
    rows = data if isinstance(data, list) else [data]
    texts = [text for row in rows for text in (row if isinstance(row, list) else [row])]
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise InvalidRequest(f"{name}[{index}]: must be a text")
    return texts


def check_shape(name: str, shape: list[int], count: int) -> None:
    """Raises InvalidRequest where so many values do not fill the shape."""
    if math.prod(shape) != count:
        raise InvalidRequest(f"{name}: the shape {shape} has {math.prod(shape)} texts, and there are {count}")
