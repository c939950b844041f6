"""A ledger as an object: what is asked for in memory is what the commands would have written, and its folder keeps no text."""

import json

import pytest
import yaml

from tests.hub import Hub
from tests.ledger.ledgers import RECORDS
from unweave.data.reading import load_rows
from unweave.errors import ConfigError, DataError
from unweave.ledger.config import VerifyConfig
from unweave.ledger.given import method_options, write_options
from unweave.ledger.publishing import certificate_card
from unweave.ledger.requests import Ledger
from unweave.ledger.verify import verify_request
from unweave.markdown import plain
from unweave.models.model import Model
from unweave.unlearning.methods.ga import GA
from unweave.unlearning.methods.npo import NPO

EASY = {"target_loss": 0.1, "margin": 0.5, "retain_rows": 8, "test_rows": 12, "dtype": "float32"}
RUN = {"epochs": 0.2, "batch_size": 4, "learning_rate": 5e-3, "stop_loss": 1e9}


def made(folder, trained, **changes):
    return Ledger(folder / "ledger", **{"model": trained / "adapter", "rows": load_rows(RECORDS), **changes})


def test_from_rows_in_memory_to_a_certificate_that_holds(trained, tmp_path, monkeypatch):
    ledger = made(tmp_path, trained)
    assert ledger.requests() == []
    request = ledger.request(ids=["r3", "r5"], reason="withdrawn", name="one")
    assert (request.state, set(request.row_ids)) == ("open", {"r3", "r5"})
    with pytest.raises(DataError, match="not carried out"):
        _ = request.certificate
    assert request.run(method=GA(), options=RUN, **EASY) is request
    certificate = request.certificate
    assert certificate.forgotten
    assert certificate.kind == "empirical"
    assert certificate.content["request"]["reason"] == "withdrawn"
    assert certificate.content["method"]["name"] == "ga"
    found = certificate.verify()
    assert found, [fault for fault in found.checks.values() if fault]
    assert found.partly == ()
    assert verify_request(VerifyConfig(request="one", ledger=tmp_path / "ledger"))["ok"], "the command agrees"
    assert "<html" in certificate.page.read_text()
    hub = Hub()
    monkeypatch.setattr("huggingface_hub.HfApi", lambda **_: hub)
    assert certificate.push_to_hub("owner/proof", private=None) == "https://hub/owner/proof/commit/c0ffee"
    assert hub.made == [("owner/proof", "dataset", None, True)]
    assert set(hub.files["owner/proof"]) == {"README.md", "certificate.json", "certificate.html"}
    assert json.loads(hub.text("owner/proof", "certificate.json")) == certificate.content
    for said in [
        certificate.content["meaning"],
        *certificate.content["findings"],
        *certificate.content["not_measured"],
    ]:
        assert plain(said) in hub.text("owner/proof")
    again = Ledger(tmp_path / "ledger")
    assert [one.id for one in again.requests()] == ["one"]
    assert again.model == str(tmp_path / "ledger/requests/one/adapter")
    assert again.requests()[0].certificate.verify(metrics=False).ok
    text = RECORDS[3]["instruction"].encode()
    assert not any(text in path.read_bytes() for path in (tmp_path / "ledger").rglob("*") if path.is_file())
    assert text in (tmp_path / "ledger.data/rows.jsonl").read_bytes()


def test_the_same_request_is_recognized_and_rows_of_others_are_not(trained, tmp_path):
    ledger = made(tmp_path, trained)
    first, second = (ledger.request(ids=["r3"]) for _ in range(2))
    assert first.id == second.id
    assert len(ledger.requests()) == 1
    made(tmp_path, trained, rows=load_rows(RECORDS[:40]))
    with pytest.raises(DataError, match="r3"):
        made(tmp_path, trained, rows=load_rows([{**RECORDS[3], "response": "no"}]))
    new = load_rows([{**RECORDS[7], "response": "9 yes yes"}])
    changed = ledger.request(ids=["r7"], kind="correction", replacement=new)
    assert changed.state == "open"


def test_a_method_is_passed_on_with_what_differs_from_its_defaults(tmp_path):
    assert method_options(GA(), {}) == ("ga", {})
    assert method_options(NPO(beta=0.3), {"epochs": 2}) == ("npo", {"beta": 0.3, "epochs": 2})
    path = write_options(tmp_path / "own/one.yaml", "npo", {"beta": 0.3, "epochs": 2})
    written = yaml.safe_load(path.read_text())
    assert (written["method"], written["beta"], written["epochs"]) == ("npo", 0.3, 2)
    assert "max_length" not in written, "what is not named is the request's own"
    with pytest.raises(ConfigError, match="no option 'nonsense'"):
        write_options(tmp_path / "two.yaml", "npo", {"nonsense": 1})
    with pytest.raises(ConfigError, match="Options are those of a method"):
        method_options("auto", {"epochs": 2})


def test_refusals(trained, tmp_path):
    with pytest.raises(ConfigError, match="needs rows and a model"):
        Ledger(tmp_path / "ledger")
    with pytest.raises(ConfigError, match="lies in a folder"):
        made(tmp_path, trained, model=Model(None, None, base="(in memory)"))
    with pytest.raises(DataError, match="nobody"):
        made(tmp_path, trained).request(ids=["nobody"])


def test_a_report_is_no_certificate_and_a_signature_is_named():
    content = {
        "state": "not forgotten", "class": "empirical", "meaning": "The rows are still there.", "findings": [], "not_measured": ["attacks"],
        "request": {"id": "a|b", "kind": "removal", "rows": {"r1": "hash"}}, "method": {"name": "ga"}, "model": {"after": {"fingerprint": "v2:1"}},
    }  # fmt: skip
    card = certificate_card(content, title="one", signed=False)
    assert "it certifies nothing" in card
    assert "`report.json`" in card
    assert "| signed | no |" in card
    assert "a\\|b" in card, "a name is no column of the table"
    card = certificate_card({**content, "state": "done"}, title="one", signed=True)
    assert "certifies nothing" not in card
    assert "`certificate.intoto.jsonl`" in card
