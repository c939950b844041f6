"""Fast-NTK: two ridge regressions of log-odds in the adapter's tangent space (Li et al., arXiv 2312.14923), written out in the parameters."""

import math

import pytest
import torch

from tests.tiny import one
from tests.unlearning.methods.edited import Scene, close
from unweave.errors import ConfigError, TrainingError
from unweave.gradients.loss import labelled_logits
from unweave.unlearning.edits import fast_ntk
from unweave.unlearning.edits.fast_ntk import log_odds, trapezium
from unweave.unlearning.stopping import mean_loss


@pytest.fixture(scope="module")
def scene():
    return Scene()


def stretches(outputs):
    """The mean log-odds log p / (1 - p) of each stretch of an answer."""

    def values(logits, targets):
        chances = torch.softmax(logits, dim=-1).gather(1, targets[:, None]).squeeze(1)
        odds = (chances / (1 - chances)).log()
        return torch.stack([part.mean() for part in odds.tensor_split(min(outputs, len(targets)))])

    return values


def regressions(scene, outputs, *, ridge=0.1):
    """w(R) - w(R and F) and w(R and F) by the normal equations of the parameters, weights included."""
    features, learned, weights, retain = [], [], [], []
    for row in scene.rows:
        gradients, now = scene.gradients(stretches(outputs), row.example)
        with torch.no_grad(), scene.model.disable_adapter():
            start = stretches(outputs)(*scene.answer_logits(row.example))
        features.append(gradients)
        learned.append(now - start)
        weights += [row.weight] * len(now)
        retain += [not row.is_forget] * len(now)
    features, learned = torch.cat(features), torch.cat(learned)
    weights, retain = torch.tensor(weights, dtype=torch.float64), torch.tensor(retain)
    penalty = ridge * float(features.square().sum(dim=1).mean()) / len(learned)

    def fitted(chosen):
        design = features[chosen] * weights[chosen, None]
        # Woodbury is what the package uses; this is the plain normal equation, (G'WG + n lambda I) w = G'W (y - f0).
        matrix = design.T @ features[chosen] + int(chosen.sum()) * penalty * torch.eye(features.shape[1])
        return torch.linalg.solve(matrix, design.T @ learned[chosen])

    everything = fitted(torch.ones_like(retain))
    return fitted(retain) - everything, everything


@pytest.fixture(scope="module")
def small():
    """The factors of one layer, so that the normal equations are small."""
    return Scene(parameters="layers.1.self_attn.q_proj")


@pytest.fixture
def limited(small, monkeypatch):
    """Edit the scene's own parameters alone."""
    monkeypatch.setattr(fast_ntk, "problem_of", small.limited(fast_ntk.problem_of))
    return small


@pytest.mark.parametrize("outputs", [1, 3, 100])
def test_the_edit_is_the_difference_of_two_regressions(limited, outputs):
    delta, told = limited.edit("fast-ntk", outputs=outputs, scaling="formula")
    expected, _ = regressions(limited, outputs)
    assert close(delta, expected, 1e-4)
    assert told["scale"] == 1.0
    assert told["edit_norm"] == pytest.approx(float(expected.norm()), rel=1e-4)


def test_the_trapezium_is_that_of_the_published_geometry(limited):
    delta, told = limited.edit("fast-ntk", scaling="trapezium")
    step, whole = regressions(limited, 1)
    moved = torch.cat(
        [(own if "lora_B" in name else torch.zeros_like(own)).flatten() for name, own in limited.parameters.items()]
    )
    error = moved.detach() - whole
    inner = float(step @ error / step.norm() / error.norm())
    # As the published code has it: the angle beyond a right one, and the sine of that, where the error points back; else the cosine.
    leaning = math.sin(math.acos(inner) - math.pi / 2) if inner < 0 else math.cos(math.acos(inner))
    factor = (float(step.norm()) + 2 * leaning * float(error.norm())) / float(step.norm())
    assert told["scale"] == pytest.approx(factor, rel=1e-3)
    assert close(delta, factor * step, 1e-3)


@pytest.mark.parametrize("angle", [0.3, 1.2, 2.0, 3.0])
def test_the_long_side_of_an_isosceles_trapezium(angle):
    # Corners: the short side from (0, 0) to (1, 0), and legs of length 0.7 that lean outwards by the angle.
    leg = torch.tensor([0.7 * math.cos(angle), 0.7 * math.sin(angle)], dtype=torch.float64)
    found = trapezium({"w": torch.tensor([1.0, 0.0])}, {"w": leg})
    assert found == pytest.approx(1 + 2 * abs(0.7 * math.cos(angle)))


def test_log_odds_lose_nothing_where_the_model_is_sure():
    logits = torch.tensor([[40.0, 0.0, 0.0], [0.0, 1.0, 2.0]], dtype=torch.float32, requires_grad=True)
    found = log_odds(logits, torch.tensor([0, 1]))
    assert found.tolist() == pytest.approx([40 - math.log(2), 1 - math.log(1 + math.exp(2))], rel=1e-6)
    # 1 - p is 0 in float32, and the gradient of -log p with it; the log-odds still have theirs.
    found[0].backward()
    assert logits.grad[0].tolist() == pytest.approx([1.0, -0.5, -0.5], rel=1e-6)


def test_the_default_goes_to_the_loss_before_the_adapter(scene):
    examples = [row.example for row in scene.forget]
    with scene.model.disable_adapter():
        before = mean_loss(scene.model, examples, pad_token_id=0)
    now = mean_loss(scene.model, examples, pad_token_id=0)
    if now < before:
        _, told = scene.edit("fast-ntk")
        assert told["target"] == pytest.approx(before)
        assert told["watched"][-1]["forget_loss"] > now
    else:
        with pytest.raises(TrainingError, match="nothing to do"):
            scene.edit("fast-ntk")


def test_it_goes_towards_a_target_loss_and_says_what_is_missing(scene):
    now = mean_loss(scene.model, [row.example for row in scene.forget], pad_token_id=0)
    _, told = scene.edit("fast-ntk", target_loss=100 * now, scale=0.1)
    assert told["target"] == 100 * now
    assert now < told["watched"][-1]["forget_loss"] < 100 * now
    assert any("was to be reached" in caution for caution in told["cautions"])
    with pytest.raises(ConfigError, match="no target to stop at"):
        scene.edit("fast-ntk", target_loss=1.2 * now, scaling="formula")


def test_gradients_that_do_not_fit_are_refused(scene):
    with pytest.raises(ConfigError, match="GiB"):
        scene.edit("fast-ntk", max_gib=1e-9)


def test_only_answers_count(scene):
    row = scene.rows[0].example
    logits, targets, _ = labelled_logits(scene.model, one(row))
    assert len(targets) == len(row.label_positions) < len(row)
    own, tokens = scene.answer_logits(row)
    assert torch.equal(targets, tokens)
    assert torch.allclose(log_odds(logits, targets), log_odds(own, tokens))


def test_biases_that_the_adapter_trained_stay_in_the_starting_point_and_that_is_said(scene, monkeypatch):
    _, told = scene.edit("fast-ntk", target_loss=None, scaling="formula")
    assert fast_ntk.BIASES not in told["cautions"]
    monkeypatch.setattr(scene.model.peft_config["default"], "bias", "lora_only")
    with pytest.warns(UserWarning, match="does not produce the same output as the base"):
        _, told = scene.edit("fast-ntk", target_loss=None, scaling="formula")
    assert fast_ntk.BIASES in told["cautions"]
