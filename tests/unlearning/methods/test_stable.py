"""Stable forgetting (arXiv 2509.24166): delta W = gain sin(omega A B), A begun as a LoRA's, saved so that the change is not rounded away."""

from dataclasses import fields

import pytest
import torch

from tests.folders import save_model
from tests.tiny import TinyTokenizer, random_examples
from tests.unlearning.test_forget import PATHS
from unweave.errors import ConfigError
from unweave.models import saving
from unweave.models.loading import Loaded, ModelConfig, load
from unweave.unlearning.bounded import Bounded
from unweave.unlearning.config import config_of, method_of
from unweave.unlearning.context import Context
from unweave.unlearning.methods import Stable
from unweave.unlearning.rows import ForgetRow


def layer_of(size=12, out=7):
    torch.manual_seed(0)
    return torch.nn.Linear(size, out, bias=False)


def stepped(step, **options):
    """The change of a layer's weight after B's first step, of the size that AdamW's first step has."""
    layer = layer_of()
    config = config_of("stable")(**PATHS, **{"rank": 3, **options})
    path = Bounded(layer, config, torch.Generator().manual_seed(config.seed))
    torch.manual_seed(1)
    path(torch.randn(5, 12)).square().sum().backward()
    path(torch.randn(5, 12)).sum().backward()
    with torch.no_grad():
        path.b.sub_(step * path.b.grad.sign())
    return path.delta().detach(), path, layer


@pytest.mark.parametrize("bound", ["sin", "tanh"])
def test_it_begins_at_nothing_and_stays_within_its_gain(bound):
    layer = layer_of()
    path = Bounded(
        layer, config_of("stable")(**PATHS, bound=bound, gain=0.05, rank=3), torch.Generator().manual_seed(0)
    )
    inputs = torch.randn(5, 12)
    assert torch.equal(path(inputs), torch.zeros(5, 7))
    path(inputs).sum().backward()
    assert path.b.grad.abs().sum() > 0, "it can leave its beginning"
    with torch.no_grad():
        path.b.add_(torch.randn(7, 3) * 100)
    assert path.delta().abs().max() <= 0.05
    function = torch.sin if bound == "sin" else torch.tanh
    assert torch.allclose(path.delta(), 0.05 * function(100.0 * (path.b @ path.a)), atol=1e-6)
    assert torch.allclose(path(inputs), inputs @ path.delta().T, atol=1e-6)


def test_omega_acts_at_first_order():
    # sin(omega A B) = omega A B for a small step of B: ten times the omega turns ten times as far. With A divided by omega it made no difference.
    near, _, _ = stepped(1e-6, omega=10.0)
    far, _, _ = stepped(1e-6, omega=100.0)
    assert float(far.norm() / near.norm()) == pytest.approx(10.0, rel=1e-3)


def test_a_first_step_moves_the_weight_as_far_as_sine_lora():
    # By the formula: |omega B A| gain over |W|, with B's entries at +-step and A's columns of mean square 1 / in.
    step, omega = 1e-5, 100.0
    delta, path, layer = stepped(step, omega=omega)
    expected = path.gain * omega * (path.b.detach().double() @ path.a.detach().double())
    assert float((delta - expected).norm() / expected.norm()) < 1e-3
    assert float(path.a.detach().square().mean()) == pytest.approx(1 / 12, rel=0.3)
    assert float(delta.norm() / layer.weight.detach().norm()) > 5e-4, "4.5e-5 with A divided by omega"


@pytest.mark.parametrize("option", ["bound", "omega", "gain", "rank", "seed"])
def test_an_option_changes_the_change(option):
    other = {"bound": "tanh", "omega": 50.0, "gain": 0.1, "rank": 2, "seed": 1}[option]
    plain, changed = stepped(1e-3)[0], stepped(1e-3, **{option: other})[0]
    assert float((plain - changed).norm() / plain.norm()) > 1e-3
    own = {field.name for field in fields(config_of("stable"))} - {
        field.name for field in fields(config_of("graddiff"))
    }
    assert own <= {"bound", "omega", "gain", "rank", "bounded_targets"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("stable") / "base")


def prepared(folder, output, dtype, turn, **options):
    """A model whose layers' B have been turned by steps of one size and random signs."""
    config = config_of("stable")(forget="f", retain="r", output_dir=output, **options)
    rows = [ForgetRow(example, None, 1.0, index == 0) for index, example in enumerate(random_examples([6, 9]))]
    loaded = load(ModelConfig(model=str(folder), dtype=dtype))
    context = method_of(config).prepare(Context(loaded, rows, config))
    torch.manual_seed(2)
    with torch.no_grad():
        for layer in context.prepared:
            layer._modules["bounded"].b.add_(turn * torch.randn(layer.out_features, config.rank).sign())
    return config, context


def test_a_small_change_outlives_saving(folder, tmp_path):
    before = load(ModelConfig(model=str(folder), dtype="bfloat16")).model.float()
    start = before.state_dict()
    config, context = prepared(folder, tmp_path / "out", "bfloat16", 1e-6)
    deltas = {
        name: module._modules["bounded"].delta().detach()
        for name, module in context.loaded.model.named_modules()
        if "bounded" in module._modules
    }
    told = method_of(config).details(context)
    assert told["lost_to_rounding"] > 0.5
    assert any("would round away" in one and "`dtype` float32" in one for one in told["cautions"])
    # What the trained model computes, in float32: its weights, and the bounded paths beside them.
    trained = load(ModelConfig(model=str(folder), dtype="bfloat16")).model.float()
    for name, module in trained.named_modules():
        if name in deltas:
            module.weight.data += deltas[name]
    loaded = method_of(config).finish(context).loaded
    saving.save_model(loaded.model, loaded.tokenizer, tmp_path / "out")
    saved = load(ModelConfig(model=str(tmp_path / "out"), dtype="float32")).model
    ids = torch.tensor([random_examples([9])[0].input_ids])
    with torch.no_grad():
        expected, found, without = (model(input_ids=ids).logits for model in (trained, saved, before))
    assert float((found - expected).norm()) < 1e-2 * float((expected - without).norm())
    for name, delta in deltas.items():
        kept = saved.state_dict()[f"{name}.weight"] - start[f"{name}.weight"]
        assert float((kept - delta).norm() / delta.norm()) < 1e-2


def test_a_change_that_has_room_keeps_the_models_dtype(folder, tmp_path):
    config, context = prepared(folder, tmp_path / "out", "bfloat16", 1e-2, gain=0.2)
    told = method_of(config).details(context)
    assert told["lost_to_rounding"] < 0.1
    assert told["cautions"] == []
    assert told["relative_change"] > 0.1
    method_of(config).finish(context)
    assert context.loaded.model.dtype == torch.bfloat16
    assert not [name for name, _ in context.loaded.model.named_modules() if "bounded" in name]


def test_the_bounded_layers_are_those_named(folder, tmp_path):
    _, context = prepared(folder, tmp_path / "out", "float32", 0.0, bounded_targets="up_proj")
    names = {id(module): name for name, module in context.loaded.model.named_modules()}
    assert {names[id(layer)].rpartition(".")[2] for layer in context.prepared} == {"up_proj"}
    with pytest.raises(ConfigError, match="nothing_such"):
        Stable(bounded_targets="nothing_such").prepare(
            Context(Loaded(context.loaded.model, TinyTokenizer.make(), "", None), [])
        )
