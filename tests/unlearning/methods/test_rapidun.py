"""RapidUn (arXiv 2512.04457, section 4): L = mean_i w_i L_i over the step's rows, L_i = l(z_i) on a retain row, descent l(clean) - ascent l(unwanted) else."""

import pytest
import torch

from tests.unlearning.methods.scene import Scene
from unweave.unlearning.config import config_of


def loss(scene, unwanted, *, ascent=1.0, descent=0.5, weights=(1.5, 0.5, 2.0, 0.25)):
    clean, kept = scene.nll(scene.rows[0].clean).mean(), scene.retained()
    own = [descent * clean - ascent * unwanted[0], -ascent * unwanted[1], *kept]
    return sum(weight * value for weight, value in zip(weights, own, strict=True)) / 4


def unwanted(scene, *, before=False):
    return [scene.nll(example, before=before).mean() for example in scene.forget]


@pytest.mark.parametrize("factors", [{}, {"ascent": 0.25, "descent": 1.0}])
def test_value_and_gradient(factors):
    scene = Scene()
    scene.check("rapidun", loss(scene, unwanted(scene), **factors), **factors)
    scene.check("rapidun-published", loss(scene, unwanted(scene), **factors), **factors)


def test_weights_warm_up_from_one():
    """Half of the run is behind the step: a warm-up over the whole run has half of each weight's distance from 1."""
    scene = Scene()
    scene.check("rapidun", loss(scene, unwanted(scene), weights=(1.25, 0.75, 1.5, 0.625)), weight_warmup=1.0)


def test_a_bound_lets_the_ascent_fade():
    """2 b log sigmoid((l - l_before) / b): slope 1 where the model is as before, 0 far above."""
    scene = Scene()
    rises = [now - then for now, then in zip(unwanted(scene), unwanted(scene, before=True), strict=True)]
    bounded = [2 * 0.7 * torch.log(torch.sigmoid(rise / 0.7)) for rise in rises]
    scene.check("rapidun", loss(scene, bounded, ascent=3.0), ascent=3.0, bound=0.7)
    # A large bound is plain ascent.
    found = scene.objective("rapidun", ascent=3.0, bound=1e6).loss(scene.view("rapidun"))
    slopes = scene.gradient(found), scene.gradient(loss(scene, unwanted(scene), ascent=3.0))
    assert (slopes[0] - slopes[1]).norm() < 1e-5 * slopes[1].norm()


def test_the_published_setting_is_the_papers():
    kind = config_of("rapidun-published")
    assert (kind.batch_size, kind.epochs, kind.sampling, kind.learning_rate) == (1, 2.0, "replacement", 6e-5)
    assert (kind.retain_ratio, kind.lr_scheduler, kind.max_grad_norm, kind.max_length) == (3.0, "cosine", 1.0, 256)
    assert (kind.lora_r, kind.lora_alpha, kind.lora_dropout, kind.warmup_ratio) == (16, 16, 0.05, 0.0)
