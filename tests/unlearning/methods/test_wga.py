"""Weighted gradient ascent (Wang et al., arXiv 2502.19301, section 5): L = E (1 / |y|) sum_t w_t log p(y_t), w_t = p(y_t)^beta without a gradient."""

import pytest

from tests.unlearning.methods.scene import Scene, balanced


@pytest.mark.parametrize("beta", [1.0, 0.3])
def test_value_and_gradient(beta):
    scene, forget = Scene(), []
    for example in scene.forget:
        log_chances = -scene.nll(example)
        forget.append((log_chances.exp().detach() ** beta * log_chances).mean())
    scene.check("wga", balanced(forget, scene.retained()), beta=beta)
