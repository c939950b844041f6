"""The probes of a certificate: few rows, no text, a finding where they still come out, and nothing of them for certificates of before."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from tests.ledger.ledgers import World
from tests.tiny import TinyTokenizer, tiny_model
from unweave.data.encoding import EncodingConfig
from unweave.data.rows import Row
from unweave.errors import ConfigError
from unweave.evaluation.probes.registry import DEFAULTS
from unweave.ledger.certificate import NOT_MEASURED, _not_measured
from unweave.ledger.criteria import Criteria, _probes_allowed, outcomes
from unweave.ledger.probing import ROWS, probe_finding, probed, require_generated
from unweave.models.model import Model
from unweave.stats.intervals import share


def side(asked, leaked, *, generated=True):
    own = {"asked": asked, "leaked": [f"r{i}" for i in range(leaked)], "unmade": {}, "generated": generated}
    return {"probes": {"rows": asked, "families": {"paraphrase": own}}}


def test_a_finding_where_more_than_one_in_twenty_comes_out():
    words = probe_finding(side(20, 18), side(20, 2))
    assert words is not None
    assert words.startswith("of 20 other questions")
    assert "2 are still answered" in words
    assert "18 before" in words
    assert probe_finding(side(20, 18), side(20, 1)) is None
    assert probe_finding(side(20, 18, generated=False), side(20, 9, generated=False)) is None, "a choice may be a guess"
    assert probe_finding({}, {}) is None, "certificates of before have none"


def test_few_rows_are_probed_and_no_text_is_kept():
    model = Model(tiny_model("llama"), TinyTokenizer.make())
    rows = [Row(f"r{i}", f"what is the capital of Peru {i} ?", f"hello {i} Lima") for i in range(9)]
    found = probed(model, {"forget": rows, "test": rows[:2]}, EncodingConfig())
    assert found["rows"] == ROWS
    assert set(found["families"]) == set(DEFAULTS)
    for own in found["families"].values():
        assert own["asked"] + sum(own["unmade"].values()) == ROWS
    assert "Lima" not in json.dumps(found)
    assert "Peru" not in json.dumps(found)


def test_what_is_not_measured_is_as_it_was_where_there_are_no_probes():
    assert _not_measured({}, exact=False) == list(NOT_MEASURED.values())
    words = _not_measured(side(1, 0), exact=False)
    assert any("and the probes" in text for text in words)
    assert not any("paraphrases" in text for text in words)


def test_a_certificate_has_the_probes_of_both_models_and_is_verified(trained, tmp_path):
    (tmp_path / "train.jsonl").write_bytes((trained / "train.jsonl").read_bytes())
    world = World(trained, tmp_path)
    world.add("r12", "r32", request_id="one", store=None)
    world.run("one")
    certificate = json.loads((world.result("one") / "certificate.json").read_text())
    for when in ("before", "after"):
        assert certificate["measured"][when]["probes"]["rows"] == 2
    assert world.faults("one") == []
    page = (world.result("one") / "certificate.html").read_text()
    assert "other questions that give a row away" in page


def test_probes_as_a_criterion_have_a_target_and_a_figure_in_the_certificate(trained, tmp_path):
    (tmp_path / "train.jsonl").write_bytes((trained / "train.jsonl").read_bytes())
    world = World(trained, tmp_path)
    world.add("r12", "r32", request_id="one", store=None)
    world.run("one", probes=("paraphrase", "first_words"), probes_allowed=4)
    certificate = json.loads((world.result("one") / "certificate.json").read_text())
    named, outcome = (certificate["criteria"][name] for name in ("named", "outcomes"))
    assert named["probes"] == ["paraphrase", "first_words"]
    assert named["probes_asked"] == 4
    assert outcome["probes"]["wanted"] == 4
    assert outcome["probes"]["met"]
    assert outcome["probes"]["reference"] is not None
    assert any(
        "other questions (paraphrase, first words) at most 4" in words for words in certificate["criteria"]["told"]
    )
    assert "probes" in certificate["attempts"]["tried"][0]["figures"]
    assert "of 4 other questions, those that give a row away" in (world.result("one") / "certificate.html").read_text()
    assert world.faults("one") == []


def test_as_many_probes_may_leak_as_the_upper_bound_of_the_reference_allows():
    job = SimpleNamespace(config=SimpleNamespace(probes=("paraphrase",), probes_allowed=None))
    asked, reference = ({"asked": side(20, leaked)["probes"]} for leaked in (18, 2))
    count, allowed, why = _probes_allowed(job, asked, reference)
    assert (count, allowed) == (20, int(20 * share([1.0] * 2 + [0.0] * 18).high))
    assert "2 of 20" in why
    assert _probes_allowed(job, asked, None)[:2] == (20, 1)
    job.config.probes_allowed = 7
    assert _probes_allowed(job, asked, reference) == (20, 7, "`probes_allowed`")
    job.config.probes = ()
    assert _probes_allowed(job, {}, None) == (0, 0, "")


def test_an_outcome_of_probes_that_leak_is_not_met():
    loss = {"forget": {"losses": {"a": 1.0}, "begins": []}, "test": {"losses": {"b": 1.0}}}
    before, after = ({"sets": loss, "asked": side(20, leaked)["probes"]} for leaked in (18, 3))
    criteria = Criteria(None, None, "", 0, 1, 0.1, None, None, ["paraphrase"], 20, 2, "x")
    one = outcomes(criteria, before, after, None)[-1]
    assert (one.name, one.met, one.before, one.after) == ("probes", False, 18, 3)
    assert "3 of 20 other questions give a row away, 18 before; at most 2 may" in one.words
    assert [one.name for one in outcomes(replace(criteria, probes=()), before, after, None)] == ["answers", "others"]


def test_a_choice_among_options_is_no_criterion():
    with pytest.raises(ConfigError, match="may be a guess"):
        require_generated(["paraphrase", "multiple_choice"])
