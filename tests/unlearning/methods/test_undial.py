"""UNDIAL (Dong et al., arXiv 2402.10052): cross-entropy to softmax(z_before - beta onehot(y)) at each answer token; the paper has no retain part."""

import pytest
import torch

from tests.unlearning.methods.scene import Scene, balanced


def distilled(scene, beta):
    found = []
    for example in scene.forget:
        teacher, targets = scene.logits(example, before=True)
        for place, target in enumerate(targets.tolist()):
            teacher[place, target] -= beta
        student = scene.logits(example)[0]
        goal = teacher.exp() / teacher.exp().sum(dim=-1, keepdim=True)
        found.append(-(goal * torch.log_softmax(student, dim=-1)).sum(dim=-1).mean())
    return found


@pytest.mark.parametrize("beta", [10.0, 3.0])
def test_value_and_gradient(beta):
    scene = Scene()
    scene.check("undial", balanced(distilled(scene, beta), scene.retained(), alpha=0.0), beta=beta)


def test_with_a_retain_part():
    scene = Scene()
    scene.check(
        "undial", balanced(distilled(scene, 10.0), scene.retained(), gamma=0.5, alpha=2.0), gamma=0.5, alpha=2.0
    )
