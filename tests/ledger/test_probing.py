"""The probes of a certificate: few rows, no text, a finding where they still come out, and nothing of them for certificates of before."""

import json

from tests.ledger.ledgers import World
from tests.tiny import TinyTokenizer, tiny_model
from unweave.data.encoding import EncodingConfig
from unweave.data.rows import Row
from unweave.evaluation.probes.registry import DEFAULTS
from unweave.ledger.certificate import NOT_MEASURED, _not_measured
from unweave.ledger.probing import ROWS, probe_finding, probed
from unweave.models.model import Model


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
