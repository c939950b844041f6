"""No option of a method that edits does nothing: each changes the result at the defaults, as does each weight; or that is said."""

from dataclasses import fields, replace

import pytest
import torch

from tests.unlearning.methods.edited import Scene
from unweave.unlearning.config import ForgetConfig, config_of

OTHERS = {
    "fisher": {"noise": 0.2, "max_inverse": 0.5, "max_noise": 0.5, "scale": 0.5, "seed": 1},
    "ssd": {"selection": 5.0, "dampening": 0.5, "scale": 0.5},
    "llmeraser": {
        "training_rows": 20, "request": "correction", "curvature": "hessian", "curvature_from": "all", "metric": "identity", "damping": 0.5,
        "solver": "adam", "preconditioner": "ekfac", "iterations": 2, "tolerance": 0.5, "scale": 0.5, "curvature_rows": 2, "probes": 5, "seed": 1,
        "rounds": 2,
    },
    "fast-ntk": {"outputs": 2, "ridge": 1.0, "scaling": "trapezium", "scale": 0.5},
}  # fmt: skip
BESIDE = {"fast-ntk": {"scaling": "formula"}}
"""Where a method's options need another: a target says how far to go whatever the first factor, and random rows have none that fits."""

ONE = {"curvature": {"iterations": 1}}
"""Where one option does: conjugate gradients diverge on a Hessian of random rows, which is not positive."""

SAID = {"llmeraser": {"solver_rate", "replacement", "l2"}}
"""Options that act beside another only, which a caution says or the method's own test has."""

LIMITS = {"method", "adapter_mode", "token_budget", "max_gib", "max_residual"}
"""What says how rows are batched, what is refused or what is reported."""


@pytest.fixture(scope="module")
def scene():
    return Scene()


@pytest.fixture(scope="module")
def plain(scene):
    return {method: scene.edit(method, **BESIDE.get(method, {}))[0] for method in OTHERS}


@pytest.mark.parametrize("method", OTHERS)
def test_every_option_has_its_test(method):
    own = {field.name for field in fields(config_of(method))} - {field.name for field in fields(ForgetConfig)}
    assert own - LIMITS <= set(OTHERS[method]) | SAID.get(method, set())


@pytest.mark.parametrize(("method", "option"), [(method, option) for method, own in OTHERS.items() for option in own])
def test_an_option_changes_the_result(scene, plain, method, option):
    beside = {**BESIDE.get(method, {}), **ONE.get(option, {})}
    delta, _ = scene.edit(method, **{**beside, option: OTHERS[method][option]})
    before = scene.edit(method, **beside)[0] if option in ONE else plain[method]
    assert float((delta - before).norm() / before.norm()) > 1e-4


@pytest.mark.parametrize("method", OTHERS)
def test_weights_of_rows_change_the_result_unless_they_are_equal(scene, plain, method):
    even = Scene(weighted=False)
    delta, _ = even.edit(method, **BESIDE.get(method, {}))
    assert float((delta - plain[method]).norm() / plain[method].norm()) > 1e-3


@pytest.mark.parametrize("method", OTHERS)
def test_a_row_of_weight_zero_is_as_if_it_were_not_there(method):
    absent, silent = Scene(weighted=False), Scene(weighted=False)
    given = [silent.rows[0], silent.rows[2], silent.rows[5]]
    absent.rows = tuple(row for row in absent.rows if row.example.row_id in {one.example.row_id for one in given})
    silent.rows = tuple(row if row in given else replace(row, weight=0.0) for row in silent.rows)
    # The number of rows that stay is that of the rows given; weights of zero take rows from it.
    options = BESIDE.get(method, {})
    assert torch.allclose(silent.edit(method, **options)[0], absent.edit(method, **options)[0], rtol=1e-5, atol=1e-12)
