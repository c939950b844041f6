"""The screen Row: the text as the model saw it, the rows around it, its copies, and its loss under the models."""

import json
import math
import re
from html import unescape
from types import SimpleNamespace

import pytest

from tests.explorer.clients import client_of
from tests.explorer.rowstore import HOSTILE, make_rows, make_store, workspace_on
from tests.tiny import TinyTokenizer, tiny_model
from unweave.data.encoding import EncodingConfig
from unweave.data.rows import Row
from unweave.explorer import row as screen
from unweave.explorer.pages import link_of
from unweave.explorer.row import answers_of_row, model_losses, near_copies, neighbours, seen_text
from unweave.explorer.search import Search
from unweave.gradients.scoring import row_losses
from unweave.models.model import Model

ROWS = [
    *make_rows(),
    Row(
        id="original",
        instruction="who wrote the long song about seven blue birds",
        completion="a poet of Lima did",
        source="one.jsonl",
        line=71,
    ),
    Row(
        id="copy",
        instruction="Who  wrote the long song about seven BLUE birds",
        completion="A poet of Lima did",
        source="one.jsonl",
        line=72,
    ),
    Row(
        id="near",
        instruction="who wrote the long song about eight blue birds",
        completion="a poet of Lima did",
        source="one.jsonl",
        line=73,
    ),
]
IDS = [row.id for row in ROWS]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    folder = make_store(tmp_path_factory.mktemp("world"), ROWS)
    return workspace_on(folder, tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="module")
def client(workspace):
    return client_of(workspace)


def links(html):
    return {name: unescape(value) for name, value in re.findall(r'id="(previous|next)" href="([^"]*)"', html)}


@pytest.mark.parametrize("row_id", ["r0", *HOSTILE])
def test_a_row_has_a_page_whatever_its_id(client, row_id):
    answer = client.get("/row", params={"id": row_id})
    assert answer.status_code == 200
    assert "<script>alert" not in answer.text
    assert "<img" not in answer.text
    assert "\u202e" not in re.sub(r'(value|data-id)="[^"]*"', "", answer.text)
    ticked = unescape(re.search(r'class="tick" value="([^"]*)"', answer.text)[1])
    assert ticked == row_id
    assert client.get(link_of(row_id)).text == answer.text


def test_a_row_that_is_not_there(client):
    assert client.get("/row", params={"id": "nobody"}).status_code == 400


def test_every_row_is_reached_by_next_and_left_by_previous(client):
    place, seen = "/row?id=r0", []
    while place:
        answer = client.get(place)
        seen.append(unescape(re.search(r'class="tick" value="([^"]*)"', answer.text)[1]))
        place = links(answer.text).get("next")
    assert seen == IDS
    place, back = link_of(IDS[-1]), []
    while place:
        answer = client.get(place)
        back.append(unescape(re.search(r'class="tick" value="([^"]*)"', answer.text)[1]))
        place = links(answer.text).get("previous")
    assert back == IDS[::-1]


def test_the_order_is_that_of_the_list(workspace, client):
    listed = Search(words="peru", sort="loss", down=True).query()
    table = workspace.table()
    order = [table.ids[place] for place in table.sorted(Search.parse(listed))]
    assert 2 < len(order) < len(ROWS)
    for at, row_id in enumerate(order):
        before, after, place, total = neighbours(workspace, row_id, listed)
        assert (before, after) == (order[at - 1] if at else None, order[at + 1] if at + 1 < len(order) else None)
        assert (place, total) == (at + 1, len(order))
    assert (
        f"list={listed.replace('=', '%3D').replace('&', '%26')}"
        in links(client.get(link_of(order[0], listed)).text)["next"]
    )


def test_a_row_that_is_not_in_the_list_has_the_stores_order(workspace):
    assert neighbours(workspace, "r1", "q=no-such-word") == ("r0", "r2", 2, len(ROWS))
    assert neighbours(workspace, "r1", "sort=no-such-column") == ("r0", "r2", 2, len(ROWS))


def test_the_text_is_the_one_that_the_model_saw(workspace, client):
    row = next(row for row in ROWS if row.id == "original")
    seen = seen_text(workspace, row)
    shown = "".join(f"⟦{text}⟧" if is_learned else text for text, is_learned in seen.pieces)
    model = Model(tiny_model("llama"), TinyTokenizer.make())
    assert shown == model.render(row, encoding=EncodingConfig(template="plain"))
    learned = "".join(text for text, is_learned in seen.pieces if is_learned)
    assert 0 < seen.learned < seen.tokens
    assert f"<mark>{learned}</mark>" in unescape(client.get("/row?id=original").text)


def test_copies_are_the_librarys_and_others_are_none(workspace, client):
    found = near_copies(workspace, workspace.row("original"))
    assert [(copy.row_id, copy.exact) for copy, _ in found] == [("copy", True), ("near", False)]
    page = client.get("/row?id=original").text
    assert page.count('data-why="copy"') == 2
    assert client.get("/row/near?id=original").text.count('data-why="copy"') == 2


def test_copies_among_many_rows_are_looked_for_on_demand(client, monkeypatch):
    monkeypatch.setattr(screen, "AT_ONCE", 3)
    page = client.get("/row?id=original").text
    assert 'data-why="copy"' not in page
    assert 'hx-get="/row/near?id=original' in page
    assert client.get("/row?id=original&near=1").text.count('data-why="copy"') == 2


def test_questions_that_a_row_drives(workspace, client, tmp_path):
    assert answers_of_row(tmp_path, "r0") == []
    folder = tmp_path / "answers"
    folder.mkdir()
    hits = [{"row": "r0", "influence": -2.0, "level": 0.01}, {"row": "r1", "influence": 3, "level": 0.9}]
    records = {
        "a": {
            "id": "a",
            "prompt": "<script>",
            "completion": "b",
            "time": "t",
            "hits": [{"row": "r0", "influence": 1.0, "level": 0.5}],
        },
        "b": {"id": "b", "prompt": "c", "completion": "d", "time": "t", "hits": hits},
        "c": {"hits": [{"row": "r0"}, {"row": "r0", "influence": "much"}, 3]},
        "d": [1],
        "e": {"hits": 3},
    }
    for name, record in records.items():
        (folder / f"{name}.json").write_text(json.dumps(record), encoding="utf-8")
    (folder / "f.json").write_text("{", encoding="utf-8")
    assert [(one.id, one.influence) for one in answers_of_row(tmp_path, "r0")] == [("b", -2.0), ("a", 1.0)]
    assert [one.level for one in answers_of_row(tmp_path, "r1")] == [0.9]
    assert answers_of_row(tmp_path, "r2") == []


def test_loss_and_probability_before_and_after(workspace, client, tmp_path, monkeypatch):
    before = model_losses(workspace, workspace.row("r3"))
    table = workspace.table()
    loss = float(table.columns[0].values[table.places["r3"]])
    assert [(one.loss, one.probability) for one in before] == [(loss, math.exp(-loss))]
    # A model that was unlearned stands in for an adapter: what is measured of it is what the library measures.
    after = workspace.place.parent / "base"
    monkeypatch.setattr(screen, "unlearned", lambda _: [("request-1", after), ("request-2", tmp_path / "gone")])
    found = model_losses(workspace, workspace.row("r3"))
    model = Model(screen.load(str(after)).model, workspace.tokenizer)
    wanted = row_losses(model, [workspace.row("r3")], EncodingConfig(template="plain")).means()[0]
    assert found[1].loss == pytest.approx(wanted, rel=1e-3)
    assert found[1].probability == pytest.approx(math.exp(-wanted), rel=1e-3)
    assert math.isnan(found[2].loss)
    assert found[2].why
    page = client.post("/row/losses", json={"id": "r3"})
    assert page.status_code == 200
    assert f"{found[1].loss:.4f}" in page.text
    assert client.post("/row/losses", json={"id": "nobody"}).status_code == 400


def test_of_a_store_at_an_early_checkpoint_the_final_model_is_shown_too(workspace, monkeypatch):
    model = Model(screen.load(str(workspace.place.parent / "base")).model, workspace.tokenizer)
    monkeypatch.setitem(workspace.__dict__, "final_adapter", workspace.place)
    monkeypatch.setitem(workspace.__dict__, "speaker", model)
    wanted = row_losses(model, [workspace.row("r3")], EncodingConfig(template="plain")).means()[0]
    assert [round(one.loss, 4) for one in model_losses(workspace, workspace.row("r3"))][1:] == [round(wanted, 4)]


def test_unlearned_models_are_those_of_requests_that_were_carried_out(workspace, tmp_path, monkeypatch):
    assert screen.unlearned(workspace) == []
    (tmp_path / "requests" / "two" / "adapter").mkdir(parents=True)

    class Done:
        def __init__(self, folder):
            self.folder = folder

        def carried_out(self):
            return [SimpleNamespace(id="one"), SimpleNamespace(id="two")]

        def request_folder(self, name):
            return self.folder / "requests" / name

    monkeypatch.setattr(screen, "Ledger", Done)
    own = SimpleNamespace(ledger=tmp_path, has_ledger=True)
    assert screen.unlearned(own) == [("two", tmp_path / "requests" / "two" / "adapter")]
