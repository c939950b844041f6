"""The Hessian product is that of autograd, weights included."""

import torch
from torch.nn import functional

from tests.unlearning.methods.edited import Scene, configured
from unweave.curvature.solver import Counted, hessian
from unweave.unlearning.edits.problem import problem_of


def test_the_hessian_product_is_that_of_autograd():
    scene = Scene(parameters="layers.1.self_attn.q_proj")
    problem = scene.limited(problem_of)(scene.context(config := configured("llmeraser")), config, scene.rows)
    names, start = list(scene.parameters), [own.detach().clone() for own in scene.parameters.values()]

    def total(*values):
        state, found = dict(zip(names, values, strict=True)), 0.0
        for row in scene.rows:
            ids = torch.tensor([row.example.input_ids])
            logits = torch.func.functional_call(scene.model, state, kwargs={"input_ids": ids}).logits[0, :-1]
            each = functional.cross_entropy(logits, ids[0, 1:], reduction="none")
            found = found + row.weight * each[row.example.prompt_length - 1 :].mean()
        return found / sum(row.weight for row in scene.rows)

    torch.manual_seed(0)
    vectors = tuple(torch.randn_like(own) for own in start)
    with torch.enable_grad():
        _, expected = torch.autograd.functional.hvp(total, tuple(start), vectors)
    found = hessian(problem)(dict(zip(names, (own[None] for own in vectors), strict=True)))
    for name, own in zip(names, expected, strict=True):
        # The model's attention takes its softmax in float32.
        assert float((found[name][0] - own).norm() / own.norm()) < 1e-4


def test_a_product_is_counted_and_its_first_call_timed():
    seconds = []
    counted = Counted(lambda vectors: vectors, first=seconds.append)
    counted.product({})
    counted.product({})
    assert counted.count == 2
    assert len(seconds) == 1
    assert seconds[0] >= 0
