"""DP-SGD against its definition: clipping by a loop of autograd, the noise's variance, the accountant, the sampling, and a trained model's record."""

import json
import math

import pytest
import torch
from scipy.stats import kstest

from tests.folders import save_model, write_rows
from tests.reference import loop_gradients
from tests.tiny import random_examples, tiny_model
from unweave.errors import ConfigError
from unweave.jobs.forget import forget_rows
from unweave.train.config import TrainConfig
from unweave.train.noise import secret_normal
from unweave.train.private import Privacy, PrivateLoss, collate_groups, plan_privacy, poisson_steps, read_privacy
from unweave.train.sft import fine_tune
from unweave.unlearning.config import config_of


def privacy(**changes):
    values = {
        "epsilon": 1.0,
        "delta": 1e-3,
        "noise_multiplier": 0.0,
        "clip": 0.05,
        "sample_rate": 0.5,
        "steps": 3,
        "rows": 10,
    }
    return Privacy(**{**values, **changes})


@pytest.fixture
def model():
    torch.manual_seed(0)
    made = tiny_model("llama", lora=True)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            parameter.requires_grad_("lora_" in name)
            if "lora_" in name:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    return made


def test_the_gradient_is_the_sum_of_clipped_ones_over_the_expected_rows(model):
    examples = random_examples([6, 9, 5, 7])
    names = [name for name, _ in model.named_parameters() if "lora_" in name]
    with torch.enable_grad():
        found, _ = loop_gradients(model, examples, names)
    flat = torch.cat([found[name].flatten(1) for name in names], dim=1)
    norms = flat.norm(dim=1)
    # One row below the bound, the others above it.
    clip = float((norms.sort().values[0] + norms.sort().values[1]) / 2)
    expected = (flat * (clip / norms).clamp(max=1.0)[:, None]).sum(dim=0) / 5
    loss = PrivateLoss(model, privacy(clip=clip), seed=0)
    own = loss.gradients(model, collate_groups(examples, pad_token_id=0))
    got = torch.cat([own[name].flatten() for name in names]).double()
    assert (got - expected).norm() / expected.norm() < 1e-5
    value = loss(model, collate_groups(examples, pad_token_id=0))
    value.backward()
    through = torch.cat([model.get_parameter(name).grad.flatten() for name in names]).double()
    assert (through - expected).norm() / expected.norm() < 1e-5, "what the optimizer sees"


@pytest.mark.parametrize("seed", [1, None])
def test_the_noise_has_the_variance_that_the_accountant_assumes(model, seed):
    own = privacy(noise_multiplier=1.5, clip=0.2)
    loss = PrivateLoss(model, own, seed=seed)
    assert loss.privacy.noise == ("cryptographic" if seed is None else "seeded")
    values = torch.cat([value.flatten() for _ in range(4) for value in loss.gradients(model, []).values()])
    expected = 1.5 * 0.2 / 5
    error = expected / math.sqrt(2 * len(values))
    assert abs(float(values.std()) - expected) < 4 * error
    assert abs(float(values.mean())) < 4 * expected / math.sqrt(len(values))
    again = PrivateLoss(model, own).gradients(model, [])
    other = PrivateLoss(model, own).gradients(model, [])
    assert not any(torch.equal(again[name], other[name]) for name in again), "by default it is secret"


def test_secret_noise_is_normal_and_of_nothing_but_the_systems_secrets():
    torch.manual_seed(0)
    one = secret_normal((300, 1000))
    torch.manual_seed(0)
    assert not torch.equal(one, secret_normal((300, 1000))), "no seed repeats it"
    values = one.flatten()
    assert values.dtype == torch.float64
    # Kolmogorov's distance: 1.95 / sqrt(n) is passed by chance once in a thousand times.
    assert kstest(values.numpy(), "norm").statistic < 1.95 / math.sqrt(len(values))
    neighbours = torch.corrcoef(torch.stack([values[:-1], values[1:]]))[0, 1]
    assert abs(float(neighbours)) < 4 / math.sqrt(len(values))
    assert abs(float((values**4).mean()) - 3) < 4 * math.sqrt(96 / len(values)), "the tails"
    assert secret_normal((0, 3)).shape == (0, 3)


def test_secret_noise_is_made_of_the_systems_bytes(monkeypatch):
    asked = []

    def urandom(count):
        asked.append(count)
        return b"\x5a" * count

    monkeypatch.setattr("unweave.train.noise.os.urandom", urandom)
    same = secret_normal((5,))
    assert asked == [8 * 4 * 5], "four normals a number, eight bytes a normal"
    assert torch.equal(same, secret_normal((5,)))
    # By hand: 53 bits of the word, half a step more, Box and Muller's two numbers, each twice, halved.
    uniform = ((0x5A5A5A5A5A5A5A5A & (2**53 - 1)) + 0.5) * 2.0**-53
    length, angle = math.sqrt(-2 * math.log(uniform)), 2 * math.pi * uniform
    assert float(same[0]) == pytest.approx(length * (math.cos(angle) + math.sin(angle)), rel=1e-12)


def test_the_budget_is_kept_and_used(model):
    plan = plan_privacy(500, epsilon=2.0, delta=None, clip=1.0, batch_size=20, epochs=3)
    assert plan.epsilon <= 2.0
    assert plan.epsilon > 1.9
    assert plan.delta == pytest.approx(500**-1.1)
    assert (plan.sample_rate, plan.steps) == (0.04, 75)
    # One step with every row in it is the Gaussian mechanism, whose classical bound (Dwork and Roth, theorem A.1) is looser.
    one = plan_privacy(100, epsilon=0.9, delta=1e-5, clip=1.0, batch_size=100, epochs=1)
    assert one.noise_multiplier < math.sqrt(2 * math.log(1.25 / 1e-5)) / 0.9
    tighter = plan_privacy(500, epsilon=0.5, delta=None, clip=1.0, batch_size=20, epochs=3)
    assert tighter.noise_multiplier > plan.noise_multiplier
    assert plan.of_group(1) == (plan.epsilon, plan.delta)
    assert plan.of_group(3)[0] == pytest.approx(3 * plan.epsilon)
    assert plan.of_group(3)[1] == pytest.approx(3 * math.exp(2 * plan.epsilon) * plan.delta)
    assert privacy(epsilon=100.0).of_group(20)[1] == math.inf
    for changes in ({"epsilon": 0.0}, {"delta": 1.0}, {"clip": 0.0}, {"batch_size": 501}):
        with pytest.raises(ConfigError, match="can't be trained privately"):
            plan_privacy(500, **{"epsilon": 1.0, "delta": None, "clip": 1.0, "batch_size": 20, "epochs": 1, **changes})


def test_rows_are_drawn_by_poisson_sampling():
    steps = poisson_steps(privacy(rows=200, sample_rate=0.1, steps=500))
    sizes = torch.tensor([float(len(step)) for step in steps])
    # Binomial(200, 0.1): mean 20, variance 18; a fixed batch size would have none.
    assert abs(float(sizes.mean()) - 20) < 4 * math.sqrt(18 / 500)
    assert 13 < float(sizes.var()) < 24
    assert all(len(step) == len(set(step)) for step in steps)


def test_a_privately_trained_model_says_so_and_dp2_needs_one(tmp_path):
    base = save_model(tmp_path / "base")
    data = write_rows(
        tmp_path / "d.jsonl", [{"id": f"r{i}", "instruction": f"add {i}", "response": "yes"} for i in range(24)]
    )
    shared = {"model": str(base), "data": data, "lora_r": 2, "dtype": "float32", "batch_size": 6, "epochs": 2.0}
    result = fine_tune(TrainConfig(output_dir=tmp_path / "dp", dp_epsilon=4.0, dp_delta=1e-3, **shared))
    own = read_privacy(result.folder)
    assert own.epsilon <= 4.0
    assert own.rows == 24
    assert own.noise == "cryptographic"
    assert math.isnan(result.final_loss)
    assert "loss" not in json.dumps(json.loads((result.folder / "privacy.json").read_text()))
    forget = write_rows(
        tmp_path / "f.jsonl", [{"id": f"r{i}", "instruction": f"add {i}", "response": "yes"} for i in range(3)]
    )
    retain = write_rows(
        tmp_path / "r.jsonl", [{"id": f"r{i}", "instruction": f"add {i}", "response": "yes"} for i in range(3, 24)]
    )
    files = {"forget": forget, "retain": retain, "dtype": "float32", "batch_size": 6, "epochs": 1.0}
    done = forget_rows(config_of("dp2")(model=str(result.folder), output_dir=tmp_path / "out", **files))
    assert done.details["group_epsilon"] == pytest.approx(3 * own.epsilon)
    assert done.steps == 4
    with pytest.raises(ConfigError, match="not trained privately, or was trained on without"):
        forget_rows(config_of("dp2")(model=str(done.folder), output_dir=tmp_path / "again", **files))
    with pytest.raises(ConfigError, match="for adapters"):
        fine_tune(TrainConfig(output_dir=tmp_path / "full", tuning="full", dp_epsilon=4.0, **shared))
