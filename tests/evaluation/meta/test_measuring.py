"""The readings of models in their states: those of models that know the rows and of one that does not lie apart, and models are left as they were."""

import pytest
import torch

from tests.evaluation.taught import taught
from tests.evaluation.test_evaluate import FORGET, HELD_OUT
from tests.folders import ROWS
from tests.notebook import numbered
from unweave.data.encoding import EncodingConfig
from unweave.data.reading import load_rows
from unweave.evaluation.config import AttackConfig
from unweave.evaluation.evaluate import evaluate
from unweave.evaluation.meta.measuring import Meter
from unweave.evaluation.meta.readings import Reading, readings_of
from unweave.evaluation.meta.table import judge_metrics


@pytest.fixture(scope="module")
def world():
    sets = {"forget": load_rows(FORGET)[:4], "like": load_rows(HELD_OUT)[:4], "retain": load_rows(numbered(ROWS))[:4]}
    return sets, taught([*sets["forget"], *sets["retain"]]), taught(sets["retain"])


@pytest.fixture(scope="module")
def found(world, tmp_path_factory):
    sets, knows, new = world
    attacks = AttackConfig(attacks=("prompts",), attack_rows=2, relearn_steps=2, relearn_rate=1e-3)
    meter = Meter(
        sets, new, EncodingConfig(), tmp_path_factory.mktemp("logits"), attacks, probes=("first_words",), max_new_tokens=6, gradnorm_rows=2
    )  # fmt: skip
    before = [own.clone() for own in knows.model.parameters()]
    states = {
        label: {state: meter.readings(model, state) for state in ("plain", "relearned", "quantised", "polite")}
        for label, model in (("knows", knows), ("new", new))
    }
    assert all(torch.equal(one, two) for one, two in zip(before, knows.model.parameters(), strict=True))
    return states


def test_every_kind_of_metric_is_read(found):
    kinds = {name.split(":")[0].split()[0] for name in found["knows"]["plain"]}
    assert kinds == {"figure", "membership", "probe", "attack", "verdict"}
    # Probes, attacks and gradients are of the plain state alone.
    assert {name.split(":")[0] for name in found["knows"]["polite"]} == {"figure", "membership", "verdict"}
    assert "membership: gradnorm" not in found["knows"]["polite"]


def test_a_model_that_knows_the_rows_reads_higher(found):
    knows, new = found["knows"]["plain"], found["new"]["plain"]
    for name in ("figure: loss", "figure: probability", "figure: rouge_l", "membership: loss", "verdict"):
        assert knows[name].knowledge > new[name].knowledge, name
    assert new["figure: kl_from_reference"].value == pytest.approx(0, abs=1e-6)
    table = judge_metrics([found["knows"]], [found["new"]], case="a test")
    assert table.metrics["figure: loss"].areas["plain"].value == 1.0


def test_relearning_rounding_and_forms_change_what_is_read(found):
    own = {state: found["new"][state]["figure: loss"].value for state in found["new"]}
    assert own["relearned"] < own["plain"]
    assert len(set(own.values())) == 4


def test_an_evaluation_says_how_sure_its_verdict_is(world, found):
    sets, knows, new = world
    table = judge_metrics([found["knows"]], [found["new"]], case="a test")
    report = evaluate(knows, **sets, reference=new, max_new_tokens=0, probes=(), metric_table=table)
    assert report.verdict.certainty[0].startswith(
        "verdict: separated 1 models trained on the rows from 1 that were not"
    )
    assert report.to_json()["verdict"]["certainty"] == report.verdict.certainty
    assert "How sure this is" in report._repr_html_()
    read = readings_of(report)
    assert read["figure: loss"] == Reading(report.figures["after"]["forget"]["loss"].value, False)
