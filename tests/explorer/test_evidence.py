"""From ticked rows over a run that is killed on its way, and goes on, to the evidence of what it did."""

import json
import os
import signal
from dataclasses import dataclass
from typing import Any

import pytest

from tests.explorer.learned import SMALL, client_of, copy_of_learned, ended, once
from unweave.cli.main import main
from unweave.explorer.guard import POLICY
from unweave.explorer.proof import proof_of
from unweave.ledger.ledger import Ledger
from unweave.ledger.request import Request

ROWS = ["p0", "p1", "p2", "p3"]
REASON = "--x: '<script>alert(1)</script>'\n\"y\""
NAME = "naïve_1"


@dataclass
class Story:
    """What happened on the way."""

    client: Any
    killed: Any
    refused: Any
    run: Any

    def get(self, place="/evidence/request", name=NAME):
        answer = self.client.get(place, params={"id": name})
        assert answer.status_code == 200, answer.text
        return answer.text

    def started(self, monkeypatch, place, **more):
        """A run whose command is run in this process: it has imported what is needed."""
        monkeypatch.setattr(self.client.workspace.processes, "program", ["-c", "pass"])
        answer = self.client.post(place, params={"id": NAME}, **more)
        assert answer.status_code == 200, answer.text
        location = answer.headers.get("hx-redirect") or answer.json()["location"]
        run = ended(self.client, location.partition("=")[2])
        (command,) = run.commands
        return run, main(command)


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    folder = copy_of_learned(tmp_path_factory)
    client = client_of(folder, work=folder / "work")
    client.post("/review/tick", json={"rows": ROWS, "why": "traced"})
    asked = {**SMALL, "count": len(ROWS), "reason": REASON, "request_id": NAME}
    answer = client.post("/review/forget", json=asked)
    assert answer.status_code == 200, answer.text
    name, processes = answer.json()["location"].partition("=")[2], client.workspace.processes
    refused = client.post("/review/forget", json={**asked, "request_id": "other"})
    once(lambda: processes.progress(processes.run(name)).attempts, what="nothing is being forgotten")
    os.killpg(json.loads((processes.run(name).folder / "lock").read_text())["process"], signal.SIGKILL)
    killed = ended(client, name)
    client.post("/run/go-on", params={"id": name})
    return Story(client, killed, refused, ended(client, name))


def ledger(story):
    found = Ledger(story.client.workspace.ledger)
    return found, found.request(NAME)


def test_a_killed_run_goes_on_and_a_second_one_is_refused(story):
    assert (story.killed.state, story.killed.made) == ("interrupted", 1)
    assert (story.refused.status_code, "one writes at a time" in story.refused.text) == (409, True)
    assert (story.run.state, story.run.made) == ("done", 2), "\n".join(story.run.output())
    texts = "".join(path.read_text() for path in story.run.folder.glob("*.yaml"))
    assert "p0" in texts
    assert "teapots" not in texts, "files of a run hold no text of a row"
    assert set(ROWS).isdisjoint(story.client.workspace.texts()), "the rows have left the store"


def test_the_run_says_what_became_of_the_request(story):
    text = story.get("/run", story.run.id)
    assert 'The request is <span class="tag state good">done</span> now' in text
    assert 'href="/evidence/request?id=na%C3%AFve_1"' in text


def test_the_ledger_stands_as_a_table_with_its_events(story):
    text = story.get("/evidence")
    assert f'href="/evidence/request?id=na%C3%AFve_1">{NAME}</a>' in text
    assert "tag state good" in text
    assert "measured before" in text
    assert "&lt;script&gt;alert(1)" in text
    assert "<script>alert" not in text


def test_the_verdict_comes_first_and_behind_every_mean_are_the_rows(story):
    text = story.get()
    verdict, criteria = text.index("The rows were forgotten by the criteria"), text.index("whether it was reached")
    assert verdict < criteria
    assert "<script>alert" not in text
    assert 'style="' not in text
    proof = proof_of(*ledger(story))
    assert proof.is_certificate
    (forget, test) = (proof.sets[name] for name in ("forget", "test"))
    assert {row.name for row in forget} == set(ROWS)
    measured = proof.found["measured"]
    for side in ("before", "after"):
        mean = sum(getattr(row, side) for row in forget) / len(forget)
        assert mean == pytest.approx(proof.found["criteria"]["outcomes"]["loss"][side])
        assert {row.name: getattr(row, side) for row in test} == measured[side]["sets"]["test"]["losses"]
    assert [abs(row.change) for row in forget] == sorted((abs(row.change) for row in forget), reverse=True)
    assert all(row.reference is not None for row in forget)
    for row in forget:
        assert f"{row.name} <small>no longer in the store" in text
        assert f"{row.before:.3f}" in text
        assert f"{row.change:+.3f}" in text
    assert f'<a href="/row?id={test[0].id}">' in text
    assert ">Verify</button>" in text
    assert "Roll back" in text


def test_answers_stand_side_by_side_and_are_kept_nowhere(story):
    text = story.client.post("/evidence/answers", params={"id": NAME}).text
    assert text.count('class="quote"') == 9
    assert "a model that never saw it" in text
    kept = [
        path for path in story.client.workspace.ledger.rglob("*") if path.is_file() and b"teapots" in path.read_bytes()
    ]
    assert [path for path in kept if path.suffix not in (".json", ".safetensors")] == []


def test_the_certificate_is_a_page_of_its_own(story):
    answer = story.client.get("/evidence/certificate", params={"id": NAME})
    policy = answer.headers["content-security-policy"]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"
    assert policy != POLICY
    assert "@page" in answer.text
    assert "Certificate of the request" in answer.text
    assert "<script>alert" not in answer.text
    own = (story.client.workspace.ledger / "requests" / NAME / "certificate.html").read_text()
    assert "@page" not in own, "the file that the journal binds stays as it is"


@pytest.mark.parametrize("place", ["/evidence/request", "/evidence/certificate", "/evidence/verify", "/evidence/undo"])
@pytest.mark.parametrize("name", ["nobody", "../../x", "<script>alert(1)</script>"])
def test_requests_that_are_none(story, place, name):
    ask = story.client.get if place.endswith(("request", "certificate")) else story.client.post
    answer = ask(place, params={"id": name}, **({"json": {"reason": ""}} if place.endswith("undo") else {}))
    assert answer.status_code == 400
    assert "<script>alert" not in answer.text


def test_it_is_verified_and_rolled_back_by_runs_of_their_own(story, monkeypatch, capsys):
    run, code = story.started(monkeypatch, "/evidence/verify")
    said = capsys.readouterr().out
    assert (run.title, code) == (f"Verify {NAME}", 0), said
    assert f"request {NAME}: verified" in said
    run, code = story.started(monkeypatch, "/evidence/undo", json={"reason": "a mistake"})
    assert (run.title, code) == (f"Roll back {NAME}", 0)
    text = story.get()
    assert "It was undone" in text
    assert "a mistake" in text
    assert f"Verify {NAME}" in text
    assert "Roll back</button>" not in text
    assert story.client.post("/evidence/undo", params={"id": NAME}, json={"reason": ""}).status_code == 400
    assert f"<code>{ledger(story)[0].origin().model}</code>" in story.get("/evidence")


def test_what_goes_on_has_the_options_with_which_it_began(story, monkeypatch):
    processes = story.client.workspace.processes
    monkeypatch.setattr(processes, "program", ["-c", "pass"])
    answer = story.client.post("/evidence/go-on", params={"id": NAME})
    again = ended(story.client, answer.headers["hx-redirect"].partition("=")[2])
    assert (again.folder / "request-run.yaml").read_text() == (story.run.folder / "request-run.yaml").read_text()
    answer = story.client.post("/evidence/carry-out", params={"id": NAME}, json={"method": "npo", "margin": 2})
    other = ended(story.client, answer.json()["location"].partition("=")[2])
    assert "method: npo" in (other.folder / "request-run.yaml").read_text()
    assert story.client.post("/evidence/carry-out", params={"id": NAME}, json={"method": "x"}).status_code == 400


def test_rows_whose_ids_the_ledger_hides_are_named_where_the_data_says_which_they_are(tmp_path):
    class Hiding:
        """A ledger that calls rows by keyed hashes; one of them is in the data."""

        own_ids = staticmethod(sorted)

        def own_id(self, name):
            return {"keyed-1": "0123456789abcdef"}.get(name, name)

        def request_folder(self, name):
            return tmp_path

    sides = {
        side: {"sets": {"forget": {"losses": {"keyed-1": 1.0, "keyed-2": loss}, "begins": []}}}
        for side, loss in (("before", 1.0), ("after", 3.0))
    }
    (tmp_path / "report.json").write_text(json.dumps({"measured": sides}))
    proof = proof_of(Hiding(), Request("one", "removal", {}, None, "", "not forgotten"))
    rows = [(row.name, row.id, row.change, row.reference) for row in proof.sets["forget"]]
    assert rows == [("keyed-2", None, 2.0, None), ("keyed-1", "0123456789abcdef", 0.0, None)]
    assert not proof.is_certificate


def test_without_a_ledger_it_says_so(tmp_path_factory, tmp_path):
    client = client_of(copy_of_learned(tmp_path_factory), work=tmp_path / "work")
    assert "There is no ledger yet" in client.get("/evidence").text
    assert client.get("/evidence/request", params={"id": "x"}).status_code == 400
    assert not client.workspace.ledger.exists(), "looking makes none"
