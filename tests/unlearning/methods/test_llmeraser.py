"""LLMEraser (Ding et al., arXiv 2412.00383): Newton's step is exact on quadratics, and the damped system is solved as a dense one is."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from tests.folders import write_rows
from tests.unlearning.methods.edited import Scene, close, configured
from unweave.curvature.cg import conjugate_gradients
from unweave.curvature.solver import adam_on_quadratic
from unweave.data.encoding import Example
from unweave.errors import ConfigError, DataError
from unweave.models.loading import Loaded
from unweave.unlearning.applying import change
from unweave.unlearning.config import method_of
from unweave.unlearning.context import Context
from unweave.unlearning.edits import llmeraser
from unweave.unlearning.edits.llmeraser import COMING, rows_of_curvature
from unweave.unlearning.rows import ForgetRow


class Quadratics:
    """Rows with losses (theta - c)' H (theta - c) / 2: what is exact on them is exact to the last digit."""

    def __init__(self, weights):
        torch.manual_seed(0)
        self.size = 5
        self.matrices, self.centers = {}, {}
        self.rows = []
        for index, weight in enumerate(weights):
            for kind in ("old", "new"):
                root = torch.randn(self.size, self.size, dtype=torch.float64)
                self.matrices[f"{kind}{index}"] = root @ root.T + torch.eye(self.size)
                self.centers[f"{kind}{index}"] = torch.randn(self.size, dtype=torch.float64)
            example, clean = (Example(f"{kind}{index}", (1, 2), 1) for kind in ("old", "new"))
            self.rows.append(ForgetRow(example, clean, weight, index < 3))
        self.theta = self.minimum(self.rows)

    def minimum(self, rows):
        matrices = [row.weight * self.matrices[row.example.row_id] for row in rows]
        moments = [row.weight * self.matrices[row.example.row_id] @ self.centers[row.example.row_id] for row in rows]
        return torch.linalg.solve(sum(matrices), sum(moments))

    def edited(self, monkeypatch, **options):
        """What the method makes of the minimum of all rows, its products and gradients being those of the quadratics."""
        theta = self.theta.clone()
        parameter = SimpleNamespace(name="w", parameter=theta)

        def problem_of(_, __, rows):
            sketcher = SimpleNamespace(parameters=[parameter], model=torch.nn.Linear(1, 1))
            return SimpleNamespace(rows=rows, sketcher=sketcher)

        def gauss_newton(problem):
            matrix = sum(row.weight * self.matrices[row.example.row_id] for row in problem.rows)
            matrix = matrix / sum(row.weight for row in problem.rows)
            return lambda vectors: {"w": vectors["w"] @ matrix}

        def summed(problem):
            gradients = [
                row.weight * self.matrices[row.example.row_id] @ (self.theta - self.centers[row.example.row_id])
                for row in problem.rows
            ]
            return {"w": sum(gradients)[None]}

        def applied(_, parameters, delta, *, name, first, target):
            del name, target
            change(parameters, {name: first * value for name, value in delta.items()})
            return {"cautions": []}

        for name, own in {
            "problem_of": problem_of,
            "gauss_newton": gauss_newton,
            "summed": summed,
            "apply_edit": applied,
        }.items():
            monkeypatch.setattr(llmeraser, name, own)
        exact = {"damping": 0.0, "metric": "identity", "tolerance": 1e-15, "iterations": 100, "curvature_rows": 0}
        config = configured("llmeraser", **{**exact, **options})
        method_of(config).edit(Context(Loaded(torch.nn.Linear(1, 1), None, "", "own"), self.rows, config))
        return theta


@pytest.mark.parametrize("weights", [[1.0] * 8, [0.5, 2.0, 1.0, 1.5, 0.25, 1.0, 3.0, 0.75]])
@pytest.mark.parametrize("request_kind", ["removal", "correction"])
def test_a_quadratic_loss_makes_the_edit_exact(weights, request_kind, monkeypatch):
    toy = Quadratics(weights)
    staying = toy.rows[3:]
    coming = [replace(row, example=row.clean) for row in toy.rows[:3]] if request_kind == "correction" else []
    exact = toy.minimum([*staying, *coming])
    found = toy.edited(monkeypatch, request=request_kind)
    assert float((found - exact).norm() / (toy.theta - exact).norm()) < 1e-12
    # Divided by all n rows, as it was, the step is (n - F) / n of the exact one.
    share = sum(row.weight for row in staying) / sum(row.weight for row in toy.rows)
    if not coming:
        short = toy.theta + share * (exact - toy.theta)
        assert float((short - exact).norm() / (toy.theta - exact).norm()) == pytest.approx(1 - share)
        assert 1 - share > 0.2


def test_the_formula_itself_is_of_all_rows(monkeypatch):
    toy = Quadratics([1.0] * 8)
    found = toy.edited(monkeypatch, curvature_from="all")
    matrix = sum(toy.matrices[f"old{index}"] for index in range(8))
    gradients = sum(toy.matrices[f"old{index}"] @ (toy.theta - toy.centers[f"old{index}"]) for index in range(3))
    assert close(found - toy.theta, torch.linalg.solve(matrix, gradients), 1e-12)


def test_rows_that_are_not_given_count_too():
    rows = [ForgetRow(Example(f"{index}", (1, 2), 1), None, 1.0, index < 2) for index in range(6)]
    config = configured("llmeraser")
    assert rows_of_curvature(config, rows[:2], rows[2:], []) == 4
    assert rows_of_curvature(replace(config, training_rows=100), rows[:2], rows[2:], []) == 98
    assert rows_of_curvature(replace(config, training_rows=100), rows[:2], rows[2:], rows[:2]) == 100
    assert rows_of_curvature(replace(config, training_rows=100, curvature_from="all"), rows[:2], rows[2:], []) == 100
    with pytest.raises(ConfigError, match="none would stay"):
        rows_of_curvature(replace(config, training_rows=2), rows[:2], rows[2:], [])


@pytest.fixture(scope="module")
def small():
    """The factors of one layer, so that dense matrices are small."""
    return Scene(parameters="layers.1.self_attn.q_proj")


@pytest.fixture
def limited(small, monkeypatch):
    """Edit the scene's own parameters alone."""
    monkeypatch.setattr(llmeraser, "problem_of", small.limited(llmeraser.problem_of))
    return small


def dense_gauss_newton(scene, rows):
    """sum_i w_i / T_i sum_t J' (diag p - p p') J / sum_i w_i, J row by row of the answer's logits."""
    size, total = len(scene.state()), 0.0
    matrix = torch.zeros(size, size, dtype=torch.float64)
    for row in rows:
        jacobian, logits = scene.gradients(lambda logits, _: logits.flatten(), row.example)
        tokens = len(row.example.label_positions)
        for own, chances in zip(
            jacobian.view(tokens, -1, size), torch.softmax(logits.view(tokens, -1), dim=-1), strict=True
        ):
            matrix += row.weight / tokens * own.T @ (chances.diag() - torch.outer(chances, chances)) @ own
        total += row.weight
    return matrix / total


@pytest.mark.parametrize("preconditioner", ["none", "ekfac"])
@pytest.mark.parametrize("metric", ["identity", "adam"])
def test_the_damped_system_is_solved_as_a_dense_one(limited, curvature, preconditioner, metric):
    scene = limited
    delta, told = scene.edit(
        "llmeraser", tolerance=1e-7, iterations=400, preconditioner=preconditioner, metric=metric, damping=0.1
    )
    diagonal = torch.ones(len(curvature), dtype=torch.float64)
    if metric == "adam":
        roots = [own.sqrt().flatten() for own in scene.split(scene.fisher(scene.retain)).values()]
        diagonal = torch.cat([root + 0.1 * root.mean() for root in roots])
    weights = torch.tensor([row.weight for row in scene.forget], dtype=torch.float64)
    right = weights @ scene.loss_gradients(scene.forget)
    matrix = curvature + told["damping"] * diagonal.diag()
    expected = torch.linalg.solve(matrix, right) / sum(row.weight for row in scene.retain)
    assert told["residual"] < 1e-6
    assert close(delta, expected, 1e-3)


@pytest.fixture(scope="module")
def curvature(small):
    return dense_gauss_newton(small, small.retain)


def test_an_unsolved_system_is_said_and_its_time_told_before(limited, monkeypatch):
    lines = []
    monkeypatch.setattr(llmeraser.progress, "say", lines.append)
    monkeypatch.setattr(llmeraser, "NOTEWORTHY", 0.0)
    _, told = limited.edit("llmeraser", iterations=1)
    assert told["residual"] > 1e-2
    assert any("relative residual" in caution and "`iterations`" in caution for caution in told["cautions"])
    assert any("a product with the curvature takes" in line and "1 at most" in line for line in lines)


def test_options_that_others_put_out_of_use_are_said(limited):
    _, told = limited.edit("llmeraser", solver_rate=1e-3)
    assert any("`solver_rate`" in caution for caution in told["cautions"])
    _, told = limited.edit("llmeraser", solver="adam", solver_rate=1e-3, iterations=2)
    assert not any("`solver_rate`" in caution for caution in told["cautions"])


def test_the_public_codes_two_errors_beside_ours(curvature, limited):
    """Its product misses half of H, so that it converges to 2 H^-1 b; its budget of 20 steps of 1e-5 leaves 0.9998 of the residual."""
    matrix = curvature + 0.1 * curvature.diagonal().mean() * torch.eye(len(curvature))
    right = {"w": limited.loss_gradients(limited.forget).sum(dim=0)[None]}
    exact = torch.linalg.solve(matrix, right["w"][0])

    def product(vectors):
        return {"w": vectors["w"] @ matrix}

    def halved(vectors):
        # The derivative of 1/2 x'Hx through one of its two factors only.
        return {"w": vectors["w"] @ matrix / 2}

    for chosen, factor in ((halved, 2), (product, 1)):
        found, residual = conjugate_gradients(chosen, right, tolerance=1e-8, iterations=500)
        assert float(residual[0]) < 1e-6
        assert close(found["w"][0], factor * exact, 1e-4)
    # The paper's solver on the same system: what is left depends on the scale of b; the published 0.9998 is of the same kind.
    _, left = adam_on_quadratic(product, right, steps=20, rate=1e-5)
    assert 0.99 < left <= 1.0
    _, later = adam_on_quadratic(product, right, steps=2000, rate=1e-2)
    assert later < left


def test_a_correction_is_the_difference_of_two_answers(limited):
    scene, config = limited, configured("llmeraser", request="correction")
    assert any(row.clean is None for row in scene.retain)
    with pytest.raises(DataError, match="1 of 2 rows to correct have no clean answer"):
        COMING["correction"](config, scene.context(config), [scene.rows[0], replace(scene.rows[1], clean=None)])
    coming = COMING["correction"](config, scene.context(config), scene.forget)
    right = llmeraser.right_hand_side(scene.context(config), config, scene.forget, coming)
    weights = torch.tensor([row.weight for row in scene.forget], dtype=torch.float64)
    expected = weights @ (scene.loss_gradients(scene.forget) - scene.loss_gradients(coming))
    assert close(torch.cat([right[name].flatten() for name in scene.parameters]).double(), expected, 1e-4)


def test_a_modification_needs_a_new_row_for_each(limited, tmp_path):
    config = configured("llmeraser", request="modification")
    new_rows = COMING["modification"]
    with pytest.raises(ConfigError, match="needs new rows"):
        new_rows(config, limited.context(config), limited.forget)
    new = write_rows(tmp_path / "new.jsonl", [{"id": "elsewhere", "instruction": "a", "response": "b"}])
    with pytest.raises(DataError, match="differ in 3 id"):
        new_rows(replace(config, replacement=new), limited.context(config), limited.forget)
