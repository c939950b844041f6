"""Sums over snapshots and approximate unrolling, against slow sums, matrix exponentials and a quadratic trained by gradient descent."""

import torch

from tests.attribution.test_through_training import STEPS, make
from tests.tiny import one, random_examples
from unweave.attribution.segments import Segment, coefficients, make_segments, segments
from unweave.attribution.targets import AnswerLoss
from unweave.attribution.trajectory import trajectory
from unweave.attribution.visits import effective_rates, even_factors, factors_of, nearest
from unweave.gradients.loss import differentiable_losses
from unweave.train.record import Options
from unweave.train.replay import Replay

PLACES = [2, 5]


def states_of(run, places=PLACES):
    replay = Replay(run)
    return [replay.until(place) for place in places]


def gradients(run, function):
    run.model.eval()
    found = torch.autograd.grad(function(run.model), list(run.parameters.values()))
    return torch.cat([own.flatten() for own in found])


def row_gradients(run, state):
    run.load(state)
    return torch.stack(
        [
            gradients(run, lambda model, own=own: differentiable_losses(model, one(own)).sums().sum())
            for own in run.examples
        ]
    )


def preconditioner(run, state):
    roots = [(own / (1 - run.options.beta2**state.step)).sqrt() for own in state.second.values()]
    return torch.cat([1 / (own.flatten() + run.options.epsilon) for own in roots])


def test_a_gradients_effect_in_all_is_what_adamw_makes_of_it():
    """With a second moment that stands still, AdamW is linear: each gradient's effect by moving it alone."""
    options, rates = Options(beta1=0.8, weight_decay=0.3), [0.0, 0.3, 0.2, 0.1]

    def end(given):
        value = mean = 0.0
        for step, (rate, gradient) in enumerate(zip(rates, given, strict=True)):
            value *= 1 - rate * options.weight_decay
            mean = options.beta1 * mean + (1 - options.beta1) * gradient
            value -= rate * mean / (1 - options.beta1 ** (step + 1))
        return value

    expected = [-end([float(step == place) for step in range(4)]) for place in range(4)]
    torch.testing.assert_close(effective_rates(rates, options), torch.tensor(expected, dtype=torch.float64))
    clipped = effective_rates(rates, Options(max_grad_norm=1.0), norms=[4.0, 0.5, 2.0, 1.0])
    assert torch.allclose(
        clipped / effective_rates(rates, Options()), torch.tensor([0.25, 1, 0.5, 1], dtype=torch.float64), atol=1e-5
    )


def test_trajectory_is_the_sum_over_steps():
    run = make()
    target = AnswerLoss(random_examples([8], seed=5)[0], 0)
    states, rates = states_of(run), effective_rates(run.rates, run.options)
    assert nearest(5, PLACES) == [0, 0, 0, 0, 1]
    found = {
        at: trajectory(run, [target], states, factors_of(run, PLACES, rates), at=at)[0] for at in ("snapshot", "end")
    }
    expected = {at: torch.zeros(len(run.examples), dtype=torch.float64) for at in found}
    for step, place in enumerate(nearest(5, PLACES)):
        rows, scale = row_gradients(run, states[place]), preconditioner(run, states[place])
        own = {"snapshot": gradients(run, target)}
        run.load(states[-1])
        own["end"] = gradients(run, target)
        count = sum(run.examples[row].completion_length for row in STEPS[step])
        for row in STEPS[step]:
            for at, wanted in own.items():
                expected[at][row] += rates[step] / count * (wanted * scale * rows[row]).sum()
    for at in found:
        torch.testing.assert_close(found[at], expected[at], rtol=1e-6, atol=1e-12)


def test_without_an_order_every_row_counts_alike():
    run = make()
    found = even_factors(run, PLACES, [0.2, 0.1])
    tokens = sum(example.completion_length for example in run.examples)
    assert torch.allclose(found, torch.tensor([[4 * 0.2 / tokens], [0.1 / tokens]], dtype=torch.float64).expand(2, 6))


def test_the_coefficients_are_those_of_matrix_functions():
    generator = torch.Generator().manual_seed(0)
    fitted, query = (torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((4, 7), (2, 7)))
    fitted[3] = fitted[2]
    scale = torch.rand(7, generator=generator, dtype=torch.float64) + 0.1
    time, matrix = 0.3, fitted.T @ fitted @ torch.diag(scale)
    steps, inside = coefficients((fitted * scale) @ fitted.T, (fitted * scale) @ query.T, time)
    torch.testing.assert_close(query + steps.T @ fitted, query @ torch.linalg.matrix_exp(-time * matrix).T)
    pieces = [torch.linalg.matrix_exp(-time * (k + 0.5) / 400 * matrix) for k in range(400)]
    integral = time * torch.stack(pieces).mean(dim=0)
    torch.testing.assert_close(time * query + inside.T @ fitted, query @ integral.T, rtol=1e-5, atol=1e-6)


def test_segments_are_the_derivative_of_gradient_descent_on_a_quadratic():
    """f = q . x after K steps of x -= lr sum_i s_i w_i (a_i . x - y_i) a_i: its derivative by each w_i, in closed form, and by short segments."""
    generator = torch.Generator().manual_seed(1)
    rows, query = (torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((5, 8), (1, 8)))
    labels, share, rate, total = torch.randn(5, generator=generator, dtype=torch.float64), 1 / 5, 0.02, 120
    hessian = share * rows.T @ rows
    path = [torch.zeros(8, dtype=torch.float64)]
    for _ in range(total):
        path.append(path[-1] - rate * share * (rows @ path[-1] - labels) @ rows)
    eye, exact = torch.eye(8, dtype=torch.float64), torch.zeros(5, dtype=torch.float64)
    for step in range(total):
        left = torch.linalg.matrix_power(eye - rate * hessian, total - 1 - step)
        exact += rate * share * (rows @ path[step] - labels) * (rows @ left @ query[0])
    errors = []
    for length in (40, 10, 2):
        found, own, fitted = torch.zeros(5, dtype=torch.float64), query, share**0.5 * rows
        for first in range(total - length, -1, -length):
            steps, inside = coefficients(fitted @ fitted.T, fitted @ own.T, rate * length)
            middle = path[first + length // 2]
            found += share * (rows @ middle - labels) * (rows @ (rate * length * own + inside.T @ fitted)[0])
            own = own + steps.T @ fitted
        errors.append(float((found - exact).norm() / exact.norm()))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.01, errors


def test_segments_of_a_model_are_those_of_its_dense_matrices():
    run = make()
    target = AnswerLoss(random_examples([8], seed=5)[0], 0)
    states, rates = states_of(run), effective_rates(run.rates, run.options)
    factors = factors_of(run, PLACES, rates)
    parts = make_segments(states, factors, torch.tensor([rates[:4].sum(), rates[4:].sum()]))
    tiny = [Segment(part.state, part.time * 1e-9, part.shares) for part in parts]
    first_order = trajectory(run, [target], states, factors * 1e-9, at="end")
    torch.testing.assert_close(segments(run, [target], tiny), first_order, rtol=1e-4, atol=1e-20)

    from unweave.attribution.segments import _Curvature

    found = segments(run, [target], parts, seed=3)[0]
    run.load(states[-1])
    query, expected = gradients(run, target), torch.zeros(len(run.examples), dtype=torch.float64)
    for number, part in enumerate(reversed(parts)):
        fitted = torch.cat(list(_Curvature(run, part, 99, 64, 1.0, 3 + number)._rows.values()), dim=1)
        scale = preconditioner(run, part.state)
        assert fitted.shape == (6, len(scale))
        values, vectors = torch.linalg.eigh((fitted * scale.sqrt()).T @ (fitted * scale.sqrt()))
        values = values.clamp(min=1e-9)
        turned = vectors.T @ (scale.sqrt() * query)
        inner = scale.sqrt() * (vectors @ (-torch.expm1(-part.time * values) / values * turned))
        expected += part.shares * (row_gradients(run, part.state) @ inner)
        query = (vectors @ (torch.exp(-part.time * values) * turned)) / scale.sqrt()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-12)

    sketched = segments(run, [target], parts, seed=3, memory_gib=1e-9, dimension=4096)[0]
    assert torch.corrcoef(torch.stack([sketched, found]))[0, 1] > 0.99
