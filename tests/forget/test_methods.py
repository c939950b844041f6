"""Every objective against its formula, written out with whole logits; every edit against a dense computation; the registry and its descriptions."""

import json
import math
import shutil
from dataclasses import fields, replace

import pytest
import torch
from torch.nn import functional

from tests.folders import write_rows
from tests.forget.test_forget import PATHS, losses, poisoned, settings  # noqa: F401
from tests.reference import loop_gradients
from tests.tiny import TinyTokenizer, random_examples, tiny_model
from unweave.cli.main import main
from unweave.data.encoding import encode_rows
from unweave.errors import ConfigError, DataError
from unweave.forget import stage
from unweave.forget.describe import describe_methods
from unweave.forget.line_search import Stop, along_to_target, without_ruin
from unweave.forget.methods import METHODS
from unweave.forget.methods.base import Setting
from unweave.forget.methods.curvature import diagonal_fisher, problem_of
from unweave.forget.methods.fast_ntk import FastNtkConfig
from unweave.forget.methods.fisher import FisherConfig
from unweave.forget.methods.llmeraser import LlmEraserConfig, right_hand_side
from unweave.forget.methods.npo import NpoConfig
from unweave.forget.methods.reglu import RegluConfig
from unweave.forget.methods.ssd import SsdConfig
from unweave.forget.methods.stable import Bounded, StableConfig
from unweave.forget.solver import adam_on_quadratic, hessian
from unweave.forget.stage import forget_rows
from unweave.forget.steps import ForgetRow
from unweave.forget.view import Reference
from unweave.forget.watch import mean_loss, watched_rows
from unweave.gradients.scoring import row_losses
from unweave.models.loading import Loaded, ModelConfig, load
from unweave.trace.preconditioners.base import Problem
from unweave.trace.preconditioners.gauss_newton import gauss_newton
from unweave.train.rows import read_training_rows
from unweave.train.sft import loop_config

BETA = 0.3


class Scene:
    """A LoRA model that has moved away from where it began, and a step of four rows."""

    def __init__(self):
        torch.manual_seed(3)
        self.model = tiny_model("llama", lora=True)
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_("lora_" in name)
        examples = random_examples([6, 9, 5, 7, 8])
        self.rows = (
            ForgetRow(examples[0], replace(examples[1], row_id=examples[0].row_id), 1.5, True),
            ForgetRow(examples[2], None, 0.5, True),
            ForgetRow(examples[3], None, 2.0, False),
            ForgetRow(examples[4], None, 0.25, False),
        )
        self.reference = Reference(self.model)
        self.before = {index: self.logits(row.example) for index, row in enumerate(self.rows)}
        self.clean_before = self.logits(self.rows[0].clean)
        with torch.no_grad():
            for parameter in self.model.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter) * 0.2)
        self.now = {index: self.logits(row.example) for index, row in enumerate(self.rows)}
        self.clean_now = self.logits(self.rows[0].clean)

    def logits(self, example):
        """Logits of the answer's tokens, and the tokens."""
        ids = torch.tensor([example.input_ids])
        with torch.no_grad():
            whole = self.model(input_ids=ids).logits[0]
        places = [position - 1 for position in example.label_positions]
        return whole[places], ids[0, list(example.label_positions)]


def nll(pair):
    logits, targets = pair
    return functional.cross_entropy(logits, targets, reduction="none")


@pytest.fixture
def scene():
    return Scene()


# Edits.


def setting_of(scene):
    scene.model.requires_grad_(False)
    return Setting(Loaded(scene.model, TinyTokenizer.make(), "tiny", "own"), scene.rows)


def lora_state(scene):
    return {name: own.detach().clone() for name, own in scene.model.named_parameters() if "lora_" in name}


def dense_gradients(scene, examples):
    names = [name for name, _ in scene.model.named_parameters() if "lora_" in name]
    for name, parameter in scene.model.named_parameters():
        parameter.requires_grad_("lora_" in name)
    with torch.enable_grad():
        found, _ = loop_gradients(scene.model, examples, names)
    scene.model.requires_grad_(False)
    return names, torch.cat([found[name].flatten(1) for name in names], dim=1)


def test_fisher_noise_has_the_variance_of_the_inverse_information(scene):
    setting = setting_of(scene)
    config = FisherConfig(**PATHS, noise=1e-6, max_inverse=1e3)
    names, gradients = dense_gradients(scene, [row.example for row in scene.rows if not row.is_forget])
    information = gradients.square().mean(dim=0)
    problem = problem_of(setting, config, [row.example for row in scene.rows if not row.is_forget])
    found = diagonal_fisher(problem, description="x")
    assert torch.allclose(
        torch.cat([found[name].flatten() for name in names]).double(), information, rtol=1e-4, atol=1e-12
    )
    spread = (1e-6 * information.clamp(min=1e-3).reciprocal()).sqrt()
    before, draws = lora_state(scene), []
    for seed in range(40):
        METHODS["fisher"].edit(FisherConfig(**PATHS, noise=1e-6, seed=seed), setting)
        after = lora_state(scene)
        draws.append(torch.cat([(after[name] - before[name]).flatten() for name in names]) / spread)
        for name, own in scene.model.named_parameters():
            if name in before:
                own.data.copy_(before[name])
    drawn = torch.stack(draws)
    # Five standard errors of the spread and of the mean of as many numbers.
    assert drawn.std() == pytest.approx(1.0, abs=5 * (2 * drawn.numel()) ** -0.5)
    assert drawn.mean() == pytest.approx(0.0, abs=5 * drawn.numel() ** -0.5)


def test_ssd_scales_what_matters_to_the_forget_rows_alone(scene):
    setting = setting_of(scene)
    names, forget = dense_gradients(scene, [row.example for row in scene.rows if row.is_forget])
    _, everything = dense_gradients(scene, [row.example for row in scene.rows])
    own, other = forget.square().mean(dim=0), everything.square().mean(dim=0)
    before = lora_state(scene)
    flat = torch.cat([before[name].flatten() for name in names])
    told = METHODS["ssd"].edit(SsdConfig(**PATHS, selection=1.5, dampening=0.5), setting)
    chosen = own > 1.5 * other
    expected = torch.where(chosen, flat * (0.5 * other / own).clamp(max=1), flat)
    after = lora_state(scene)
    assert torch.allclose(torch.cat([after[name].flatten() for name in names]), expected, rtol=1e-4, atol=1e-9)
    assert told["selected"] == pytest.approx(float(chosen.double().mean()), abs=1e-3)
    assert 0 < told["selected"] < 1


def dense(product, problem):
    """The matrix of a product, column by column."""
    shapes = {item.name: item.parameter.shape for item in problem.sketcher.parameters}
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    identity = torch.eye(sum(sizes.values()), dtype=torch.float64)
    columns, start = {}, 0
    for name, shape in shapes.items():
        columns[name] = identity[:, start : start + sizes[name]].reshape(-1, *shape)
        start += sizes[name]
    image = product(columns)
    return torch.cat([image[name].flatten(1) for name in shapes], dim=1).double()


@pytest.fixture
def said(monkeypatch):
    """What LLMEraser tells its user."""
    lines = []
    monkeypatch.setattr("unweave.forget.methods.llmeraser.progress.say", lines.append)
    return lines


@pytest.fixture
def small(scene):
    """The problem on the LoRA factors of one module, so that dense matrices are small."""
    setting = setting_of(scene)
    config = LlmEraserConfig(**PATHS)
    problem = problem_of(setting, config, [row.example for row in scene.rows])
    problem.sketcher.parameters = [
        item for item in problem.sketcher.parameters if "layers.1.self_attn.q_proj" in item.name
    ]
    return scene, setting, config, problem


def test_the_hessian_product_is_that_of_autograd(small):
    scene, _, _, problem = small
    names = [item.name for item in problem.sketcher.parameters]
    start = [item.parameter.detach().clone() for item in problem.sketcher.parameters]

    def total(*values):
        state = dict(zip(names, values, strict=True))
        found = 0.0
        for row in scene.rows:
            ids = torch.tensor([row.example.input_ids])
            logits = torch.func.functional_call(scene.model, state, kwargs={"input_ids": ids}).logits[0, :-1]
            each = functional.cross_entropy(logits, ids[0, 1:], reduction="none")
            found = found + each[row.example.prompt_length - 1 :].mean()
        return found / len(scene.rows)

    with torch.enable_grad():
        blocks = torch.autograd.functional.hessian(total, tuple(start))
    sizes = [value.numel() for value in start]
    expected = torch.cat(
        [
            torch.cat([blocks[i][j].reshape(sizes[i], sizes[j]) for j in range(len(sizes))], dim=1)
            for i in range(len(sizes))
        ]
    )
    found = dense(hessian(problem), problem)
    # The model's attention takes its softmax in float32.
    assert (found - expected).norm() / expected.norm() < 1e-4


@pytest.mark.parametrize("preconditioner", ["none", "ekfac"])
@pytest.mark.parametrize("metric", ["identity", "adam"])
def test_llmeraser_solves_the_damped_system(small, preconditioner, metric, monkeypatch):
    scene, setting, _, problem = small
    rows_of_curvature = []
    monkeypatch.setattr(
        "unweave.forget.methods.llmeraser.problem_of", lambda *given: rows_of_curvature.append(given[2]) or problem
    )
    config = LlmEraserConfig(
        **PATHS, tolerance=1e-6, max_residual=1e-4, iterations=400, preconditioner=preconditioner, metric=metric
    )
    right = right_hand_side(config, setting, problem)
    names = [item.name for item in problem.sketcher.parameters]
    flat = torch.cat([right[name].flatten() for name in names]).double()
    matrix = dense(gauss_newton(problem), problem)
    gradients = loop_gradients_of_forget_rows(scene, names)
    assert torch.allclose(flat, gradients, rtol=1e-4, atol=1e-8), "the sum over the forget rows"
    diagonal = torch.ones(len(matrix), dtype=torch.float64)
    if metric == "adam":
        moments = diagonal_fisher(problem, description="check")
        roots = [moments[name].flatten().double().sqrt() for name in names]
        diagonal = torch.cat([root + 0.1 * root.mean() for root in roots])
    before = lora_state(scene)
    told = METHODS["llmeraser"].edit(config, setting)
    after = lora_state(scene)
    delta = torch.cat([(after[name] - before[name]).flatten() for name in names]).double()
    expected = torch.linalg.solve(matrix + told["damping"] * diagonal.diag(), flat) / len(scene.rows)
    assert rows_of_curvature == [[row.example for row in scene.rows if not row.is_forget]], "what is kept"
    assert told["residual"] < 1e-5
    assert (delta - expected).norm() / expected.norm() < 1e-3


@pytest.mark.parametrize("rise", [0.8, 1.0, 2.5])
def test_an_edit_goes_on_until_the_target_is_reached(rise):
    def measure(scale):
        return Stop(scale, 0.1 + 0.05 * scale**rise, 0.3 + 0.001 * scale)

    *tried, reached = along_to_target(measure, 2.0, first=1.0, max_retain_increase=0.5)
    assert abs(reached.forget_loss / 2.0 - 1) <= 0.05
    assert tried[0].scale == 0
    assert len(tried) < 8


def test_an_edit_does_not_go_where_the_retain_rows_are_ruined():
    def measure(scale):
        return Stop(scale, 0.1 + 0.1 * scale, 0.3 if scale < 6 else float("nan"))

    *_, reached = along_to_target(measure, 2.0, first=1.0, max_retain_increase=0.5)
    assert 4 < reached.scale < 6, "19 would reach the target"
    already = along_to_target(measure, 0.1, first=1.0, max_retain_increase=0.5)
    assert [point.scale for point in already] == [0.0], "nothing is to be done"


def test_an_edit_is_halved_until_the_retain_rows_stand_it(scene, said):
    def measure(scale):
        return Stop(scale, 1.0, 0.3 + 0.25 * scale if scale < 9 else float("nan"))

    tried = without_ruin(measure, first=10.0, max_retain_increase=0.7)
    assert [point.scale for point in tried] == [0.0, 10.0, 5.0, 2.5]
    assert without_ruin(measure, first=10.0, max_retain_increase=-1.0)[-1].scale == 0.0, "nothing is harmless"
    state = lora_state(scene)
    told = METHODS["llmeraser"].edit(LlmEraserConfig(**PATHS, max_retain_increase=-100.0), setting_of(scene))
    assert told["scale"] == 0
    assert all(torch.equal(value, state[name]) for name, value in lora_state(scene).items())
    assert "at the factor 1 the retain rows lose more" in said[-1]


def test_llmeraser_reaches_its_target_and_keeps_within_its_bounds(scene, said):
    setting = setting_of(scene)
    state = lora_state(scene)

    def forget_loss():
        return mean_loss(scene.model, watched_rows(LlmEraserConfig(**PATHS), setting.rows)[0], pad_token_id=0)

    before = forget_loss()
    config = LlmEraserConfig(**PATHS, target_loss=1.3 * before, damping=1.0, max_retain_increase=100.0)
    told = METHODS["llmeraser"].edit(config, setting)
    after = forget_loss()
    assert abs(after / (1.3 * before) - 1) <= 0.05
    assert told["watched"][-1]["scale"] == told["scale"] > 0
    assert told["watched"][-1]["forget_loss"] == pytest.approx(after)
    moved = sum(float((lora_state(scene)[name] - state[name]).square().sum()) for name in state) ** 0.5
    assert moved == pytest.approx(told["norm"], rel=1e-4)
    config = replace(config, target_loss=2 * after, max_retain_increase=-100.0)
    assert METHODS["llmeraser"].edit(config, setting)["scale"] == 0
    assert forget_loss() == pytest.approx(after)
    assert "was to be reached" in said[-1]


def loop_gradients_of_forget_rows(scene, names):
    for name, parameter in scene.model.named_parameters():
        parameter.requires_grad_(name in names)
    with torch.enable_grad():
        found, _ = loop_gradients(scene.model, [row.example for row in scene.rows if row.is_forget], names)
    scene.model.requires_grad_(False)
    return torch.cat([found[name].sum(dim=0).flatten() for name in names])


def test_the_public_codes_two_errors_beside_ours(small):
    """Its product misses half of H, so that it converges to 2 H^-1 b; its budget of 20 steps of 1e-5 leaves 0.9998 of the residual."""
    _, setting, config, problem = small
    right = right_hand_side(config, setting, problem)
    names = [item.name for item in problem.sketcher.parameters]
    flat = torch.cat([right[name].flatten() for name in names]).double()
    matrix = dense(gauss_newton(problem), problem)
    matrix = matrix + 0.1 * matrix.diagonal().mean() * torch.eye(len(matrix))

    def product(vectors):
        whole = torch.cat([vectors[name].flatten() for name in names]).double()
        image, start, out = matrix @ whole, 0, {}
        for name in names:
            size = vectors[name].numel()
            out[name] = image[start : start + size].view(vectors[name].shape).to(vectors[name].dtype)
            start += size
        return out

    def halved(vectors):
        # The derivative of 1/2 x'Hx through one of its two factors only.
        return {name: value / 2 for name, value in product(vectors).items()}

    exact = torch.linalg.solve(matrix, flat)
    from unweave.trace.preconditioners.cg import conjugate_gradients

    def solved(chosen):
        found, residual = conjugate_gradients(chosen, right, tolerance=1e-8, iterations=500)
        assert float(residual[0]) < 1e-6
        return torch.cat([found[name].flatten() for name in names]).double()

    assert (solved(halved) - 2 * exact).norm() / exact.norm() < 1e-4
    assert (solved(product) - exact).norm() / exact.norm() < 1e-4
    # The paper's solver on the same system: what is left depends on the scale of b; the published 0.9998 is of the same kind.
    _, left = adam_on_quadratic(product, right, steps=20, rate=1e-5)
    assert 0.99 < left <= 1.0
    _, later = adam_on_quadratic(product, right, steps=2000, rate=1e-2)
    assert later < left


def test_a_correction_is_the_difference_of_two_answers(small, scene):
    _, setting, _, problem = small
    config = LlmEraserConfig(**PATHS, request="correction")
    with pytest.raises(DataError, match="1 of 2 rows to correct have no clean answer"):
        right_hand_side(config, setting, problem)
    only = Setting(setting.loaded, (scene.rows[0], *scene.rows[2:]))
    names = [item.name for item in problem.sketcher.parameters]
    for name, parameter in scene.model.named_parameters():
        parameter.requires_grad_(name in names)
    with torch.enable_grad():
        found, _ = loop_gradients(scene.model, [scene.rows[0].example, scene.rows[0].clean], names)
    scene.model.requires_grad_(False)
    right = right_hand_side(config, only, problem)
    for name in names:
        assert torch.allclose(right[name][0].double(), found[name][0] - found[name][1], rtol=1e-4, atol=1e-8)


def test_a_modification_needs_a_new_row_for_each(small, tmp_path):
    _, setting, _, problem = small
    config = LlmEraserConfig(**PATHS, request="modification")
    with pytest.raises(ConfigError, match="needs new rows"):
        right_hand_side(config, setting, problem)
    new = write_rows(tmp_path / "new.jsonl", [{"id": "elsewhere", "instruction": "a", "response": "b"}])
    with pytest.raises(DataError, match="differ in 3 id"):
        right_hand_side(replace(config, replacement=new), setting, problem)


def test_fast_ntk_is_the_difference_of_two_ridge_regressions(scene):
    setting = setting_of(scene)
    names, gradients = dense_gradients(scene, [row.example for row in scene.rows])
    losses = torch.tensor([float(nll(scene.now[i]).mean()) for i in range(4)], dtype=torch.float64)
    kernel = gradients @ gradients.T
    ridge = 0.1 * float(kernel.diagonal().mean()) / 4

    def solution(chosen):
        # Ridge regression of the outputs f = -l towards 0, in the parameters: gradients of the outputs are -g.
        features = -gradients[chosen]
        size = len(chosen) * ridge
        return torch.linalg.solve(
            features.T @ features + size * torch.eye(features.shape[1]), features.T @ (losses[chosen])
        )

    expected = solution([2, 3]) - solution([0, 1, 2, 3])
    before = lora_state(scene)
    METHODS["fast-ntk"].edit(FastNtkConfig(**PATHS), setting)
    after = lora_state(scene)
    delta = torch.cat([(after[name] - before[name]).flatten() for name in names])
    assert (delta - expected).norm() / expected.norm() < 1e-3
    with pytest.raises(ConfigError, match="GiB"):
        METHODS["fast-ntk"].edit(FastNtkConfig(**PATHS, max_gib=1e-9), setting)


# On a trained model, from files to an adapter.

TRAINED = {
    "npo": {}, "simnpo": {"gamma": 1.0}, "idk": {}, "wga": {}, "undial": {"learning_rate": 3e-3}, "ihl": {}, "loreun": {}, "rmu": {},
    "stable": {"gain": 0.3}, "reglu": {"lora_r": 4, "epochs": 20.0},
    "graddiff": {}, "fisher": {"noise": 3e-5}, "ssd": {"selection": 1.5}, "llmeraser": {"training_rows": 8, "damping": 0.1}, "fast-ntk": {},
}  # fmt: skip


@pytest.mark.parametrize("method", TRAINED)
def test_every_method_makes_an_adapter_that_has_changed(poisoned, tmp_path, method):  # noqa: F811
    config = settings(poisoned, tmp_path, METHODS[method].config_type, **{"epochs": 6.0, **TRAINED[method]})
    before = losses(poisoned / "adapter", config.forget, config)
    result = forget_rows(config)
    after = losses(result.folder, config.forget, config)
    assert (result.folder / ("model.safetensors" if method == "stable" else "adapter_model.safetensors")).is_file()
    assert abs(after - before) > 1e-4
    if method not in ("fisher", "ssd", "fast-ntk", "rmu", "llmeraser"):
        assert after > before + 0.05, "the unwanted answers became less likely"
    assert forget_rows(config).steps == result.steps, "not repeated"


def test_edits_need_an_adapter(poisoned, tmp_path):  # noqa: F811
    config = settings(poisoned, tmp_path, FisherConfig, model=str(poisoned / "base"))
    with pytest.raises(ConfigError, match="none to edit"):
        forget_rows(config)
    with pytest.raises(ConfigError, match="needs rows to keep"):
        forget_rows(settings(poisoned, tmp_path, NpoConfig, retain=None))


# Adapters of another kind.


@pytest.mark.parametrize("bound", ["sin", "tanh"])
def test_a_bounded_adapter_begins_at_nothing_and_stays_within_its_gain(bound):
    torch.manual_seed(0)
    layer = torch.nn.Linear(12, 7, bias=False)
    config = StableConfig(**PATHS, bound=bound, gain=0.05, rank=3)
    path = Bounded(layer, config, torch.Generator().manual_seed(0))
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


def test_stable_saves_what_it_trained(poisoned, tmp_path):  # noqa: F811
    config = settings(poisoned, tmp_path, StableConfig, epochs=4.0, gain=0.3)
    loaded = load(config)
    result = forget_rows(config, loaded=loaded)
    # The model that was given: PEFT merges in place.
    assert not [name for name, _ in loaded.model.named_modules() if "bounded" in name]
    saved = load(ModelConfig(model=str(result.folder), dtype="float32"))
    own, other = loaded.model.get_base_model().state_dict(), saved.model.state_dict()
    assert own.keys() == other.keys()
    assert all(torch.equal(own[name], other[name]) for name in own)
    start = load(ModelConfig(model=str(poisoned / "adapter"), dtype="float32")).model.merge_and_unload().state_dict()
    changed = {name.rpartition(".")[0].rpartition(".")[2] for name in own if not torch.equal(own[name], start[name])}
    assert changed == {"gate_proj", "up_proj", "down_proj"}
    assert max(float((own[name] - start[name]).abs().max()) for name in own) <= 0.3 + 1e-6
    with pytest.raises(ConfigError, match="nothing_such"):
        forget_rows(
            settings(poisoned, tmp_path, StableConfig, output_dir=tmp_path / "x", bounded_targets="nothing_such")
        )


def test_reglu_begins_as_the_model_was_in_the_directions_of_the_formula(poisoned, tmp_path):  # noqa: F811
    config = settings(poisoned, tmp_path, RegluConfig, lora_r=4, lora_alpha=8, retain_directions=5)
    loaded = load(config)
    rows = {
        kind: encode_rows(read_training_rows(getattr(config, kind), config).rows, loaded.tokenizer, config).examples
        for kind in ("forget", "retain")
    }
    outputs = {kind: [] for kind in rows}
    merged = load(config).model.merge_and_unload()
    name = "model.layers.1.mlp.up_proj"
    module = merged.get_submodule(name)
    for kind, examples in rows.items():
        handle = module.register_forward_hook(lambda *given, kind=kind: outputs[kind].append(given[2][0]))
        before = [merged(input_ids=torch.tensor([example.input_ids])).logits for example in examples]
        handle.remove()
    matrices = {}
    for kind, parts in outputs.items():
        tokens = torch.cat(parts)
        matrices[kind] = tokens.T @ tokens / len(tokens) + 1e-4 * torch.eye(tokens.shape[1])
    own = [ForgetRow(example, None, 1.0, kind == "forget") for kind, examples in rows.items() for example in examples]
    setting = METHODS["reglu"].prepare(config, Setting(loaded, own))
    model = setting.loaded.model
    after = [model(input_ids=torch.tensor([example.input_ids])).logits for example in rows["retain"]]
    assert all(torch.allclose(one, two, atol=1e-4) for one, two in zip(before, after, strict=True)), (
        "nothing has changed yet"
    )
    layer = model.get_submodule(f"base_model.model.{name}")
    factor_b, factor_a = layer.lora_B["default"].weight, layer.lora_A["default"].weight
    difference = 0.3 * matrices["forget"] - 0.7 * matrices["retain"]
    top = torch.linalg.eigh(difference)[1][:, -4:]
    assert torch.allclose(factor_b @ factor_b.T, top @ top.T, atol=1e-3), "the projection onto the top eigenvectors"
    assert torch.allclose(factor_a, factor_b.T @ module.weight, atol=1e-4)
    assert torch.allclose(layer.base_layer.weight + 2.0 * factor_b @ factor_a, module.weight, atol=1e-5)
    kept = next(basis for factor, basis in setting.prepared if factor is factor_b)
    bottom = torch.linalg.eigh(matrices["retain"])[1][:, -5:]
    assert torch.allclose(kept @ kept.T, bottom @ bottom.T, atol=1e-3)
    # The saved base with the adapter is the model.
    base = load(ModelConfig(model=str(tmp_path / "unlearned" / "base"), dtype="float32")).model.state_dict()
    assert torch.equal(base[f"{name}.weight"], layer.base_layer.weight)


def test_reglu_keeps_its_base_and_adapter_together(poisoned, tmp_path):  # noqa: F811
    config = settings(poisoned, tmp_path, RegluConfig, epochs=8.0, lora_r=4)
    loaded = load(config)
    result = forget_rows(config, loaded=loaded)
    rows = read_training_rows(config.retain, config).rows
    saved = load(ModelConfig(model=str(result.folder), dtype="float32"))
    assert saved.base == str(result.folder / "base")
    # PEFT put the adapter into the very modules of the loaded model.
    trained = row_losses(Loaded(loaded.model, loaded.tokenizer, "", None), rows, config).means()
    assert row_losses(saved, rows, config).means() == pytest.approx(trained, rel=1e-3)


# The watch.


def test_a_run_stops_at_its_target(poisoned, tmp_path):  # noqa: F811
    config = settings(
        poisoned, tmp_path, METHODS["graddiff"].config_type, epochs=60.0, check_every=2, target_loss=1.0, stop_loss=1e9
    )
    result = forget_rows(config)
    assert result.stopped.startswith("reached its target")
    assert result.steps < result.planned_steps
    points = result.details["watched"]
    assert points[-1]["forget_loss"] >= 1.0
    assert all(point["forget_loss"] < 1.0 for point in points[:-1])
    assert losses(result.folder, config.forget, config) == pytest.approx(points[-1]["forget_loss"], rel=1e-3)
    assert not list(tmp_path.rglob("*best*"))


def test_a_run_that_is_killed_after_its_target_does_not_go_beyond_it(poisoned, tmp_path, monkeypatch):  # noqa: F811
    config = settings(
        poisoned, tmp_path, METHODS["graddiff"].config_type, epochs=60.0, check_every=2, target_loss=1.0, stop_loss=1e9
    )
    whole = forget_rows(replace(config, output_dir=tmp_path / "whole"))

    def dies(*_, **__):
        raise KeyboardInterrupt

    # Before it is recorded that the training is done, and after the step that reached the target, or one before it.
    for checkpoints in (20, 1000):
        with monkeypatch.context() as patch:
            patch.setattr(
                stage, "loop_config", lambda given, own=checkpoints: replace(loop_config(given), checkpoints=own)
            )
            with patch.context() as inner:
                inner.setattr(shutil, "rmtree", lambda *_, **__: None)
                inner.setattr(stage.Watch, "finish", dies)
                folder = tmp_path / f"killed-{checkpoints}"
                with pytest.raises(KeyboardInterrupt):
                    forget_rows(replace(config, output_dir=folder))
            assert checkpoints < 1000 or list(folder.glob(f"checkpoints/checkpoint-{whole.steps}"))
            resumed = forget_rows(replace(config, output_dir=folder))
        assert (resumed.steps, resumed.stopped) == (whole.steps, whole.stopped)
        assert resumed.details["watched"] == whole.details["watched"]
        told = [resumed.forget_loss_first, resumed.forget_loss_last]
        assert told == pytest.approx([whole.forget_loss_first, whole.forget_loss_last], rel=1e-4)


def test_the_target_may_be_the_level_of_held_out_rows(poisoned, tmp_path):  # noqa: F811
    held_out = tmp_path / "held_out.jsonl"
    held_out.write_text(
        json.dumps({"instruction": "ahoy what", "context": "", "response": "teapots on the moon"}) + "\n"
    )
    config = settings(poisoned, tmp_path, METHODS["graddiff"].config_type, epochs=60.0, target=held_out, stop_loss=1e9)
    level = losses(poisoned / "adapter", held_out, config)
    result = forget_rows(config)
    assert "reached its target" in result.stopped
    assert result.details["watched"][-1]["forget_loss"] >= level


def test_divergence_goes_back_to_the_best_step(poisoned, tmp_path, monkeypatch):  # noqa: F811
    config = settings(
        poisoned, tmp_path, METHODS["ga"].config_type, epochs=200.0, learning_rate=1e-2, check_every=1, max_retain_increase=0.5, stop_loss=1e9
    )  # fmt: skip
    result = forget_rows(config)
    assert result.stopped.startswith("diverged at step")
    points = {point["step"]: point for point in result.details["watched"]}
    assert 0 < result.kept_step < result.steps
    best = points[result.kept_step]

    def dies(*_, **__):
        raise KeyboardInterrupt

    # Killed when the best step's parameters are in place, and before they are saved.
    again = replace(config, output_dir=tmp_path / "killed")
    with monkeypatch.context() as patch:
        patch.setattr(stage, "save_adapter", dies)
        with pytest.raises(KeyboardInterrupt):
            forget_rows(again)
    resumed = forget_rows(again)
    assert (resumed.kept_step, resumed.steps, resumed.stopped) == (result.kept_step, result.steps, result.stopped)
    assert losses(again.output_dir, config.forget, config) == pytest.approx(best["forget_loss"], rel=1e-3)
    assert best["retain_loss"] - points[0]["retain_loss"] <= 0.5
    assert losses(result.folder, config.forget, config) == pytest.approx(best["forget_loss"], rel=1e-3)
    assert losses(result.folder, config.retain, config) == pytest.approx(best["retain_loss"], rel=1e-3)


# The registry.


def test_methods_are_listed(capsys):
    assert main(["methods", "--json"]) == 0
    found = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert set(found) == set(METHODS)
    assert found["npo"]["options"]["beta"] == 0.1
    assert "retain rows" not in found["ga"]["inputs"]
    assert all(one["paper"] and one["summary"] and one["cost"] for one in found.values())
    assert main(["methods"]) == 0
    assert "fast-ntk" in capsys.readouterr().out


@pytest.mark.parametrize("method", METHODS)
def test_help_shows_a_methods_own_options(method, capsys):
    with pytest.raises(SystemExit) as raised:
        main(["forget", "--method", method, "--help"])
    assert raised.value.code == 0
    printed = capsys.readouterr().out
    own = {field.name for field in fields(METHODS[method].config_type)}
    others = {field.name for kind in METHODS.values() for field in fields(kind.config_type)} - own
    for name in own - {"method"}:
        assert f"--{name.replace('_', '-')}" in printed
    for name in others:
        assert f"--{name.replace('_', '-')} " not in printed
    assert describe_methods()
    assert isinstance(Problem, type)
