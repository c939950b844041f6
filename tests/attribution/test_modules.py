"""Shares of influence by part of the model add up to the whole, and each is that of its tensors."""

import pytest
import torch

from tests.tiny import random_examples, tiny_model
from unweave.attribution.modules import group_of, influence_by_part
from unweave.attribution.targets import AnswerLoss
from unweave.errors import ModelError
from unweave.gradients.source import GradientSource
from unweave.models.selection import select_parameters


def test_parts_add_up_to_the_influence():
    model = tiny_model("gpt2", lora=True)
    source = GradientSource(model, 0, select_parameters(model, "mlp.*lora"))
    rows, targets = random_examples([6, 5, 7]), [AnswerLoss(random_examples([8], seed=4)[0], 0)]
    found = {by: influence_by_part(source, targets, rows, by=by) for by in ("tensor", "module", "layer")}
    assert [len(own) for own in found.values()] == [8, 4, 2]
    whole = sum(found["tensor"].values())
    for own in found.values():
        torch.testing.assert_close(sum(own.values()), whole)
    name, share = next(iter(found["tensor"].items()))
    parameter = model.get_parameter(name)
    model.requires_grad_(False)
    parameter.requires_grad_(True)
    gradients = [torch.autograd.grad(AnswerLoss(own, 0)(model), parameter)[0] for own in rows]
    query = torch.autograd.grad(targets[0](model), parameter)[0]
    torch.testing.assert_close(share[0], torch.stack([(query * own).sum() for own in gradients]))


def test_names_of_parts():
    name = "base_model.model.model.layers.3.mlp.experts.7.down_proj.lora_A.default.weight"
    assert group_of(name, "module") == "base_model.model.model.layers.3.mlp.experts.7.down_proj"
    assert group_of(name, "layer") == "base_model.model.model.layers.3"
    assert group_of(name, "expert") == "base_model.model.model.layers.3.mlp.experts.7"
    assert group_of("lm_head.weight", "layer") == "other"
    with pytest.raises(ModelError, match="in one tensor"):
        group_of("model.layers.0.mlp.experts.down_proj", "expert")
