"""SimNPO (Fan et al., arXiv 2410.07163, equation 5): L = -(2 / beta) E log sigmoid(-(beta / |y|) log pi(y | x) - gamma), here beta (l - delta) inside."""

import pytest
import torch

from tests.unlearning.methods.scene import Scene, balanced


@pytest.mark.parametrize(("beta", "delta"), [(4.5, 0.0), (0.5, 2.0)])
def test_value_and_gradient(beta, delta):
    scene, forget = Scene(), []
    for example in scene.forget:
        mean = scene.nll(example).sum() / example.completion_length
        forget.append(-(2 / beta) * torch.log(torch.sigmoid(beta * (mean - delta))))
    scene.check("simnpo", balanced(forget, scene.retained(), gamma=0.125), beta=beta, delta=delta)


def test_a_force_too_small_to_move_anything_is_said():
    """d/dl of gamma (-2 / beta) log sigmoid(beta (l - delta)) is -2 gamma sigmoid(-beta (l - delta)), where gradient ascent has -1."""
    scene = Scene()
    losses = torch.stack([scene.nll(example).mean() for example in scene.forget]).detach()
    force = (2 * 0.125 * torch.sigmoid(-4.5 * losses)).mean().item()
    assert force < 0.01
    (said,) = scene.objective("simnpo").cautions(scene.context)
    assert f"{force:.2g} of gradient ascent's force" in said
    assert f"{losses.mean().item():.2f} nats" in said
    assert scene.objective("simnpo", delta=losses.mean().item()).cautions(scene.context) == []
