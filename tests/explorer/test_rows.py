"""The screen Rows: what is found is what plain Python finds, SQL only reads, and no text is more than text."""

import re
import time
from html import unescape

import pytest

from tests.explorer.clients import client_of
from tests.explorer.rowstore import HOSTILE, add_rows, make_rows, make_store, workspace_on
from unweave.errors import ConfigError, DataError
from unweave.explorer.search import Search
from unweave.explorer.sql import is_whole
from unweave.explorer.table import PAGE_ROWS
from unweave.store.store import GradientStore
from unweave.valuation.table import write_table

ROWS = make_rows()
BY_ID = {row.id: row for row in ROWS}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("world"), ROWS)


@pytest.fixture(scope="module")
def workspace(world, tmp_path_factory):
    values = tmp_path_factory.mktemp("values") / "values.csv"
    write_table(values, {"id": [row.id for row in ROWS[:40]], "sums": [float(-place) for place in range(40)]})
    made = workspace_on(world, tmp_path_factory.mktemp("work"), values=values)
    yield made
    made.table().sandbox.close()


@pytest.fixture(scope="module")
def client(workspace):
    return client_of(workspace)


def found(workspace, query):
    table = workspace.table()
    return [table.ids[place] for place in table.sorted(Search.parse(query))]


def ids_in(html):
    return [unescape(value) for value in re.findall(r'class="tick" value="([^"]*)"', html)]


@pytest.mark.parametrize(
    "words",
    ["peru", "PERU", "peru france", "er", "ärger", "straße capital", "nothing-has-this", "<script>", "'; drop", "  "],
)
def test_words_are_found_as_python_finds_them(workspace, words):
    wanted = [
        row.id
        for row in ROWS
        if all(word in f"{row.prompt}\n{row.completion}".lower() for word in words.lower().split())
    ]
    assert found(workspace, Search(words=words).query()) == wanted


@pytest.mark.parametrize("source", ["one.jsonl", "folder/two.jsonl", "<i>three'.jsonl", "none.jsonl"])
def test_a_file_is_a_filter(workspace, source):
    assert found(workspace, Search(source=source).query()) == [row.id for row in ROWS if row.source == source]


@pytest.mark.parametrize(
    ("field", "equals", "value"), [("owner", "<b>", "<b>"), ("year", "1992", 1992), ("checked", "true", True)]
)
def test_a_column_of_the_data_is_a_filter(workspace, field, equals, value):
    wanted = [row.id for row in ROWS if row.meta.get(field) == value and type(row.meta.get(field)) is type(value)]
    assert wanted
    assert found(workspace, Search(field=field, equals=equals).query()) == wanted


def test_filters_add_up(workspace):
    search = Search(words="the", source="one.jsonl", field="owner", equals="ann", where="loss > 0.5", sort="loss")
    losses = dict(zip(workspace.table().ids, workspace.table().columns[0].values, strict=True))
    wanted = [
        row.id for row in ROWS
        if "the" in f"{row.prompt}\n{row.completion}".lower() and row.source == "one.jsonl" and row.meta["owner"] == "ann" and losses[row.id] > 0.5
    ]  # fmt: skip
    assert found(workspace, search.query()) == sorted(wanted, key=losses.__getitem__)


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize(
    "name", ["loss", "norm", "value_sums", "id", "source", "prompt", "answer", "field:owner", "field:checked"]
)
def test_every_column_sorts_both_ways_and_what_has_no_value_is_last(workspace, world, name, down):
    store = GradientStore.open(world / "store")
    ids = store.row_ids()
    columns = {
        "loss": store.column("losses", ids).tolist(),
        "norm": store.column("norms", ids).tolist(),
        "value_sums": [float(-ROWS.index(BY_ID[row_id])) if ROWS.index(BY_ID[row_id]) < 40 else None for row_id in ids],
        "id": ids,
        "source": [(BY_ID[row_id].source, BY_ID[row_id].line) for row_id in ids],
        "prompt": [BY_ID[row_id].prompt for row_id in ids],
        "answer": [BY_ID[row_id].completion for row_id in ids],
        "field:owner": [BY_ID[row_id].meta["owner"] for row_id in ids],
        "field:checked": [{True: "true", False: "false"}.get(BY_ID[row_id].meta.get("checked")) for row_id in ids],
    }
    pairs = list(zip(columns[name], ids, strict=True))
    there = sorted((pair for pair in pairs if pair[0] is not None), key=lambda pair: pair[0], reverse=down)
    wanted = [row_id for _, row_id in [*there, *(pair for pair in pairs if pair[0] is None)]]
    assert found(workspace, Search(sort=name, down=down).query()) == wanted


def test_pages_hold_every_row_once(client):
    seen = []
    for number in (1, 2):
        seen += ids_in(client.get(f"/rows?sort=-loss&page={number}").text)
    assert len(seen) == len(ROWS) > PAGE_ROWS
    assert set(seen) == set(BY_ID)
    # A page beyond the last is the last.
    assert ids_in(client.get("/rows?page=99").text) == ids_in(client.get("/rows?page=2").text)


def test_an_address_says_all_of_a_search():
    search = Search(
        words="a & b",
        source="x",
        field="f",
        equals="=?",
        where="loss > 1",
        lasso="0,0;1,0;1,1",
        sort="loss",
        down=True,
        page=3,
    )
    assert Search.parse(search.query()) == search
    assert Search.parse("page=-1&sort=-&q=") == Search()
    assert Search().query() == ""


def test_hostile_texts_are_shown_as_text_and_found(client):
    page = client.get("/rows?page=2").text
    assert "<script>alert" not in page
    assert "<img" not in page
    assert "{{ 7 * 7 }}" in unescape(page)
    # What is ticked is the id as it is, hidden characters and line breaks included.
    assert set(HOSTILE) <= set(ids_in(page))
    for row_id, prompt in HOSTILE.items():
        answer = client.get("/rows", params={"q": " ".join(prompt.split())})
        assert row_id in ids_in(answer.text)
        assert (
            client.get("/rows", params={"where": f"id = '{row_id.replace(chr(39), 2 * chr(39))}'"}).status_code == 200
        )
    assert "\u202e" not in re.sub(r'value="[^"]*"', "", page)


def test_only_the_table_is_sent_to_htmx_and_all_of_the_page_to_who_goes_back(client):
    part = client.get("/rows?q=peru", headers={"hx-request": "true"})
    assert "<html" not in part.text
    assert part.headers["hx-push-url"] == "/rows?q=peru"
    assert (
        "<html" in client.get("/rows?q=peru", headers={"hx-request": "true", "hx-history-restore-request": "true"}).text
    )


def test_a_condition_in_sql(workspace):
    assert found(workspace, Search(where="owner = '<b>' -- a comment").query()) == [
        row.id for row in ROWS if row.meta["owner"] == "<b>"
    ]
    assert found(workspace, Search(where="year > 1993 and checked").query()) == [
        row.id for row in ROWS if row.meta["year"] > 1993 and row.meta.get("checked")
    ]
    assert set(found(workspace, Search(where="loss_ is not null").query())) == {
        row.id for row in ROWS if "Loss" in row.meta
    }
    assert found(workspace, Search(where="value_sums < -37").query()) == ["r38", "r39"]


def test_a_select(client, workspace):
    answer = workspace.table().select("SELECT source, count(*) AS n FROM rows GROUP BY source ORDER BY source")
    counts = {source: sum(row.source == source for row in ROWS) for source in {row.source for row in ROWS}}
    assert answer.rows == [[source, counts[source]] for source in sorted(counts)]
    page = client.get("/rows", params={"where": "SELECT prompt, id FROM rows WHERE source LIKE '<i>%'"})
    assert ids_in(page.text) == [row.id for row in ROWS if row.source.startswith("<i>")]
    assert "<script>alert" not in page.text
    many = workspace.table().select("SELECT a.id FROM rows a, rows b")
    assert (len(many.rows), many.cut) == (1000, True)
    assert len(workspace.table().select("SELECT repeat('x', 9000)").rows[0][0]) < 2100


def test_how_many_rows_the_store_has_stands_above_a_search_that_finds_some(client):
    for query in ("q=peru", "where=SELECT+id+FROM+rows+LIMIT+3", ""):
        page = client.get(f"/rows?{query}").text
        assert f"{len(ROWS)} rows</p>" in page
    assert "<b>3</b> lines" in client.get("/rows?where=SELECT+id+FROM+rows+LIMIT+3").text


def test_what_is_a_select():
    assert is_whole(" SELECT 1")
    assert is_whole("with a as (select 1) select * from a")
    assert not is_whole("selected > 1")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM sys",
        "SELECT 1; SELECT 2",
        "WITH a AS (SELECT 1) INSERT INTO given SELECT * FROM rows",
        "SELECT * FROM query('DROP TABLE given')",
        "ATTACH '/tmp/unweave-attached.db'",
        "COPY rows TO '/tmp/unweave-copied.csv'",
        "COPY (SELECT 1) TO '/tmp/unweave-copied.csv'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET lock_configuration = false",
        "PRAGMA enable_external_access = true",
        "DROP VIEW rows",
        "CREATE TABLE b AS SELECT 1",
        "true); DROP VIEW rows; SELECT (true",
        "EXPORT DATABASE '/tmp/unweave-exported'",
        "CALL pragma_version()",
        "",
        "SELECT no_such_column FROM rows",
        "((((",
    ],
)
def test_sql_that_does_more_than_read_rows_is_refused(workspace, sql):
    table = workspace.table()
    with pytest.raises(ConfigError):
        table.select(sql) if is_whole(sql) else table.condition(sql)
    assert table.select("SELECT count(*) FROM rows").rows == [[len(ROWS)]]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM range(10000000000) a, range(100000000) b",
        "WITH RECURSIVE t AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM t) SELECT count(*) FROM t",
        # One call of a function, which DuckDB can't interrupt.
        "SELECT length(repeat('x', 3000000000)) + (SELECT count(*) FROM range(10000000000) a, range(1000))",
    ],
)
def test_sql_without_an_end_is_stopped(workspace, sql):
    # The process itself gives up after five seconds, and is ended soon after.
    with pytest.raises(ConfigError, match="stopped"):
        workspace.table().select(sql)
    assert workspace.table().select("SELECT count(*) FROM rows").rows == [[len(ROWS)]]


def test_errors_of_sql_stand_in_the_page(client):
    whole = client.get("/rows", params={"where": "lossy > 1"})
    assert whole.status_code == 400
    assert "lossy" in whole.text
    assert "<textarea" in whole.text
    part = client.get("/rows", params={"where": "lossy > 1"}, headers={"hx-request": "true"})
    assert (part.status_code, "<html" in part.text, "lossy" in part.text) == (400, False, True)


def test_all_that_match_are_ticked_and_unticked(client, workspace):
    query = Search(source="one.jsonl").query()
    wanted = {row.id for row in ROWS if row.source == "one.jsonl"}
    answer = client.post("/rows/tick", json={"query": query})
    assert answer.json() == {"rows": len(wanted), "count": len(wanted)}
    assert set(workspace.reviewed.ids()) == wanted
    page = client.get(f"/rows?{query}").text
    assert page.count(" checked>") == len(wanted)
    assert client.post("/rows/tick", json={"query": query, "ticked": False}).json()["count"] == 0


def test_too_many_rows_are_not_ticked_at_once(client, workspace, monkeypatch):
    monkeypatch.setattr("unweave.explorer.rows.MOST_TICKED", 69)
    answer = client.post("/rows/tick", json={"query": ""})
    assert answer.status_code == 400
    assert workspace.reviewed.ids() == []


def test_influence_is_a_column_and_outlives_a_change_of_the_store(world, tmp_path):
    folder = make_store(tmp_path, make_rows(40))
    workspace = workspace_on(folder, tmp_path / "work")
    scores = {f"r{place}": float(place % 5) for place in range(20)}
    table = workspace.table()
    assert table.select("SELECT count(*) FROM rows").rows == [[40]]
    table.set_influence("a question", scores)
    assert workspace.table() is table
    assert found(workspace, "sort=-influence")[:4] == ["r4", "r9", "r14", "r19"]
    assert found(workspace, "where=influence+%3D+4") == ["r4", "r9", "r14", "r19"]
    table.set_influence("another", {"r7": 1.0})
    assert found(workspace, "where=influence+is+not+null") == ["r7"]
    store = GradientStore.open(folder / "store")
    # One that is new, and a file's time that is another.
    time.sleep(0.01)
    add_rows(store, [row for row in make_rows(60) if row.id in ("r50", "r51")], seed=1)
    new = workspace.table()
    assert (len(table), len(new), new.influence_of) == (40, 42, "another")
    assert found(workspace, "sort=-influence")[0] == "r7"
    for one in (table, new):
        one.sandbox.close()


def test_a_table_of_values_that_is_none(world, tmp_path):
    (tmp_path / "values.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    client = client_of(workspace_on(world, tmp_path, values=tmp_path / "values.csv"))
    assert client.get("/rows").status_code == 400
    with pytest.raises(DataError):
        workspace_on(world, tmp_path, values=tmp_path / "none.csv").table()
