"""service.inference.bookmark: what a client brings back is what it was given, or is refused."""

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.artifact import Manifest, load
from service.errors import InvalidRequest, StateMismatch
from service.inference.bookmark import Bookmark, Seal
from tests.conftest import GENERATORS

SEAL = Seal(b"a key of sixteen and more bytes")


@pytest.fixture(scope="module")
def manifests(small_models: Path) -> list[Manifest]:
    return [load(small_models / small.name / "1").manifest for small in GENERATORS]


@pytest.fixture(scope="module", params=range(len(GENERATORS)), ids=[small.name for small in GENERATORS])
def manifest(request: Any, manifests: list[Manifest]) -> Manifest:
    index: int = request.param
    return manifests[index]


@st.composite
def bookmarks(draw: st.DrawFn, manifest: Manifest) -> Bookmark:
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (manifest.layers, 1, manifest.sizes.hidden)
    state = tuple(
        random.standard_normal(shape).astype(np.float32) * draw(st.sampled_from([0, 1e-30, 1, 1e30])) for _ in manifest.state
    )
    return Bookmark(
        tuple(part.astype(np.float32) for part in state),
        pending=draw(st.integers(0, 2**31 - 1)),
        position=draw(st.integers(0, 2**40)),
        seed=draw(st.none() | st.integers(0, 2**64 - 1)),
        history=draw(st.dictionaries(st.integers(0, 2**31 - 1), st.integers(1, 10**9), max_size=8)),
        tail=draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=30)),
    )


def same(one: Bookmark, other: Bookmark) -> bool:
    rest = [(b.pending, b.position, b.seed, dict(b.history), b.tail) for b in (one, other)]
    bits = [[(part.dtype, part.shape, part.tobytes()) for part in b.state] for b in (one, other)]
    return rest[0] == rest[1] and bits[0] == bits[1]


def plain(manifest: Manifest) -> Bookmark:
    zeros = tuple(np.zeros((manifest.layers, 1, manifest.sizes.hidden), np.float32) for _ in manifest.state)
    return Bookmark(zeros, 5, 3, 7, {5: 1}, "집 앞")


@settings(deadline=None)
@given(data=st.data())
def test_what_is_opened_is_what_was_closed_to_the_bit(manifest: Manifest, data: st.DataObject) -> None:
    bookmark = data.draw(bookmarks(manifest))
    assert same(SEAL.open(SEAL.close(bookmark, manifest), manifest), bookmark)


def test_another_replica_with_the_same_key_opens_it(manifest: Manifest) -> None:
    sealed = Seal(b"one key for both").close(plain(manifest), manifest)
    assert same(Seal(b"one key for both").open(sealed, manifest), plain(manifest))


def test_it_may_stand_in_a_url(manifest: Manifest) -> None:
    sealed = SEAL.close(plain(manifest), manifest)
    assert set(sealed) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=")


@settings(deadline=None)
@given(data=st.data())
def test_a_state_with_any_bit_changed_is_refused(manifest: Manifest, data: st.DataObject) -> None:
    content = bytearray(base64.urlsafe_b64decode(SEAL.close(plain(manifest), manifest)))
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(InvalidRequest, match=r"^state: "):
        SEAL.open(base64.urlsafe_b64encode(content).decode(), manifest)


@settings(deadline=None)
@given(data=st.data())
def test_a_state_that_was_cut_short_or_made_longer_is_refused(manifest: Manifest, data: st.DataObject) -> None:
    content = base64.urlsafe_b64decode(SEAL.close(plain(manifest), manifest))
    cut = data.draw(st.integers(0, len(content) - 1))
    for changed in (content[:cut], content + content[cut:]):
        with pytest.raises(InvalidRequest, match=r"^state: "):
            SEAL.open(base64.urlsafe_b64encode(changed).decode(), manifest)


@given(text=st.text() | st.binary().map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_any_text_that_is_no_state_is_refused_as_one(manifests: list[Manifest], text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^state: "):
        SEAL.open(text, manifests[0])


def test_a_state_that_was_signed_with_another_key_is_refused_with_what_to_do(manifest: Manifest) -> None:
    sealed = Seal(b"another key, just as long").close(plain(manifest), manifest)
    with pytest.raises(InvalidRequest, match="SEQSERVE_STATE_KEY"):
        SEAL.open(sealed, manifest)


def test_a_state_of_another_model_is_refused_by_name(manifests: list[Manifest]) -> None:
    for mine in manifests:
        for other in manifests:
            if mine is not other:
                with pytest.raises(StateMismatch, match=rf"{other.name}/{other.version}"):
                    SEAL.open(SEAL.close(plain(mine), mine), other)


def test_a_state_lives_on_where_the_same_weights_are_published_again(manifest: Manifest) -> None:
    """A model's name and version are only where it lies; its graph and its words are what it is."""
    sealed = SEAL.close(plain(manifest), manifest)
    again = manifest.model_copy(update={"name": "another-name", "version": 9})
    assert same(SEAL.open(sealed, again), plain(manifest))
    for name in ("model.onnx", "tokenizer.json"):
        changed = manifest.model_copy(update={"files": manifest.files | {name: "0" * 64}})
        with pytest.raises(StateMismatch):
            SEAL.open(sealed, changed)


def test_no_refusal_tells_what_the_right_signature_would_be(manifest: Manifest) -> None:
    content = bytearray(base64.urlsafe_b64decode(SEAL.close(plain(manifest), manifest)))
    right = base64.urlsafe_b64encode(content[-32:]).decode()
    content[-1] ^= 1
    with pytest.raises(InvalidRequest) as refused:
        SEAL.open(base64.urlsafe_b64encode(content).decode(), manifest)
    assert right not in str(refused.value)
    assert bytes(content[-32:]).hex() not in str(refused.value)
