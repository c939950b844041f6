"""Which rows a step sees: the ratio holds, no row comes a second time before all have come, and what has never come is counted."""

import json
import math

import pytest

from tests.tiny import random_examples
from tests.unlearning.test_forget import PATHS, poisoned, settings  # noqa: F401
from unweave.cli.show.forget import summary
from unweave.errors import ConfigError
from unweave.jobs.forget import forget_rows
from unweave.unlearning.config import config_of
from unweave.unlearning.methods import Objective, available, get_method
from unweave.unlearning.methods.graddiff import GradDiff
from unweave.unlearning.rows import ForgetRow
from unweave.unlearning.steps import epochs_of, never_sampled, plan_steps


def sets(forget, retain):
    examples = random_examples([5] * (forget + retain))
    made = [ForgetRow(example, None, 1.0, index < forget) for index, example in enumerate(examples)]
    return made[:forget], made[forget:]


@pytest.mark.parametrize("sampling", ["cycle", "replacement"])
@pytest.mark.parametrize("ratio", [3.0, 1.0, 0.0])
def test_draws_hold_the_ratio(ratio, sampling):
    forget, retain = sets(2, 2 if ratio else 0)
    plan = {"retain_ratio": ratio, "batch_size": 8, "epochs": 100.0, "seed": 3, "sampling": sampling}
    steps = plan_steps(forget, retain, **plan)
    drawn = [row for step in steps for row in step.rows]
    assert sum(row.is_forget for row in drawn) / len(drawn) == pytest.approx(1 / (1 + ratio), abs=0.01)
    assert len(drawn) == 100 * (4 if ratio else 2)
    for step in steps[:-1]:
        assert abs(sum(row.is_forget for row in step.rows) - 8 / (1 + ratio)) <= 1
    assert [step.progress for step in steps] == sorted(step.progress for step in steps)
    assert never_sampled(steps, [*forget, *retain]) == 0


@pytest.mark.parametrize(
    "method", [name for name, one in available().items() if issubclass(one, Objective) and name != "rapidun-published"]
)
def test_no_forget_row_is_left_out_at_the_defaults(method):
    """RapidUn's sampling leaves out 12 to 15 of 39 rows to forget, and fine-tuning on retain rows so a fifth of these."""
    kind, (forget, retain) = config_of(method), sets(40, 200)
    keeps = get_method(method)().samples_retain
    for seed in range(3):
        steps = plan_steps(
            forget, retain if keeps else [], retain_ratio=kind.retain_ratio if keeps else 0.0, batch_size=kind.batch_size, epochs=kind.epochs,
            seed=seed, sampling=kind.sampling,
        )  # fmt: skip
        assert method == "dp2" or never_sampled(steps, forget) == 0
        assert method != "dp2" or never_sampled(steps, retain) == 0
        if keeps and method != "dp2":
            assert all(len({row.is_forget for row in step.rows}) == 2 for step in steps[:-1])


def test_few_rows_get_so_many_steps_and_many_rows_an_epoch():
    plan = {"retain_ratio": 3.0, "batch_size": 8, "epochs": None, "seed": 0}
    few, many = sets(2, 6), sets(200, 600)
    assert [len(plan_steps(*few, **plan)), len(plan_steps(*few, **plan, least=90))] == [60, 90]
    assert [len(plan_steps(*many, **plan)), len(plan_steps(*many, **plan, least=90))] == [100, 100]
    assert get_method("distill").least_steps == 90


def test_a_row_comes_again_when_all_have_come():
    forget, retain = sets(5, 7)
    steps = plan_steps(forget, retain, retain_ratio=1.0, batch_size=4, epochs=3.0, seed=1)
    for own in (forget, retain):
        order = [row.example.row_id for step in steps for row in step.rows if row in own]
        cycles = [order[start : start + len(own)] for start in range(0, len(order), len(own))]
        assert all(len(set(cycle)) == len(cycle) for cycle in cycles)
        assert len({tuple(cycle) for cycle in cycles[:-1]}) > 1, "each time in another order"


def test_with_replacement_some_rows_never_come():
    """n draws from n rows leave each out with probability (1 - 1/n)^n."""
    forget, _ = sets(40, 0)
    plan = {"retain_ratio": 0.0, "batch_size": 1, "epochs": 1.0, "sampling": "replacement"}
    left = [never_sampled(plan_steps(forget, [], seed=seed, **plan), forget) for seed in range(200)]
    mean, expected = sum(left) / len(left), 40 * (1 - 1 / 40) ** 40
    assert mean == pytest.approx(expected, abs=5 * math.sqrt(40 * 0.1) / math.sqrt(200))


@pytest.mark.parametrize("ratio", [0.0, 1.0, math.inf])
def test_the_epochs_of_so_many_steps_make_so_many(ratio):
    forget, retain = sets(5, 7)
    epochs = epochs_of(6, GradDiff(), ratio, batch_size=2, forget=5, retain=7)
    assert len(plan_steps(forget, retain, retain_ratio=ratio, batch_size=2, epochs=epochs, seed=0)) == 6


def test_impossible_plans_are_refused():
    with pytest.raises(ConfigError, match="batches of 0 rows"):
        plan_steps(*sets(2, 2), retain_ratio=3.0, batch_size=0, epochs=1.0, seed=0)


def test_rows_never_drawn_are_shown(poisoned, tmp_path):  # noqa: F811
    few = settings(poisoned, tmp_path, config_of("graddiff"), epochs=0.25, retain_ratio=1.0, batch_size=4)
    result = forget_rows(few)
    assert result.details["never_drawn"] == {"forget": 1, "retain": 5}
    assert any("1 of 2 rows to forget were in no step" in caution for caution in result.details["cautions"])
    lines = summary(result)
    assert lines["forget rows never sampled"] == "1"
    assert json.loads((result.folder / "result.json").read_text())["result"]["details"]["never_drawn"]["retain"] == 5


def test_rows_that_are_kept_are_not_drawn_where_they_count_nothing(poisoned, tmp_path):  # noqa: F811
    kind = config_of("graddiff")
    result = forget_rows(
        settings(poisoned, tmp_path, kind, alpha=0.0, gamma=2.0, retain=None, epochs=2.0, batch_size=2)
    )
    assert result.details["never_drawn"] == {"forget": 0, "retain": 0}
    assert result.planned_steps == 2
    assert any("`gamma`: the forget part is the whole loss" in caution for caution in result.details["cautions"])
