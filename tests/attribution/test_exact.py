"""Exact influence from the factors against gradients of the autograd loop, and its shares by token."""

import dataclasses

import pytest
import torch

from tests.architectures import build
from tests.reference import loop_gradients
from tests.tiny import random_examples, tiny_model
from unweave.attribution.exact import exact_influence, one_token_each, prepare_query
from unweave.data.encoding import Example
from unweave.errors import ConfigError
from unweave.models.selection import select_parameters
from unweave.sketch.config import GradientConfig
from unweave.sketch.sketcher import Sketcher


def vectors(model, examples, which, normalize):
    names = [item.name for item in select_parameters(model, which)]
    gradients, _ = loop_gradients(model, examples, names)
    flat = [gradients[name].flatten(1) for name in names]
    if normalize == "tensor":
        flat = [torch.nn.functional.normalize(piece, dim=1) for piece in flat]
    whole = torch.cat(flat, dim=1)
    return torch.nn.functional.normalize(whole, dim=1) if normalize == "row" else whole


@pytest.mark.parametrize("normalize", ["tensor", "row", "none"])
@pytest.mark.parametrize(
    ("kind", "which", "lora"),
    [("llama", "lora", True), ("gpt2", ["attn", "mlp", "ln", "wpe"], False), ("qwen2", "linear", False)],
)
def test_scores_equal_the_loop_and_matrices_sum_to_them(kind, which, lora, normalize):
    model = tiny_model(kind, lora=lora)
    examples = random_examples([9, 5, 12, 7])
    pattern = which if isinstance(which, str) else "|".join(which)
    sketcher = Sketcher(model, pad_token_id=0, config=GradientConfig(parameters=pattern, normalize=normalize))
    truth = vectors(model, examples, which, normalize)
    query = prepare_query(sketcher, examples[0])
    exact = exact_influence(sketcher, query, examples)
    torch.testing.assert_close(exact.scores.double(), truth @ truth[0], rtol=1e-5, atol=1e-7)
    for example, matrix, score in zip(examples, exact.matrices, exact.scores, strict=True):
        assert matrix.shape == (len(examples[0]), len(example))
        assert matrix.sum().item() == pytest.approx(score.item(), rel=1e-5)
    cosine = exact_influence(sketcher, query, examples, similarity="cosine").scores
    torch.testing.assert_close(
        cosine.double(), torch.nn.functional.cosine_similarity(truth, truth[:1]), rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize("normalize", ["tensor", "none"])
def test_gradients_without_positions_are_part_of_the_score(normalize):
    """Experts: autograd makes their gradients, whole; the matrix holds the rest."""
    model = build("mixtral", dtype=torch.float64)
    model.set_experts_implementation("eager")
    examples = random_examples([6, 5, 4])
    sketcher = Sketcher(
        model, pad_token_id=0, config=GradientConfig(parameters="experts|q_proj|norm", normalize=normalize)
    )
    truth = vectors(model, examples, ["experts|q_proj|norm"], normalize)
    exact = exact_influence(sketcher, prepare_query(sketcher, examples[0]), examples)
    torch.testing.assert_close(exact.scores.double(), truth @ truth[0], rtol=1e-5, atol=1e-7)
    assert exact.unplaced.abs().min() > 0
    for matrix, unplaced, score in zip(exact.matrices, exact.unplaced, exact.scores, strict=True):
        assert matrix.abs().max() > 0
        assert matrix.sum().item() + unplaced.item() == pytest.approx(score.item(), rel=1e-4, abs=1e-7)


def test_position_shares_are_what_is_lost_with_the_position():
    """The share of a position is the inner product with that position's own term of the gradient."""
    model = tiny_model("llama", lora=True)
    examples = random_examples([6, 8])
    sketcher = Sketcher(model, pad_token_id=0, config=GradientConfig(normalize="none"))
    query = prepare_query(sketcher, examples[0])
    matrix = exact_influence(sketcher, query, examples[1:]).matrices[0]
    row = prepare_query(sketcher, examples[1])
    term = sum(
        float(
            (
                torch.outer(row.factors[name].left[0, 5], row.factors[name].right[0, 5])
                * (factors.left[0].mT @ factors.right[0])
            ).sum()
        )
        for name, factors in query.factors.items()
    )
    assert matrix[:, 5].sum().item() == pytest.approx(term, rel=1e-5)
    # The last token is an answer only: nothing flows from its position.
    assert matrix[:, -1].abs().max() == 0


@pytest.mark.parametrize("normalize", ["tensor", "none"])
def test_loss_tokens_add_up_to_the_row(normalize):
    model = tiny_model("llama", lora=True)
    first, second = random_examples([6, 9])
    sketcher = Sketcher(model, pad_token_id=0, config=GradientConfig(normalize=normalize))
    query = prepare_query(sketcher, first)
    whole = exact_influence(sketcher, query, [second])
    copies = one_token_each(second)
    assert [copy.completion_length for copy in copies] == [1] * 7
    norms = dataclasses.replace(
        whole.norms,
        by_tensor={name: norm.expand(7) for name, norm in whole.norms.by_tensor.items()},
        whole=whole.norms.whole.expand(7),
    )
    shares = exact_influence(sketcher, query, copies, norms=norms).scores / len(copies)
    assert shares.sum().item() == pytest.approx(whole.scores.item(), rel=1e-5)
    assert shares.std() > 0


def test_a_tied_weight_is_refused_with_a_remedy():
    model = tiny_model("llama")
    sketcher = Sketcher(model, pad_token_id=0, config=GradientConfig(parameters="embed_tokens"))
    with pytest.raises(ConfigError, match="used in 2 places"):
        prepare_query(sketcher, random_examples([5])[0])


def test_labels_of_some_tokens_only():
    example = Example("r", (5, 6, 7, 8), 1, labelled=(2,))
    assert example.completion_length == 1
    model = tiny_model("llama", lora=True)
    sketcher = Sketcher(model, pad_token_id=0, config=GradientConfig(sketch="none", normalize="none"))
    parts = sketcher.sketch_all(one_token_each(dataclasses.replace(example, labelled=None))).sketches
    whole = sketcher.sketch_all([dataclasses.replace(example, labelled=None)]).sketches[0]
    torch.testing.assert_close(parts.mean(dim=0), whole, rtol=1e-5, atol=1e-6)
