"""The review list on its screen: what stands there, rows like those on it, what forgetting them would cost, and what is refused before it begins."""

import pytest

from tests.explorer.learned import SMALL, client_of, copy_of_learned
from unweave.explorer import reckoned
from unweave.store.store import GradientStore

HOSTILE = '"><script>alert(1)</script>'


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return copy_of_learned(tmp_path_factory)


@pytest.fixture
def client(folder, tmp_path):
    found = client_of(folder, work=tmp_path / "work")
    assert found.post("/review/tick", json={"rows": ["p0", "p3", "p4"], "why": HOSTILE}).json() == {"count": 3}
    return found


def counted(monkeypatch, name):
    calls, kept = [], getattr(reckoned, name)
    monkeypatch.setattr(reckoned, name, lambda *given, **named: calls.append(given) or kept(*given, **named))
    return calls


def test_ticked_rows_stand_with_why_and_where_from(client):
    text = client.get("/review").text
    assert "<b>3 rows</b>: 3 from rows.jsonl" in text
    assert text.count('class="tick"') == 3
    assert '<a href="/row?id=p3">p3</a>' in text
    assert "rows.jsonl:25" in text
    assert client.workspace.texts()["p0"]["completion"] in text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert 'style="' not in text
    assert client.workspace.spec.adapter in text, "it says which model will be changed"
    assert client.post("/review/tick", json={"rows": ["p3"], "ticked": False}).json() == {"count": 2}
    assert "<b>2 rows</b>" in client.get("/review").text
    assert client.post("/review/clear").headers["hx-redirect"] == "/review"
    assert "No row is ticked" in client.get("/review").text
    assert client.post("/review/tick", json={"rows": ["nobody"]}).status_code == 400


def test_rows_like_these_are_found_once_and_ticked_with_their_reasons(client, monkeypatch):
    calls = counted(monkeypatch, "find_rest")
    text = client.post("/review/rest").text
    assert "From 3 rows" in text
    assert "how many were missed" in text or "more may have been missed" in text
    found = reckoned.last_of(client.workspace, reckoned.REST)
    proposed = [one["row"] for one in found["proposals"]]
    assert {row[0] for row in proposed} == {"p"}
    assert all(f'value="{row}"' in text for row in proposed)
    assert client.post("/review/rest").text == text
    assert len(calls) == 1
    assert text.split("<table>")[1].split("</table>")[0] in client.get("/review").text
    client.post("/review/rest/tick")
    why = client.workspace.reviewed.why()
    assert list(why) == ["p0", "p3", "p4", *proposed]
    assert why[proposed[0]] == found["proposals"][0]["why"]["words"]
    client.post("/review/rest")
    assert len(calls) == 2, "the list is another one"


def test_what_it_would_cost(client, monkeypatch):
    calls = counted(monkeypatch, "predict_collateral")
    text = client.post("/review/cost").text
    assert "Of 29 rows that stay" in text
    assert client.post("/review/cost").text == text
    assert len(calls) == 1
    found = reckoned.last_of(client.workspace, reckoned.COST)
    changes = [one["change"] for one in found["rows"]]
    assert changes == sorted(changes, reverse=True)
    assert not {"p0", "p3", "p4"} & {one["row"] for one in found["rows"]}
    assert {one["by"] for one in found["rows"]} <= {"p0", "p3", "p4"}


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({"count": 2}, 400, "3 rows are on the list by now, not 2"),
        ({"request_id": "../x"}, 400, "is no name"),
        ({"method": "magic"}, 400, "magic"),
        ({"margin": -1}, 400, "margin"),
        ({"retain_rows": "many"}, 422, "retain_rows"),
    ],
)
def test_what_is_refused_before_anything_begins(client, changes, status, said):
    answer = client.post("/review/forget", json={**SMALL, "count": 3, **changes}, headers={"x-part": "1"})
    assert (answer.status_code, said in answer.text) == (status, True), answer.text
    assert client.workspace.processes.runs() == []
    assert not client.workspace.ledger.exists()


def test_without_the_data_it_says_what_is_missing(folder, tmp_path, monkeypatch):
    client = client_of(folder, work=tmp_path / "work", data=None)
    monkeypatch.setattr(type(client.workspace), "data", None)
    client.post("/review/tick", json={"rows": ["p0"]})
    text = client.get("/review").text
    assert "--data FILE" in text
    assert "<form" not in text
    answer = client.post("/review/forget", json={"count": 1})
    assert (answer.status_code, "--data FILE" in answer.text) == (400, True)


def test_rows_that_have_left_the_store_are_named_and_not_forgotten_again(tmp_path_factory, tmp_path):
    folder = copy_of_learned(tmp_path_factory)
    client = client_of(folder, work=tmp_path / "work")
    client.post("/review/tick", json={"rows": ["p0", "p3"]})
    client.post("/review/cost")
    GradientStore.open(folder / "store").delete(["p0"])
    text = client.get("/review").text
    assert "1 of the ticked rows is no longer in the store: p0" in text
    assert "<b>1 row</b>" in text
    assert reckoned.last_of(client.workspace, reckoned.COST) is None, "the store is another one"
    assert client.post("/review/rest/tick").status_code == 400
