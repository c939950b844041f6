"""The screen Answer says what the library says, of whole answers, of parts, and of contrasts."""

import json
import re

import pytest

from tests.explorer.clients import open_explorer
from unweave.attribution.index import GradientIndex
from unweave.attribution.queries import make_queries
from unweave.attribution.spans import concentration, row_detail
from unweave.attribution.tracing import trace_queries
from unweave.data.rows import Row
from unweave.explorer import tracing
from unweave.explorer.histogram import HEIGHT, WIDTH, make_histogram
from unweave.explorer.tracing import spans_of
from unweave.models.generation import greedy_answers

PROMPT, ANSWER = "what is the capital of Peru", "moon teapots sing blue"


@pytest.fixture(scope="module")
def index(world):
    return GradientIndex.open(world / "store")


@pytest.fixture(scope="module")
def asked(client):
    return ask(client, completion=ANSWER)["asked"]


def ask(client, prompt=PROMPT, **options):
    """The last line of what asking gives."""
    response = client.post("/answer/ask", json={"prompt": prompt, **options})
    assert response.status_code == 200, response.text
    return json.loads(response.text.splitlines()[-1])


def rows_of(response):
    assert response.status_code == 200, response.text
    return re.findall(r'class="hit" data-row="([^"]*)"', response.text)


class TestAsking:
    def test_pieces_make_the_models_own_answer(self, client, index):
        # A prompt that the model has something to say to.
        answers = greedy_answers(index.model, index.rows, index.encoding, max_new_tokens=5)
        row, own = next(
            (row, answer) for row, answer in zip(index.rows, answers, strict=True) if len(answer.split()) > 2
        )
        wanted = {"prompt": row.instruction, "max_new_tokens": 5}
        lines = [json.loads(line) for line in client.post("/answer/ask", json=wanted).text.splitlines()]
        assert lines[-1]["completion"] == own
        assert "".join(line["piece"] for line in lines[:-1]).strip() == own
        assert len(lines) > 2

    def test_the_same_question_is_one(self, client, asked):
        assert ask(client, completion=ANSWER)["asked"] == asked
        assert ask(client, completion=ANSWER, system="add 1")["asked"] != asked

    def test_it_outlives_the_server(self, client, world, asked):
        again = open_explorer(world, work=client.app.state.workspace.folder)
        assert ANSWER in again.get(f"/?answer={asked}").text

    def test_nothing_and_too_much_are_refused(self, client):
        for options in (
            {"prompt": " "},
            {"prompt": "a" * 20_001},
            {"prompt": PROMPT, "max_new_tokens": 0},
            {"prompt": PROMPT, "max_new_tokens": 10**9},
        ):
            response = client.post("/answer/ask", json=options)
            assert response.status_code == 400
            assert "Remedy" in response.text
        assert "The answer is empty" in ask(client, completion=" ")["error"]

    def test_an_unknown_question_and_a_path_are_refused(self, client):
        for name in ("0000", "../review", "a/b"):
            assert client.get("/", params={"answer": name}).status_code == 400


class TestHits:
    def test_the_whole_answer(self, client, index, asked):
        own = index.attribute(PROMPT, completion=ANSWER, top_k=12)
        assert rows_of(client.post("/answer/hits", json={"asked": asked})) == [
            hit.row.id for hit in (*own.helpful, *own.harmful)
        ]

    def test_an_answer_is_traced_once(self, client, monkeypatch):
        """Though what is kept of the question has its rows from then on."""
        name, traced = ask(client, completion="blue moon and yes")["asked"], []
        monkeypatch.setattr(
            tracing, "trace_queries", lambda *given, **named: traced.append(1) or trace_queries(*given, **named)
        )
        first = client.post("/answer/hits", json={"asked": name})
        assert client.app.state.tracer.answers.get(name).hits
        assert client.post("/answer/hits", json={"asked": name}).text == first.text
        assert len(traced) == 1

    @pytest.mark.parametrize("span", [(0, 4), (5, 17), (18, 22)])
    def test_selected_words(self, client, index, asked, span):
        own = index.attribute(PROMPT, completion=ANSWER, span=ANSWER[slice(*span)], top_k=12)
        response = client.post("/answer/hits", json={"asked": asked, "begin": span[0], "end": span[1]})
        assert rows_of(response)[:12] == [hit.row.id for hit in own]
        assert f"<b>{ANSWER[slice(*span)]}</b>" in response.text

    def test_a_word_that_comes_twice_is_the_one_that_was_selected(self, client, index):
        text = "blue moon and blue"
        name = ask(client, completion=text)["asked"]
        first, second = (
            rows_of(client.post("/answer/hits", json={"asked": name, "begin": at, "end": at + 4})) for at in (0, 14)
        )
        assert first[:12] == [hit.row.id for hit in index.attribute(PROMPT, completion=text, span=(0, 4), top_k=12)]
        assert second[:12] == [hit.row.id for hit in index.attribute(PROMPT, completion=text, span=(14, 18), top_k=12)]
        assert first != second

    def test_a_contrast(self, client, index, asked):
        own = index.attribute(PROMPT, completion=ANSWER, against="Lima", top_k=12)
        response = client.post("/answer/hits", json={"asked": asked, "against": "Lima"})
        assert rows_of(response)[:12] == [hit.row.id for hit in own]
        assert "<q>Lima</q>" in response.text

    def test_another_scorer(self, client, index, asked):
        own = index.attribute(PROMPT, completion=ANSWER, scorer="bm25", top_k=12)
        assert rows_of(client.post("/answer/hits", json={"asked": asked, "scorer": "bm25"}))[:12] == [
            hit.row.id for hit in own
        ]

    def test_what_is_not_offered_is_refused(self, client, asked):
        for more in (
            {"scorer": "nothing"},
            {"place": "/etc"},
            {"begin": 3, "end": 3},
            {"begin": 0, "end": 999},
            {"begin": -2, "end": 2},
        ):
            response = client.post("/answer/hits", json={"asked": asked, **more})
            assert response.status_code == 400, more
            assert "Remedy" in response.text


def test_tokens_are_those_of_an_exact_rerank(client, index, asked):
    own = index.attribute(PROMPT, completion=ANSWER, rerank=3, top_k=2)
    given = client.post("/answer/tokens", json={"asked": asked, "row": own[0].row.id}).json()
    assert given["row_tokens"] == own[0].tokens.row_tokens
    assert given["matrix"] == own[0].tokens.matrix
    assert sum(map(sum, given["matrix"])) == pytest.approx(own[0].influence, rel=1e-4)
    assert client.post("/answer/tokens", json={"asked": asked, "row": "nobody"}).status_code == 400


def test_beside_gives_each_row_its_place_in_every_score(client, index, asked):
    response = client.post("/answer/beside", json={"asked": asked})
    assert response.status_code == 200
    best = index.attribute(PROMPT, completion=ANSWER, top_k=1)[0].row.id
    line = next(line for line in response.text.split("<tr>") if f">{best}</a>" in line)
    assert '<td class="n">1</td>' in line
    assert "bm25" in response.text
    assert "gradnorm" in response.text


class TestShades:
    def test_they_cover_the_answer(self, client, asked):
        found = client.get("/answer/shades", params={"asked": asked}).json()
        assert [(begin, end) for begin, end, _ in found] == spans_of(ANSWER) == [(0, 17), (18, 22)]
        assert all(0 < share <= 1 for *_, share in found)

    def test_concentration_of_plain_cases(self):
        import torch

        even, one = torch.arange(100.0), torch.zeros(100)
        one[3] = 5
        shares = concentration(torch.stack([even, one, torch.zeros(100)]), best=10)
        above = (even - even.median()).clamp(min=0)
        assert shares.tolist() == pytest.approx([float(above[-10:].sum() / above.sum()), 1.0, 0.0])

    def test_span_scores_are_those_of_tracing_the_span(self, index, client, asked):
        found = client.get("/answer/shades", params={"asked": asked}).json()
        import torch

        for begin, end, share in found:
            scores = torch.tensor([list(index.attribute(PROMPT, completion=ANSWER, span=(begin, end)).scores.values())])
            assert share == pytest.approx(float(concentration(scores)), rel=1e-3)


def test_row_detail_is_of_one_row(index):
    row = Row(id="q", instruction=PROMPT, completion=ANSWER)
    query = make_queries([row], index.model.tokenizer, index.encoding, span=(0, 4))[0]
    detail = row_detail(index, query, "p1")
    assert len(detail.matrix) == len(detail.query_tokens)
    assert len(detail.matrix[0]) == len(detail.row_tokens)


@pytest.mark.parametrize("scores", [[1.0], [2.0, 2.0], [-3.0, 0.5, 8.0], list(range(1000))])
def test_a_histogram_counts_every_score_once(scores):
    drawn = make_histogram(scores)
    assert sum(bar.count for bar in drawn.bars) == len(scores)
    assert all(0 <= bar.x <= WIDTH and bar.y >= 0 and bar.y + bar.height <= HEIGHT + 0.01 for bar in drawn.bars)
    assert 0 <= drawn.place(min(scores)) <= drawn.place(max(scores)) <= WIDTH
    assert drawn.place(max(scores) + 99) == WIDTH
