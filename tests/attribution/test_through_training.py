"""Attribution through training, against retraining itself: central differences of a loop that is written out here, in float64."""

import pytest
import torch

from tests.tiny import random_examples, tiny_model
from unweave.attribution.targets import AnswerLoss, Divergence, OfLogits, log_chances
from unweave.attribution.unrolled import unrolled
from unweave.data.batches import collate
from unweave.gradients.loss import differentiable_losses
from unweave.train.record import Options, step_seed
from unweave.train.replay import Run
from unweave.train.states import State

WHICH = ("h.1.mlp.c_fc.lora", "h.0.attn.c_attn.lora")
STEPS = [[0, 1, 2], [3, 4], [5, 0, 3], [1, 2], [4, 5, 1]]
RATES = [0.0, 3e-3, 2e-3, 2e-3, 1e-3]


def make(mean="tokens", **changes):
    model = tiny_model("gpt2", lora=True)
    model.requires_grad_(False)
    for name, own in model.named_parameters():
        own.requires_grad_(any(part in name for part in WHICH))
    start = {name: own for name, own in model.named_parameters() if own.requires_grad}
    examples = random_examples([7, 5, 9, 6, 8, 5])
    options = Options(**{"weight_decay": 0.1, "max_grad_norm": 1.0, "epsilon": 1e-6, "seed": 3, **changes})
    return Run(model, examples, STEPS, RATES, State.at_start(start), options, 0, mean=mean)


def retrained(run, weights, target, denominator):
    """The target after a training with these weights of rows: torch's AdamW in a plain loop."""
    model, options = run.model, run.options
    run.load(run.start)
    parameters = list(run.parameters.values())
    optimizer = torch.optim.AdamW(
        parameters, betas=(options.beta1, options.beta2), eps=options.epsilon, weight_decay=options.weight_decay
    )
    for number, (step, rate) in enumerate(zip(run.steps, run.rates, strict=True)):
        model.train()
        torch.manual_seed(step_seed(options.seed, number))
        losses = differentiable_losses(model, collate([run.examples[index] for index in step], pad_token_id=0))
        own = weights[step]
        parts, counts = (
            (losses.sums(), losses.counts()) if run.mean == "tokens" else (losses.means(), torch.ones(len(step)))
        )
        below = (own * counts).sum() if denominator == "weighted" else counts.sum()
        optimizer.zero_grad()
        ((own * parts).sum() / below).backward()
        if options.max_grad_norm:
            torch.nn.utils.clip_grad_norm_(parameters, options.max_grad_norm)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
    model.eval()
    with torch.no_grad():
        return float(target(model))


def differences(run, target, rows, denominator, *, width=1e-3):
    """Minus the derivative by each row's weight: central differences at two widths, with the error of the second order taken out (Richardson)."""
    found = []
    for row in rows:
        estimates = []
        for size in (width, width / 2):
            ends = []
            for sign in (1, -1):
                weights = torch.ones(len(run.examples), dtype=torch.float64)
                weights[row] += sign * size
                ends.append(retrained(run, weights, target, denominator))
            estimates.append((ends[0] - ends[1]) / (2 * size))
        found.append(-(4 * estimates[1] - estimates[0]) / 3)
    return torch.tensor(found, dtype=torch.float64)


@pytest.mark.parametrize(
    ("mean", "denominator", "changes"),
    [("tokens", "fixed", {}), ("rows", "weighted", {"max_grad_norm": 0.0, "weight_decay": 0.0})],
)
def test_unrolled_is_the_derivative_of_retraining(mean, denominator, changes):
    run = make(mean, **changes)
    target = AnswerLoss(random_examples([8], seed=5)[0], 0)
    found = unrolled(run, [target], denominator=denominator)[0]
    rows = [0, 4]
    expected = differences(run, target, rows, denominator)
    assert (found[rows] / expected - 1).abs().max() < 1e-7, (found[rows], expected)


def test_little_memory_gives_the_same_numbers():
    run = make()
    targets = [AnswerLoss(random_examples([8], seed=5)[0], 0), AnswerLoss(random_examples([6], seed=6)[0], 0)]
    seen = []
    assert torch.equal(unrolled(run, targets, memory_gib=1e-9, advance=seen.append), unrolled(run, targets))
    assert sum(seen) == len(STEPS) * len(targets), "one target at a time"


def test_targets_are_what_they_say():
    run = make()
    first, second = random_examples([8], seed=5)[0], random_examples([6], seed=6)[0]
    ids = first.input_ids
    base = log_chances(run.model, ids)
    logits = OfLogits(ids, lambda own: torch.logsumexp(own[-1], dim=0) - own[-1, 7])
    with torch.no_grad():
        torch.testing.assert_close(logits(run.model), -base[-1, 7])
        assert float(Divergence(ids, base)(run.model)) == pytest.approx(0.0, abs=1e-12)
        margin = AnswerLoss(first, 0, against=second)(run.model)
        torch.testing.assert_close(margin, AnswerLoss(first, 0)(run.model) - AnswerLoss(second, 0)(run.model))
    targets = [AnswerLoss(first, 0, against=second), Divergence(ids, base), logits]
    found = unrolled(run, targets)
    apart = unrolled(run, [AnswerLoss(first, 0), AnswerLoss(second, 0)])
    torch.testing.assert_close(found[0], apart[0] - apart[1], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(
        found[1:, 3],
        torch.stack([differences(run, own, [3], "fixed")[0] for own in targets[1:]]),
        rtol=1e-6,
        atol=1e-10,
    )
