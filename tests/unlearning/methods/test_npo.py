"""Negative preference optimisation (Zhang et al., arXiv 2404.05868, equation 3).

L = -(2 / beta) E log sigmoid(-beta log(pi(y | x) / pi_ref(y | x))), the probability that of the whole answer.
"""

import math

import torch

from tests.unlearning.methods.scene import Scene, balanced

BETA = 0.3


def log_ratios(scene):
    """log pi(y | x) / pi_ref(y | x), sums over the answer's tokens."""
    return [scene.nll(example, before=True).sum() - scene.nll(example).sum() for example in scene.forget]


def test_value_and_gradient():
    scene = Scene()
    forget = [-(2 / BETA) * torch.log(1 / (1 + (BETA * ratio).exp())) for ratio in log_ratios(scene)]
    scene.check("npo", balanced(forget, scene.retained()), beta=BETA)


def test_a_small_beta_gives_gradient_ascent():
    """-(2 / beta) log sigmoid(-beta r) = 2 log 2 / beta + r + O(beta) (their proposition 1)."""
    scene, beta = Scene(), 1e-7
    forget = [2 * math.log(2) / beta + ratio for ratio in log_ratios(scene)]
    loss, expected = scene.objective("npo", beta=beta).loss(scene.view("npo")), balanced(forget, scene.retained())
    slopes = scene.gradient(loss), scene.gradient(expected)
    assert (slopes[0] - slopes[1]).norm() < 1e-5 * slopes[1].norm()
