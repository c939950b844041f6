"""DP2Unlearning (arXiv 2504.13774): after private training, fine-tuning on the retain rows alone: L = mean over the retain rows of w l."""

from tests.unlearning.methods.scene import WEIGHTS, Scene
from unweave.unlearning.config import config_of
from unweave.unlearning.steps import never_sampled, plan_steps


def test_value_and_gradient():
    scene = Scene()
    kept = scene.retained()
    scene.check("dp2", (WEIGHTS[2] * kept[0] + WEIGHTS[3] * kept[1]) / 2)


def test_every_retain_row_is_trained_on_and_no_forget_row():
    rows = Scene().rows
    forget, retain = rows[:2], rows[2:]
    kind = config_of("dp2")
    steps = plan_steps(
        forget, retain, retain_ratio=kind.retain_ratio, batch_size=1, epochs=kind.epochs, seed=0, sampling=kind.sampling
    )
    assert len(steps) == 3, "one and a half passes over two rows"
    assert never_sampled(steps, retain) == 0
    assert never_sampled(steps, forget) == 2
