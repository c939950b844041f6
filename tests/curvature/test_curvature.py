"""Preconditioners against dense matrices in float64, on a model small enough to write its curvature down."""

from dataclasses import replace

import pytest
import torch

from tests.reference import loop_gradients
from tests.tiny import random_examples, tiny_model
from unweave.curvature.adam import adam
from unweave.curvature.base import Problem, gradients_of
from unweave.curvature.cg import cg
from unweave.curvature.datainf import datainf
from unweave.curvature.ekfac import ekfac, fit_ekfac
from unweave.curvature.gauss_newton import gauss_newton
from unweave.curvature.trak import trak
from unweave.sketch.config import GradientConfig
from unweave.sketch.sketcher import Sketcher
from unweave.store.store import GradientStore

WHICH = "layers.1.mlp.(gate|down)_proj.lora"


def make(rows=6, which=WHICH, damping=None, kind="llama"):
    model = tiny_model(kind, lora=kind == "llama")
    examples = random_examples([7, 5, 9, 6, 8, 5][:rows])
    sketcher = Sketcher(model, pad_token_id=0, config=GradientConfig(parameters=which, normalize="none"))
    problem = Problem(sketcher, examples, damping=damping)
    names = [item.name for item in sketcher.parameters]
    return problem, {name: piece.double() for name, piece in loop_gradients(model, examples, names)[0].items()}


def test_adam_divides_by_root_second_moments():
    problem, rows = make(damping=0.1)
    queries = gradients_of(problem.sketcher, problem.rows[:2])
    for name, found in adam(problem, queries).items():
        root = rows[name].square().mean(dim=0).sqrt()
        torch.testing.assert_close(found, rows[name][:2] / (root + 0.1 * root.mean()), rtol=1e-8, atol=1e-10)


def test_datainf_is_the_mean_of_inverses():
    problem, rows = make(damping=0.3)
    queries = gradients_of(problem.sketcher, problem.rows[:2])
    for name, found in datainf(problem, queries).items():
        flat = rows[name].flatten(1)
        damping = 0.3 * flat.square().mean()
        eye = torch.eye(flat.shape[1], dtype=torch.float64)
        inverses = torch.stack([torch.linalg.inv(torch.outer(g, g) + damping * eye) for g in flat])
        expected = flat[:2] @ inverses.mean(dim=0)
        torch.testing.assert_close(found.flatten(1), expected, rtol=1e-7, atol=1e-8)


def test_ekfac_is_exact_for_one_row_of_rank_one():
    # One row with one labelled token has a gradient of rank one: EK-FAC's basis contains it, and its curvature is g g^T itself.
    problem, _ = make(rows=1, damping=0.5)
    example = random_examples([4], prompt=3)
    problem = Problem(problem.sketcher, example, damping=0.5)
    queries = gradients_of(problem.sketcher, example)
    found = ekfac(problem, queries, empirical=True)
    for name, query in queries.items():
        left, right = problem.sketcher.model.get_parameter(name).shape
        flat = query.flatten().double()
        assert torch.linalg.matrix_rank(query[0]).item() == 1, name
        expected = query[0] / (flat.square().sum() + 0.5 * flat.square().sum() / (left * right))
        torch.testing.assert_close(found[name][0], expected, rtol=1e-6, atol=1e-9)


def tokens_of(model, example, name):
    """What goes into a linear module at each position of a row, and the gradient of the row's mean loss at its output, by autograd alone."""
    seen = {}
    module = model.get_submodule(name.removesuffix(".weight"))

    def keep(_, inputs, output):
        output.retain_grad()
        seen.update(into=inputs[0].detach()[0], out=output)

    handle = module.register_forward_hook(keep)
    module.weight.requires_grad_()
    ids = torch.tensor([example.input_ids])
    logits = torch.log_softmax(model(input_ids=ids).logits[0, example.prompt_length - 1 : -1], dim=-1)
    (-logits.gather(1, ids[0, example.prompt_length :, None]).mean()).backward()
    handle.remove()
    module.weight.requires_grad_(False)
    module.weight.grad = None
    return seen["into"], seen["out"].grad[0]


def test_ekfac_equals_a_dense_matrix_made_of_its_definition():
    """C = (Q_L x Q_R) diag(Lambda) (Q_L x Q_R)^T written out, each part from single tokens, and solved with its damping."""
    problem, rows = make(damping=0.2)
    queries = gradients_of(problem.sketcher, problem.rows[:2])
    found = ekfac(problem, queries, empirical=True)
    for name, query in queries.items():
        pairs = [tokens_of(problem.sketcher.model, example, name) for example in problem.rows]
        alive = [grads.abs().sum(dim=1) > 0 for _, grads in pairs]
        left = sum(grads[own].T @ grads[own] for (_, grads), own in zip(pairs, alive, strict=True))
        right = sum(into[own].T @ into[own] for (into, _), own in zip(pairs, alive, strict=True))
        basis = torch.kron(torch.linalg.eigh(left)[1], torch.linalg.eigh(right)[1])
        gradients = torch.stack([(grads.T @ into).flatten() for into, grads in pairs])
        torch.testing.assert_close(gradients, rows[name].flatten(1), rtol=1e-7, atol=1e-10)
        spectrum = (gradients @ basis).square().mean(dim=0)
        dense = basis @ torch.diag(spectrum) @ basis.T
        damped = dense + 0.2 * spectrum.mean() * torch.eye(len(dense), dtype=torch.float64)
        expected = torch.linalg.solve(damped, query.flatten(1).double().T).T
        torch.testing.assert_close(found[name].flatten(1).double(), expected, rtol=1e-5, atol=1e-8)


def dense_gauss_newton(problem):
    """J^T H J, J by autograd row after row: the definition."""
    model, names = problem.sketcher.model, [item.name for item in problem.sketcher.parameters]
    parameters = [model.get_parameter(name).requires_grad_() for name in names]
    size = sum(parameter.numel() for parameter in parameters)
    total = torch.zeros(size, size, dtype=torch.float64)
    for example in problem.rows:
        ids = torch.tensor([example.input_ids])
        logits = model(input_ids=ids).logits[0, example.prompt_length - 1 : -1]
        for token in logits:
            rows = [
                torch.cat([g.flatten() for g in torch.autograd.grad(value, parameters, retain_graph=True)])
                for value in token
            ]
            jacobian, chances = torch.stack(rows), torch.softmax(token.detach(), dim=-1)
            curvature = torch.diag(chances) - torch.outer(chances, chances)
            total += jacobian.T @ curvature @ jacobian / len(logits) / len(problem.rows)
    for parameter in parameters:
        parameter.requires_grad_(False)
    return total, names


def test_ekfac_has_the_trace_of_the_dense_gauss_newton_matrix_whatever_the_rows_lengths():
    # Rows of 1 and of 16 labelled tokens: the covariance of the mean's gradients would give the long ones a 16th of their weight.
    which = "layers.1.mlp.down_proj.lora_A"
    problem, _ = make(rows=1, which=which)
    rows = [*random_examples([4], prompt=3), *random_examples([19], prompt=3, seed=1)]
    for reduction in ("mean", "sum"):
        config = replace(problem.sketcher.config, reduction=reduction)
        sketcher = Sketcher(problem.sketcher.model, pad_token_id=0, config=config)
        traces = {"short": rows[:1], "long": rows[1:]}
        for name, own in traces.items():
            dense, (tensor,) = dense_gauss_newton(Problem(sketcher, own))
            expected = dense.trace() * (len(own[0].input_ids) - own[0].prompt_length if reduction == "sum" else 1)
            # Labels are drawn from the model: many draws of the same row.
            fitted = fit_ekfac(Problem(sketcher, own * 400))
            assert fitted.eigenvalues[tensor].sum().item() == pytest.approx(expected.item(), rel=0.15), (
                reduction,
                name,
            )


def test_ekfac_approaches_the_dense_inverse_for_rows_of_different_lengths():
    which = "layers.1.mlp.down_proj.lora_A"
    problem, _ = make(rows=1, which=which)
    rows = [*random_examples([4], prompt=3), *random_examples([15], prompt=3, seed=1)]
    problem = Problem(problem.sketcher, rows * 200, damping=1.0)
    dense, (tensor,) = dense_gauss_newton(Problem(problem.sketcher, rows))
    mean = dense.diagonal().mean()
    query = gradients_of(problem.sketcher, rows)
    found = fit_ekfac(problem)(query)[tensor].flatten(1).double()
    exact = torch.linalg.solve(dense + mean * torch.eye(len(dense)), query[tensor].flatten(1).double().T).T
    slope = (found * exact).sum() / exact.square().sum()
    assert slope.item() == pytest.approx(1.0, abs=0.1)
    assert torch.nn.functional.cosine_similarity(found.flatten(), exact.flatten(), dim=0) > 0.95


def test_each_says_its_damping_in_one_measure():
    told = []
    problem, _ = make(rows=4, which="layers.1.mlp.down_proj.lora_A", damping=0.2)
    problem = replace(problem, note=told.append)
    queries = gradients_of(problem.sketcher, problem.rows[:1])
    for method in (ekfac, datainf, cg, adam):
        method(problem, queries)
    size = sum(query[0].numel() for query in queries.values())
    by_tensor, by_tensor_too, spanned, root = told
    assert (by_tensor.of_mean, by_tensor_too.of_mean, root.of_mean) == (0.2, 0.2, None)
    assert spanned.of_mean == pytest.approx(0.2 * size / 4), "over the rows' directions it is D / n times as much"
    dense, _ = dense_gauss_newton(problem)
    assert spanned.least == pytest.approx(0.2 * dense.trace().item() / 4, rel=0.5)


def test_cg_solves_the_dense_damped_gauss_newton_system():
    problem, rows = make(rows=3, which="layers.1.mlp.down_proj.lora_A", damping=0.1)
    dense, names = dense_gauss_newton(problem)
    vector = {
        name: torch.randn(2, *problem.sketcher.model.get_parameter(name).shape, dtype=torch.float64) for name in names
    }
    image = gauss_newton(problem)(vector)
    product = gauss_newton(problem)
    again = [product(vector) for _ in range(2)][1]
    fresh = gauss_newton(problem, held_share=0.0)(vector)
    for name in names:
        torch.testing.assert_close(again[name], image[name], rtol=1e-12, atol=0)
        torch.testing.assert_close(fresh[name], image[name], rtol=1e-12, atol=0)
    flat = torch.cat([vector[name].flatten(1) for name in names], dim=1)
    torch.testing.assert_close(
        torch.cat([image[name].flatten(1) for name in names], dim=1), flat @ dense, rtol=1e-5, atol=1e-6
    )
    queries = gradients_of(problem.sketcher, problem.rows[:1])
    solution = torch.cat([cg(problem, queries)[name][0].flatten() for name in names])
    right = torch.cat([rows[name][0].flatten() for name in names])
    # The mean eigenvalue is estimated from random probes; the one that fits the solution best must be near the true one.
    mean = dense.diagonal().sum() / 3  # three rows
    residuals = {
        factor: ((dense @ solution + 0.1 * factor * mean * solution - right).norm() / right.norm()).item()
        for factor in (0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3)
    }
    assert min(residuals.values()) < 0.05


def test_gauss_newton_holds_for_fused_attention_and_notices_a_change():
    problem, _ = make(rows=3)
    model = problem.sketcher.model
    vector = {item.name: torch.randn(1, *item.parameter.shape).double() for item in problem.sketcher.parameters}
    found = {}
    for kind in ("eager", "sdpa"):
        model.set_attn_implementation(kind)
        product = gauss_newton(problem)
        found[kind] = product(vector)
    for name, own in found["eager"].items():
        torch.testing.assert_close(found["sdpa"][name], own, rtol=1e-3, atol=1e-7)
    with torch.no_grad():
        problem.sketcher.parameters[0].parameter.mul_(2)
    with pytest.raises(RuntimeError, match="parameters have changed"):
        product(vector)


@pytest.mark.parametrize("kind", ["gpt2"])
def test_ekfac_and_cg_take_conv1d_biases_and_norms(kind):
    problem, _ = make(kind=kind, which="h.1.(mlp.c_fc|ln_2)")
    queries = gradients_of(problem.sketcher, problem.rows[:2])
    for method in (ekfac, cg, datainf, adam):
        found = method(problem, queries)
        for name, query in queries.items():
            assert found[name].shape == query.shape
            assert torch.isfinite(found[name]).all()
            # The inverse of a positive definite matrix keeps the sign of g^T P g.
            assert (found[name] * query).sum() > 0


def test_trak_is_the_dense_inverse(tmp_path):
    from tests.store.test_store import make_spec

    store = GradientStore.create(tmp_path / "s", make_spec(number_format="float32", dimension=48))
    rows = torch.randn(10, 48, generator=torch.Generator().manual_seed(0))
    ids = [f"r{index}" for index in range(10)]
    with store.writing():
        store.commit(ids, rows, torch.ones(10), torch.ones(10))
    queries = torch.randn(2, 48, generator=torch.Generator().manual_seed(1))
    found = trak(store.read(ids), queries, damping=0.2)
    shift = 0.2 * rows.square().sum(dim=1).mean() / 10
    dense = (rows.T @ rows / 10 + shift * torch.eye(48)).double()
    torch.testing.assert_close(found.double(), torch.linalg.solve(dense, queries.double().T).T, rtol=1e-4, atol=1e-4)
