"""Gradient ascent (Jang et al., arXiv 2210.01504): L = -mean over the forget rows of w l, l the mean over the answer's tokens of -log p."""

from tests.unlearning.methods.scene import WEIGHTS, Scene


def test_value_and_gradient():
    scene = Scene()
    scene.rows = scene.rows[:2]
    losses = [scene.nll(example).mean() for example in scene.forget]
    scene.check("ga", -(WEIGHTS[0] * losses[0] + WEIGHTS[1] * losses[1]) / 2)


def test_a_long_answer_counts_as_much_as_a_short_one():
    """The mean over tokens first, over rows then: 25 tokens of one row weigh as one token of the other."""
    scene = Scene()
    short, long = scene.rows[0], scene.rows[3]
    scene.rows = tuple(type(short)(row.example, None, 1.0, True) for row in (short, long))
    expected = -(scene.nll(short.example).sum() / 1 + scene.nll(long.example).sum() / 25) / 2
    scene.check("ga", expected)
