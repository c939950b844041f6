"""A family of probes that a test registers works through Python, the command line and YAML, and is in the list, the help, the figures and the page."""

import json

import pytest

import unweave as uw
from tests.folders import save_model
from unweave.cli.main import main
from unweave.evaluation.probes.base import in_words
from unweave.evaluation.probes.registry import PROBES

SIZES = {"max_new_tokens": 2, "gradnorm_rows": 0, "dtype": "float32"}


def backwards(row, beside):
    """The words of the question from last to first."""
    words = row.instruction.split()
    return in_words(row, " ".join(words[::-1]), variant="all") if len(words) > 3 else "too few words"


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setitem(PROBES, "backwards", backwards)


@pytest.mark.usefixtures("registered")
def test_on_the_command_line_and_in_yaml(place, helped, capsys):
    other = save_model(place.folder / "other")
    options = {"forget": place.rows, "before": place.model, "after": other, **SIZES}
    assert place.run("audit", **options, probes=["backwards"], output_dir=place.folder / "one") == 0
    assert place.replay("audit", **options, probes="[backwards]", output_dir=place.folder / "two") == 0
    one, two = (json.loads((place.folder / name / "metrics.json").read_text()) for name in ("one", "two"))
    assert set(one["probes"]) == {"own prompt", "backwards"}
    assert one["probes"]["backwards"]["count"] == 6
    assert one["probes"]["backwards"]["unmade"] == {"too few words": 2}
    assert two["probes"] == one["probes"]
    page = (place.folder / "one" / "audit.html").read_text()
    assert "backwards" in page
    assert "2: too few words" in page
    assert "backwards" in helped("audit")
    assert main(["list", "probes"]) == 0
    assert "The words of the question from last to first." in capsys.readouterr().out


@pytest.mark.usefixtures("registered")
def test_in_python(place):
    model = uw.load_model(place.model)
    report = uw.evaluate(model, forget=place.rows, probes=["backwards"], probe_rows=2, max_new_tokens=2)
    assert report.probes["backwards"].rates["after"].count == 2
    none = uw.evaluate(model, forget=place.rows, probes=(), max_new_tokens=2)
    assert none.probes == {}
    assert "probes: none were asked for" in none.left_out
