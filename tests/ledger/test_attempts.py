"""What is tried next, from what was tried: rates up and down, methods in turn, retraining at last, and within the time."""

import pytest

from unweave.ledger.attempts import RATES, Plan, next_attempt
from unweave.ledger.tried import Tried
from unweave.unlearning.outcome import FASTER, SLOWER

PLAN = Plan(
    methods=("npo", "wga"),
    rates={"npo": 1e-4, "wga": 2e-4},
    options={"batch_size": 8},
    retraining=1000.0,
    attempt=100.0,
    limit=3600.0,
)


def made(method="npo", rate=1e-4, *, unmet=("loss",), reason=None, seconds=10.0, figures=True):
    figures = {"loss": 1.0, "answers": 3.0, "others": 0.1} if figures else {}
    return Tried(method, {"batch_size": 8, "learning_rate": rate}, seconds, figures, list(unmet), reason)


def rate_of(*tried):
    return next_attempt(PLAN, tried).options["learning_rate"]


def test_the_first_method_is_tried_at_its_own_rate():
    first = next_attempt(PLAN, [])
    assert (first.method, first.options) == ("npo", {"batch_size": 8, "learning_rate": 1e-4})


def test_nothing_is_tried_once_the_criteria_are_met():
    assert next_attempt(PLAN, [made(unmet=())]) is None


@pytest.mark.parametrize(
    ("unmet", "reason", "factor"),
    [
        (("loss",), None, FASTER),
        (("loss", "answers"), None, FASTER),
        (("others",), "reached its target at step 5", SLOWER),
        (("loss",), "diverged at step 5", SLOWER),
    ],
)
def test_the_rate_goes_up_after_too_little_and_down_after_too_much(unmet, reason, factor):
    assert rate_of(made(unmet=unmet, reason=reason)) == pytest.approx(1e-4 * factor)


def test_an_attempt_that_left_no_model_went_too_far():
    assert rate_of(made(figures=False, unmet=("no model",))) == pytest.approx(1e-4 * SLOWER)


def test_a_rate_between_two_others_is_their_geometric_mean():
    slow, fast = made(), made(rate=1e-4 * FASTER, unmet=("others",))
    assert rate_of(slow, fast) == pytest.approx(1e-4 * FASTER**0.5)
    assert not {rate_of(slow, fast)} & {1e-4, 1e-4 * FASTER}


def test_the_next_method_comes_after_so_many_rates_and_retraining_after_the_last():
    tried = []
    for method in PLAN.methods:
        for _ in range(RATES):
            attempt = next_attempt(PLAN, tried)
            assert attempt.method == method
            tried.append(made(method, attempt.options["learning_rate"]))
    assert next_attempt(PLAN, tried).method == "retrain"
    tried.append(Tried("retrain", {}, 900.0, {"loss": 3.0, "answers": 0.0, "others": 0.2}, ["others"]))
    assert next_attempt(PLAN, tried) is None


def test_attempts_may_take_half_of_what_retraining_takes():
    assert next_attempt(PLAN, [made(seconds=390.0)]).method == "npo"
    assert next_attempt(PLAN, [made(seconds=410.0)]).method == "retrain"


def test_retraining_that_would_end_too_late_is_not_begun():
    short = Plan(**{**PLAN.__dict__, "limit": 600.0})
    assert next_attempt(short, [made(seconds=410.0)]) is None
    without = Plan(**{**PLAN.__dict__, "retraining": None, "limit": 600.0})
    assert next_attempt(without, [made(seconds=410.0)]).method == "npo", "all of the time is for attempts"
    assert next_attempt(without, [made(seconds=510.0)]) is None


def test_a_method_without_a_rate_is_tried_once():
    plan = Plan(**{**PLAN.__dict__, "methods": ("fisher",), "rates": {}, "options": {}, "retraining": None})
    assert next_attempt(plan, []).method == "fisher"
    assert next_attempt(plan, [Tried("fisher", {}, 1.0, {"loss": 0.1}, ["loss"])]) is None


def test_the_first_attempt_is_made_whatever_it_takes():
    assert next_attempt(Plan(**{**PLAN.__dict__, "attempt": 1e9}), []) is not None
