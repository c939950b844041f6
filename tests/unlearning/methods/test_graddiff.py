"""Gradient difference (Liu et al., arXiv 2203.12817; TOFU, arXiv 2401.06121): L = -gamma l(forget) + alpha l(retain), or alpha KL(before || model)."""

import pytest

from tests.unlearning.methods.scene import Scene, balanced


def ascent(scene):
    return [-scene.nll(example).mean() for example in scene.forget]


@pytest.mark.parametrize(("gamma", "alpha"), [(1.0, 1.0), (0.7, 2.0), (4.0, 0.0)])
def test_value_and_gradient(gamma, alpha):
    scene = Scene()
    expected = balanced(ascent(scene), scene.retained(), gamma=gamma, alpha=alpha)
    scene.check("graddiff", expected, gamma=gamma, alpha=alpha)


def test_with_the_divergence_from_the_model_before():
    """KL(p_before || p) = sum_v p_before(v) (log p_before(v) - log p(v)) at each answer token, averaged over the row's tokens."""
    scene, divergences = Scene(), []
    for example in scene.retain:
        before = scene.logits(example, before=True)[0].softmax(dim=-1)
        now = scene.logits(example)[0].softmax(dim=-1)
        divergences.append((before * (before / now).log()).sum(dim=-1).mean())
    scene.check("graddiff", balanced(ascent(scene), divergences), retain_loss="kl")
