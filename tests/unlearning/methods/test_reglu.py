"""ReGLU (arXiv 2604.17396): the adapter's beginning from covariances of the answers' outputs, and its objective, written out."""

from dataclasses import fields, replace

import pytest
import torch

from tests.folders import save_model
from tests.tiny import random_examples
from unweave.models.loading import ModelConfig, load
from unweave.unlearning.config import config_of, method_of
from unweave.unlearning.context import Context
from unweave.unlearning.merging import save_base
from unweave.unlearning.rows import ForgetRow
from unweave.unlearning.steps import SampledStep, collate_step
from unweave.unlearning.view import Reference, StepView

NAME = "model.layers.1.mlp.up_proj"
LENGTHS = [6, 17, 9, 5, 12, 20]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("reglu") / "base")


@pytest.fixture(scope="module")
def rows():
    examples = random_examples(LENGTHS, prompt=3)
    return [ForgetRow(example, None, 1.0 + index, index < 3) for index, example in enumerate(examples)]


def config_for(output, **options):
    small = {"lora_r": 4, "lora_alpha": 8, "retain_directions": 5}
    return config_of("reglu")(forget="f", retain="r", output_dir=output, **{**small, **options})


def prepared(folder, rows, output, *, sink=0.0, **options):
    loaded = load(ModelConfig(model=str(folder), dtype="float32"))
    if sink:
        module = loaded.model.get_submodule(NAME)
        # An attention sink: the first position's output is far larger than any other's.
        module.register_forward_pre_hook(lambda _, given: (_swollen(given[0], sink),))
    config = config_for(output, **options)
    return config, method_of(config).prepare(Context(loaded, rows, config))


def _swollen(values, factor):
    return torch.cat([factor * values[:, :1], values[:, 1:]], dim=1)


def matrices(folder, rows, *, answers=True):
    """C_F and C_R of one layer, a row at a time: outputs at the positions that predict the answer, or at all."""
    model = load(ModelConfig(model=str(folder), dtype="float32")).model
    outputs = {True: [], False: []}
    module = model.get_submodule(NAME)
    for row in rows:
        handle = module.register_forward_hook(
            lambda *given, row=row: outputs[row.is_forget].append(given[2][0, _places(row, answers)].double())
        )
        with torch.no_grad():
            model(input_ids=torch.tensor([row.example.input_ids]))
        handle.remove()
    found = {}
    for kind, parts in outputs.items():
        tokens = torch.cat(parts)
        found[kind] = tokens.T @ tokens / len(tokens) + 1e-4 * torch.eye(tokens.shape[1], dtype=torch.float64)
    return found, module.weight.detach()


def _places(row, answers):
    return [place - 1 for place in row.example.label_positions] if answers else list(range(len(row.example)))


@pytest.mark.parametrize("tokens", ["answer", "all"])
def test_the_beginning_is_that_of_the_formula(folder, rows, tmp_path, tokens):
    config, context = prepared(folder, rows, tmp_path, covariance_tokens=tokens)
    model = context.loaded.model
    found, weight = matrices(folder, rows, answers=tokens == "answer")
    layer = model.get_submodule(f"base_model.model.{NAME}")
    factor_b, factor_a = layer.lora_B["default"].weight, layer.lora_A["default"].weight
    top = torch.linalg.eigh((1 - config.beta) * found[True] - config.beta * found[False])[1][:, -4:].float()
    assert torch.allclose(factor_b @ factor_b.T, top @ top.T, atol=1e-3), "the projection onto the top eigenvectors"
    assert torch.allclose(factor_a, factor_b.T @ weight, atol=1e-4)
    assert torch.allclose(layer.base_layer.weight + 2.0 * factor_b @ factor_a, weight, atol=1e-5)
    kept = next(basis for factor, basis in context.prepared if factor is factor_b)
    bottom = torch.linalg.eigh(found[False])[1][:, -5:].float()
    assert torch.allclose(kept @ kept.T, bottom @ bottom.T, atol=1e-3)
    # Nothing has changed yet.
    start = load(ModelConfig(model=str(folder), dtype="float32")).model
    ids = torch.tensor([rows[-1].example.input_ids])
    with torch.no_grad():
        assert torch.allclose(model(input_ids=ids).logits, start(input_ids=ids).logits, atol=1e-4)
    # The saved base is the one that the adapter belongs to.
    save_base(context.loaded, tmp_path / "base")
    base = load(ModelConfig(model=str(tmp_path / "base"), dtype="float32")).model.state_dict()
    assert torch.equal(base[f"{NAME}.weight"], layer.base_layer.weight)


def test_a_layer_with_fewer_outputs_than_the_rank_has_fewer_directions(folder, rows, tmp_path):
    # k_proj has 12 outputs here: 12 directions, and four pairs that begin as LoRA's.
    _, made = prepared(folder, rows, tmp_path, lora_r=16, lora_targets="k_proj", retain_directions=5)
    (layer,) = [
        module for name, module in made.loaded.model.named_modules() if name.endswith("layers.1.self_attn.k_proj")
    ]
    factor_b, factor_a = layer.lora_B["default"].weight, layer.lora_A["default"].weight
    assert factor_b.shape == (12, 16)
    torch.testing.assert_close(factor_b[:, :12].T @ factor_b[:, :12], torch.eye(12), rtol=1e-4, atol=1e-4)
    assert not factor_b[:, 12:].any()
    assert factor_a[12:].any(dim=1).all(), "else neither of the pair ever gets a gradient"
    before = load(ModelConfig(model=str(folder), dtype="float32")).model
    ids = torch.tensor([rows[0].example.input_ids])
    with torch.no_grad():
        torch.testing.assert_close(
            made.loaded.model(input_ids=ids).logits, before(input_ids=ids).logits, rtol=1e-4, atol=1e-4
        )


def test_an_attention_sink_does_not_decide_the_directions(folder, rows, tmp_path):
    def projection(name, **options):
        _, context = prepared(folder, rows, tmp_path / name, **options)
        factor = context.loaded.model.get_submodule(f"base_model.model.{NAME}").lora_B["default"].weight.detach()
        return factor @ factor.T

    # The sink is at the first position, which predicts no answer.
    assert torch.allclose(projection("a"), projection("b", sink=100.0), atol=1e-3)
    assert not torch.allclose(
        projection("c", covariance_tokens="all"), projection("d", covariance_tokens="all", sink=100.0), atol=1e-1
    )


def test_the_objective_is_its_formula(folder, rows, tmp_path):
    config, context = prepared(folder, rows, tmp_path)
    model = context.loaded.model
    step = collate_step(SampledStep(tuple(rows), 0.0), pad_token_id=0, with_clean=False)
    found = method_of(config).loss(StepView(model, step, Reference(model), context))
    hinges, losses = [], []
    for row in rows:
        ids = torch.tensor([row.example.input_ids])
        chances = torch.softmax(model(input_ids=ids).logits[0, _places(row, True)].double(), dim=-1)
        targets = ids[0, list(row.example.label_positions)]
        own = chances.gather(1, targets[:, None]).squeeze(1)
        others = chances.scatter(1, targets[:, None], 0.0).amax(dim=1)
        hinges.append(row.weight * (1 + own - others).mean())
        losses.append(-row.weight * own.log().mean())
    away = sum((factor.detach().double().T @ basis.double()).square().sum() for factor, basis in context.prepared)
    expected = sum(hinges[:3]) / 3 + sum(losses[3:]) / 3 + 0.5 * away
    assert found.item() == pytest.approx(expected.item(), rel=1e-4)
    other = replace(config, forget_loss="graddiff")
    ascent = sum(losses[3:]) / 3 - sum(losses[:3]) / 3 + 0.5 * away
    assert method_of(other).loss(StepView(model, step, Reference(model), context)).item() == pytest.approx(
        ascent.item(), rel=1e-4
    )


OPTIONS = {
    "beta": 0.3, "retain_directions": 2, "covariance_rows": 1, "covariance_tokens": "all", "orthogonality": 0.1, "forget_loss": "graddiff",
}  # fmt: skip


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_changes_the_gradient(folder, rows, tmp_path, option):
    own = {field.name for field in fields(config_of("reglu"))} - {field.name for field in fields(config_of("graddiff"))}
    assert own <= set(OPTIONS)

    def gradient(name, **options):
        config, context = prepared(folder, rows, tmp_path / name, **options)
        model = context.loaded.model
        step = collate_step(SampledStep(tuple(rows), 0.0), pad_token_id=0, with_clean=False)
        method_of(config).loss(StepView(model, step, Reference(model), context)).backward()
        return torch.cat([own.grad.flatten() for own in model.parameters() if own.requires_grad])

    plain, changed = gradient("a"), gradient("b", **{option: OPTIONS[option]})
    # Eigenvectors have no sign of their own.
    assert abs(float(plain.norm() - changed.norm())) > 1e-3 * float(plain.norm())
