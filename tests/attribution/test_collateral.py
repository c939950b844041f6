"""What forgetting will cost other rows: against gradients one by one, against a step that was made, and against runs."""

import copy

import pytest
import torch
from scipy import stats

import unweave as uw
from tests.finding.planted import planted_rows
from tests.reference import loop_gradients
from tests.tiny import TinyTokenizer, tiny_model
from unweave.attribution.index import GradientIndex
from unweave.data.batches import collate
from unweave.data.encoding import EncodingConfig, encode_rows
from unweave.errors import DataError, StoreError
from unweave.gradients.scoring import row_losses
from unweave.models.model import Model
from unweave.models.selection import select_parameters

EXACT = {"sketch": "none", "normalize": "none", "number_format": "float32"}
FORGET = ["p0", "p1", "p2"]


def double():
    return Model(tiny_model("llama", lora=True, dtype=torch.float64), TinyTokenizer.make(), "base", "adapter")


@pytest.fixture(scope="module")
def truth():
    """Model, rows, and each row's gradient by autograd."""
    model, rows = double(), planted_rows(planted=3, others=9)
    examples = encode_rows(rows, model.tokenizer, EncodingConfig()).examples
    names = [own.name for own in select_parameters(model.model, "lora")]
    gradients, _ = loop_gradients(model.model, examples, names)
    return model, rows, torch.cat([own.flatten(1) for own in gradients.values()], dim=1), names


@pytest.mark.parametrize("normalize", ["none", "row"])
def test_the_change_is_the_inner_product_of_the_gradients(truth, normalize):
    model, rows, gradients, _ = truth
    index = GradientIndex.build(model, rows, **EXACT | {"normalize": normalize})
    found = uw.predict_collateral(index, FORGET)
    kernel = gradients @ gradients[-3:].T
    expected = {row.id: float(kernel[place].mean()) for place, row in enumerate(rows[:9])}
    assert found.changes == pytest.approx(expected, rel=1e-4, abs=1e-7)
    assert [one.row.id for one in found] == sorted(expected, key=expected.__getitem__, reverse=True)
    assert [one.by for one in found] == [FORGET[int(kernel[int(one.row.id[1:])].argmax())] for one in found], (
        "who adds most to it"
    )
    assert [one.level for one in found] == [place / 9 for place in range(8, -1, -1)]
    assert found.mean == pytest.approx(sum(expected.values()) / 9, rel=1e-4)
    assert found.is_exact


def test_a_small_step_changes_the_losses_as_predicted(truth):
    model, rows, gradients, names = truth
    found = uw.predict_collateral(GradientIndex.build(model, rows, **EXACT), rows[-3:], rows[:9])
    size, losses = 2e-4, []
    for sign in (-1, 1):
        stepped, place = Model(copy.deepcopy(model.model), model.tokenizer, "base", "adapter"), 0
        parameters = dict(stepped.model.named_parameters())
        for name in names:
            own = parameters[name]
            own.data += sign * size * gradients[-3:, place : place + own.numel()].mean(dim=0).view_as(own)
            place += own.numel()
        losses.append(row_losses(stepped, rows[:9], EncodingConfig()).means())
    for row, below, above in zip(rows, *losses, strict=False):
        assert (above - below) / (2 * size) == pytest.approx(found.changes[row.id], rel=0.02, abs=5e-3)


def test_sketches_of_normalised_gradients_rank_rows_as_the_gradients_do(truth):
    model, _, _, _ = truth
    rows = planted_rows(planted=4, others=40)
    exact = uw.predict_collateral(GradientIndex.build(model, rows, **EXACT), ["p0", "p1"])
    index = GradientIndex.build(model, rows, dimension=8192)
    found = uw.predict_collateral(index, ["p0", "p1"])
    assert not found.is_exact
    ids = list(exact.changes)
    ranks = stats.spearmanr([exact.changes[row_id] for row_id in ids], [found.changes[row_id] for row_id in ids])
    assert ranks.statistic > 0.7
    assert {found[0].row.id, found[1].row.id} <= {"p2", "p3", *ids[:4]}


def test_rows_that_are_predicted_to_lose_most_do():
    """A model that has learned the rows goes up the loss of some, by three quarters of a nat a token: the order of what all others lose is as predicted."""
    rows = planted_rows(planted=10, others=50)
    model = Model(tiny_model("llama", lora=True, dtype=torch.float32), TinyTokenizer.make(), "base", "adapter")
    examples = encode_rows(rows, model.tokenizer, EncodingConfig()).examples
    chosen = [parameter for name, parameter in model.model.named_parameters() if "lora" in name]
    follow(model.model, examples, torch.optim.Adam(chosen, lr=5e-3), steps=60)
    forget, stay = rows[-5:], rows[:-5]
    found = uw.predict_collateral(GradientIndex.build(model, rows, dimension=4096), forget, stay)
    before, start = (row_losses(model, own, EncodingConfig()).means() for own in (stay, forget))
    for _ in range(100):
        follow(model.model, examples[-5:], torch.optim.SGD(chosen, lr=5e-4, maximize=True), steps=1)
        if sum(row_losses(model, forget, EncodingConfig()).means()) > sum(start) + 3.75:
            break
    after = row_losses(model, stay, EncodingConfig()).means()
    harm = [second - first for first, second in zip(before, after, strict=True)]
    assert max(harm) > 0.1
    ranks = stats.spearmanr([found.changes[row.id] for row in stay], harm)
    assert ranks.statistic > 0.4
    assert ranks.pvalue < 0.01


def follow(model, examples, optimizer, *, steps):
    """Steps on all examples at once."""
    batch = collate(examples, pad_token_id=0)
    model.eval()
    for _ in range(steps):
        model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=batch.labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def test_sides_without_rows_and_rows_that_are_not_there_are_refused(truth):
    model, rows, _, _ = truth
    index = GradientIndex.build(model, rows, **EXACT)
    with pytest.raises(DataError, match="`forget` has no rows"):
        uw.predict_collateral(index, [])
    with pytest.raises(DataError, match="No row stays"):
        uw.predict_collateral(index, FORGET, FORGET)
    with pytest.raises(StoreError, match="not in the store"):
        uw.predict_collateral(index, ["nobody"])
