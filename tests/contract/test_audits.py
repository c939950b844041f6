"""An attack and a membership measure that a test registers are in an audit's figures, findings and page."""

import json

import pytest

from tests.folders import save_model
from unweave.evaluation.attacks.base import Attack, Figure
from unweave.evaluation.attacks.registry import ATTACKS
from unweave.evaluation.attacks.table import attack_findings
from unweave.evaluation.evaluate import evaluate
from unweave.evaluation.inference import MEMBERSHIP_MEASURES
from unweave.experiments.case import CaseConfig, make_case
from unweave.models.loading import ModelConfig, load

SIZES = {"max_length": 64, "max_new_tokens": 2, "trace_queries": 0, "gradnorm_rows": 0, "dtype": "float32"}


def share(value):
    return {"value": value, "low": value, "high": value}


def whisper(target):
    """Finds more in a model that is called `after`."""
    return {"leaked": share(0.9 if target.label == "after" else 0.1)}


WHISPER = Attack(whisper, lambda _: [Figure("share of whispers", ("leaked",), "share", "higher")])


@pytest.fixture
def case(place):
    sizes = {"clean_rows": 40, "poisoned_rows": 9, "retain_rows": 12, "test_rows": 6, "clean_test_rows": 20}
    return make_case(CaseConfig(**sizes), place.folder / "case").folder


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setitem(ATTACKS, "whisper", WHISPER)
    monkeypatch.setitem(MEMBERSHIP_MEASURES, "length", lambda own: [float(len(text)) for text in own.texts])


@pytest.mark.usefixtures("registered")
def test_both_on_the_command_line_and_in_yaml(place, case, helped):
    other = save_model(place.folder / "other")
    options = {"case": case, "before": place.model, "after": other, "retrained": place.model, **SIZES}
    assert place.run("audit", **options, attacks=["whisper"], output_dir=place.folder / "one") == 0
    assert place.replay("audit", **options, attacks="[whisper]", output_dir=place.folder / "two") == 0
    one, two = (json.loads((place.folder / name / "metrics.json").read_text()) for name in ("one", "two"))
    assert one["attacks"]["after"]["whisper"]["leaked"] == share(0.9)
    assert any("whisper: share of whispers is 90 %" in text for text in one["attack_findings"])
    assert one["membership"]["after"]["length"]["auc"] == one["membership"]["before"]["length"]["auc"]
    assert {**two["attacks"]["after"]["whisper"], "seconds": 0} == {**one["attacks"]["after"]["whisper"], "seconds": 0}
    assert two["membership"] == one["membership"]
    assert "share of whispers" in (place.folder / "one" / "audit.html").read_text()
    assert "whisper" in helped("audit")


@pytest.mark.usefixtures("registered")
def test_what_an_attack_found_is_compared_by_its_own_figures():
    found = {"after": {"whisper": {"leaked": share(0.5)}}, "retrained": {"whisper": {"leaked": share(0.6)}}}
    assert attack_findings(found) == []
    (text,) = attack_findings(found, model="retrained", reference="after")
    assert text == "whisper: share of whispers is 60 % [60, 60], in the retrained model 50 % [50, 50]"


@pytest.mark.usefixtures("registered")
def test_an_attack_from_rows_alone(place):
    other = save_model(place.folder / "other")
    sizes = {"max_length": 64, "max_new_tokens": 2, "gradnorm_rows": 0, "dtype": "float32"}
    options = {"forget": place.rows, "before": place.model, "after": other, "retrained": place.model, **sizes}
    assert place.run("audit", **options, attacks=["whisper"], output_dir=place.folder / "one") == 0
    assert place.replay("audit", **options, attacks="[whisper]", output_dir=place.folder / "two") == 0
    one, two = (json.loads((place.folder / name / "metrics.json").read_text()) for name in ("one", "two"))
    assert one["attacks"] == two["attacks"]
    assert one["attacks"][0]["values"] == {"after": [0.9] * 3, "reference": [0.1] * 3}
    assert any("whisper: share of whispers is 90 %" in reason for reason in one["verdict"]["reasons"])
    assert "suppressed" in one["verdict"]["conclusion"]
    assert "share of whispers" in (place.folder / "one" / "audit.html").read_text()
    model = load(ModelConfig(model=str(other), dtype="float32"))
    report = evaluate(model, forget=place.rows, attacks=["whisper"], max_new_tokens=2)
    assert [one.what for one in report.attacks] == ["share of whispers"]
    assert any("whisper: share of whispers is 90 %" in warning for warning in report.verdict.warnings)
