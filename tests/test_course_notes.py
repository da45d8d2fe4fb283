"""The facts of the course notes that the system grew out of, each through the exported graph in onnxruntime."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import pytest
import torch
from fastapi.testclient import TestClient

from service.artifact import Cell, Tensor
from service.http.app import create_app
from service.settings import Settings
from tests.service.http.ask import stream, written
from training.config import ModelConfig
from training.corpus import load_corpus
from training.export import export_classifier
from training.graph import GraphBuilder
from training.model import Classifier, count_parameters
from training.preset import load_config
from training.recurrent import Recurrent
from training.report import HOW_COUNTED, recurrent_rows, summary_table
from training.run import main

Array = npt.NDArray[np.float32]

FEATURES = np.array(
    [[0.1, 4.2, 1.5, 1.1, 2.8], [1.0, 3.1, 2.5, 0.7, 1.1], [0.3, 2.1, 1.5, 2.1, 0.1], [2.2, 1.4, 0.5, 0.9, 1.1]], np.float32
)


def run_recurrent(module: Recurrent, inputs: Array, lengths: Sequence[int] | None = None) -> dict[str, Array]:
    """A stack of layers over numbers instead of words, (B, T, I), as the product exports it: outputs (B, T, W), last, h, c."""
    graph = GraphBuilder()
    (time_first,) = graph.add("Transpose", "inputs", perm=[1, 0, 2])
    steps = graph.recurrent(module, time_first, "lengths")
    (outputs,) = graph.add("Transpose", steps.outputs, perm=[1, 0, 2])
    names = ["outputs", "last", *["h", "c"][: len(steps.state)]]
    ranks: dict[str, list[int | str]] = {"outputs": ["b", "t", "w"], "last": ["b", "w"], "h": ["l", "b", "h"], "c": ["l", "b", "h"]}
    content = graph.finish(
        [
            Tensor(name="inputs", dtype="float32", shape=["b", "t", int(inputs.shape[2])]),
            Tensor(name="lengths", dtype="int32", shape=["b"]),
        ],
        [Tensor(name=name, dtype="float32", shape=ranks[name]) for name in names],
        [outputs, steps.last, *steps.state],
    )
    session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
    given = np.array([inputs.shape[1]] * len(inputs) if lengths is None else lengths, np.int32)
    return dict(zip(names, session.run(names, {"inputs": inputs, "lengths": given}), strict=True))


def constant(module: Recurrent, weight: float, bias: float) -> Recurrent:
    """Every weight the same, every bias once."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.fill_(0.0 if "bias_hh" in name else bias if "bias_ih" in name else weight)
    return module


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The service over the starter model, trained as `python -m training.run` trains it."""
    models = tmp_path_factory.mktemp("notes") / "models"
    assert main(["--preset", "starter-next-word", "--models", str(models)]) == 0
    with TestClient(create_app(Settings(models=models, generate_model="starter-next-word"))) as client:
        yield client


class TestThreeLines:
    def test_the_text_has_14_words_15_ids_with_padding_12_samples_and_the_longest_has_6(self, tmp_path: Path) -> None:
        corpus = load_corpus(load_config("starter-next-word"), tmp_path)
        words = corpus.tokenizer.vocabulary_size - len(corpus.tokenizer.special_ids)
        assert words == 14
        assert words + len({corpus.tokenizer.padding_id}) == 15
        assert corpus.train.words - len(corpus.train) == 12  # every word but a text's first is predicted
        assert corpus.statistics["train"].longest == 6

    def test_the_model_is_a_vanilla_rnn_of_32_over_an_embedding_of_10_for_200_epochs(self) -> None:
        config = load_config("starter-next-word")
        assert (config.model.cell, config.model.layers, config.model.embedding, config.model.hidden) == ("rnn", 1, 10, 32)
        assert config.fit.epochs == 200

    @pytest.mark.parametrize(
        ("prompt", "count", "continuation"),
        [
            ("오늘", 3, "날씨가 정말 좋다"),
            ("집", 5, "앞 공원에 사람들이 모여 있다"),
            ("아이들이", 4, "놀이터에서 신나게 뛰어놀고 있다"),
        ],
    )
    def test_it_continues_greedily_as_in_the_notes(self, client: TestClient, prompt: str, count: int, continuation: str) -> None:
        answer = client.post("/generate", json={"inputs": prompt, "parameters": {"max_new_tokens": count}})
        assert answer.json() == {"generated_text": continuation}
        assert written(stream(client, prompt, max_new_tokens=count)) == continuation

    @pytest.mark.parametrize("prompt", ["거북이", "빵", "거북이 빵"])
    def test_unknown_words_get_an_answer_all_the_same_and_are_named(self, client: TestClient, prompt: str) -> None:
        parameters = {"max_new_tokens": 5, "details": True}
        details = client.post("/generate", json={"inputs": prompt, "parameters": parameters}).json()["details"]
        assert details["unknown_words"] == prompt.split()
        assert details["generated_tokens"] == 5
        assert not any(token["special"] for token in details["tokens"])


@pytest.fixture(scope="module")
def result() -> dict[str, Array]:
    return run_recurrent(constant(Recurrent("lstm", 5, 3, bidirectional=True), 0.1, 1.0), FEATURES[None])


class TestBidirectionalLstm:
    """3 units, every kernel and recurrent weight 0.1, bias 1 once."""

    def test_forward_h_of_every_step(self, result: dict[str, Array]) -> None:
        expected = [0.60378623, 0.8135507, 0.8438271, 0.8583817]
        np.testing.assert_allclose(result["outputs"][0, :, :3], np.repeat(np.array(expected)[:, None], 3, axis=1), atol=1e-6)

    def test_backward_h_in_the_order_of_time(self, result: dict[str, Array]) -> None:
        expected = [0.89662635, 0.86469495, 0.7678819, 0.53885394]
        np.testing.assert_allclose(result["outputs"][0, :, 3:], np.repeat(np.array(expected)[:, None], 3, axis=1), atol=1e-6)

    def test_last_c_of_both_directions(self, result: dict[str, Array]) -> None:
        np.testing.assert_allclose(result["c"][:, 0], [[2.7335248] * 3, [2.8326864] * 3], atol=1e-6)

    def test_padding_on_the_right_changes_no_bit(self, result: dict[str, Array]) -> None:
        padded = np.concatenate([FEATURES, np.full((3, 5), 9.0, np.float32)])[None]
        other = run_recurrent(constant(Recurrent("lstm", 5, 3, bidirectional=True), 0.1, 1.0), padded, [4])
        assert np.array_equal(other["outputs"][:, :4], result["outputs"])
        assert np.array_equal(other["last"], result["last"])
        assert np.array_equal(other["c"], result["c"])


class TestVanillaRnn:
    def test_h_t_is_tanh_of_wx_x_and_wh_h_and_b_in_numpy(self) -> None:
        torch.manual_seed(0)
        module = Recurrent("rnn", 5, 8)
        weights: Any = module.layers[0][0]  # type: ignore[index]
        wx, wh, b = (getattr(weights, name).detach().numpy() for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0"))
        h, expected = np.zeros(8, np.float32), []
        for x in FEATURES:
            h = np.tanh(wx @ x + wh @ h + b)
            expected.append(h)
        result = run_recurrent(module, FEATURES[None])
        np.testing.assert_allclose(result["outputs"][0], expected, atol=1e-6)
        np.testing.assert_allclose(result["last"][0], expected[-1], atol=1e-6)

    def test_3_units_on_10_features_count_42_parameters_with_one_bias(self) -> None:
        module = Recurrent("rnn", 10, 3)
        assert count_parameters(module) == 3 * 10 + 3 * 3 + 3 == 42
        assert [parameters for _, _, parameters in recurrent_rows(module)] == [42]

    def test_the_summary_says_how_it_counts(self) -> None:
        model = Classifier(ModelConfig(cell="rnn", embedding=10, hidden=3), vocabulary=20, padding_id=0, unknown_id=1, labels=2)
        assert summary_table(model).caption == HOW_COUNTED
        assert "one bias" in HOW_COUNTED

    def test_a_batch_of_texts_gives_the_whole_sequence_in_three_dimensions_or_the_last_state_in_two(self) -> None:
        result = run_recurrent(Recurrent("rnn", 5, 8), np.stack([FEATURES] * 6))
        assert result["outputs"].shape == (6, 4, 8)
        assert result["last"].shape == (6, 8)
        assert np.array_equal(result["outputs"][:, -1], result["last"])


@pytest.mark.parametrize("layers", [2, 3])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_a_stacked_bidirectional_net_is_torchs(cell: Cell, layers: int) -> None:
    torch.manual_seed(layers)
    module = Recurrent(cell, 5, 7, layers=layers, bidirectional=True).eval()
    inputs = np.random.default_rng(layers).standard_normal((4, 9, 5)).astype(np.float32)
    lengths = [9, 1, 4, 7]
    result = run_recurrent(module, inputs, lengths)
    assert result["h"].shape == (2 * layers, 4, 7)
    with torch.no_grad():
        outputs, last, _ = module(torch.from_numpy(inputs), torch.tensor(lengths))
    np.testing.assert_allclose(result["last"], last, atol=1e-6)
    for row, length in enumerate(lengths):
        np.testing.assert_allclose(result["outputs"][row, :length], outputs[row, :length], atol=1e-6)


class TestManyToOne:
    """Embedding 10000x32, RNN of 32, one sigmoid unit."""

    CONFIG = ModelConfig(cell="rnn", embedding=32, hidden=32, pooling="last", head="sigmoid")

    def test_it_counts_as_in_the_notes(self) -> None:
        model = Classifier(self.CONFIG, vocabulary=10_000, padding_id=0, unknown_id=1, labels=2)
        assert count_parameters(model.embedding) == 320_000
        assert count_parameters(model.recurrent) == 2_080
        assert count_parameters(model.output) == 33

    def test_the_graphs_softmax_is_the_sigmoid_of_the_one_unit(self, tmp_path: Path) -> None:
        torch.manual_seed(3)
        model = Classifier(self.CONFIG, vocabulary=10_000, padding_id=0, unknown_id=1, labels=2).eval()
        session = ort.InferenceSession(export_classifier(model, 2).graph, providers=["CPUExecutionProvider"])
        ids = np.random.default_rng(3).integers(1, 10_000, (5, 12))
        logits = session.run(["logits"], {"ids": ids, "lengths": np.full(5, 12, np.int32)})[0].astype(np.float64)
        with torch.no_grad():
            _, last, _ = model.recurrent(model.embedding(torch.from_numpy(ids)), torch.full((5,), 12))
            expected = torch.sigmoid(model.output(last))[:, 0].numpy()
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(shares[:, 1], expected, atol=1e-6)
