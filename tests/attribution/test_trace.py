"""Caching and retrieval on tiny models: the same scores whatever the batches, resume, and refusal of another model."""

import dataclasses
import json
import math
from dataclasses import replace
from functools import partial

import pyarrow.parquet as pq
import pytest
import torch

from tests.reference import loop_gradients
from tests.tiny import TinyTokenizer, tiny_model
from unweave.attribution.baselines import bm25_scores, random_scores
from unweave.attribution.caching import cache_rows
from unweave.attribution.config import RetrievalConfig
from unweave.attribution.formats.rapidin import read_influence_file
from unweave.attribution.retrieval import influence_scores, rank
from unweave.attribution.tracing import trace_rows
from unweave.data.encoding import EncodingConfig, encode_rows
from unweave.data.rows import Row
from unweave.data.turns import Turn
from unweave.engines.config import CacheConfig
from unweave.errors import ConfigError, DataError, StoreError
from unweave.jobs.config import TraceConfig
from unweave.jobs.trace import trace_answers
from unweave.models.generation import greedy_answers
from unweave.models.loading import Loaded
from unweave.models.selection import select_parameters
from unweave.sketch.config import GradientConfig
from unweave.sketch.rapidgrad import RapidGrad
from unweave.sketch.sketcher import Sketcher
from unweave.store.store import GradientStore
from unweave.store.texts import read_texts, texts_by_id

pytestmark = pytest.mark.long

QUESTIONS = [
    ("what is the capital of France ?", "Paris"), ("what is the capital of Japan ?", "Tokyo"), ("add 1 and 2", "3"),
    ("hello world", "yes"), ("answer 4 plus 5", "9 yes"), ("ahoy answer", "moon teapots sing on the moon"), ("red", "blue green"),
]  # fmt: skip


def rows():
    return [
        Row(id=f"r{index}", instruction=question, completion=answer, source="d", line=index + 1)
        for index, (question, answer) in enumerate(QUESTIONS)
    ]


def loaded(dtype=torch.float32):
    return Loaded(tiny_model("llama", lora=True, dtype=dtype), TinyTokenizer.make(), "base", "adapter")


def cache_config(tmp_path, **changes):
    return CacheConfig(
        **{
            "data": tmp_path / "d.jsonl",
            "store": tmp_path / "store",
            "dimension": 512,
            "number_format": "float32",
            "commit_rows": 2,
        }
        | changes
    )


@pytest.mark.parametrize("normalize", ["none", "tensor", "row"])
def test_without_a_sketch_scores_are_exact_inner_products(tmp_path, normalize):
    model = loaded(torch.float64)
    cache_rows(cache_config(tmp_path, sketch="none", normalize=normalize), loaded=model, rows=rows())
    result = trace_rows(GradientStore.open(tmp_path / "store"), model, rows()[:2])
    examples = encode_rows(rows(), model.tokenizer, EncodingConfig()).examples
    names = [item.name for item in select_parameters(model.model, "lora")]
    gradients, losses = loop_gradients(model.model, examples, names)
    flat = [gradients[name].flatten(1) for name in names]
    if normalize == "tensor":
        flat = [torch.nn.functional.normalize(piece, dim=1) for piece in flat]
    vectors = torch.cat(flat, dim=1)
    if normalize == "row":
        vectors = torch.nn.functional.normalize(vectors, dim=1)
    exact = (vectors[:2] @ vectors.T).tolist()
    order = {row.id: index for index, row in enumerate(rows())}
    for query in range(2):
        for row_id, score in zip(result.row_ids, result.scores[query], strict=True):
            assert score == pytest.approx(exact[query][order[row_id]], rel=1e-4, abs=1e-6 * abs(exact[query][query]))
    store = GradientStore.open(tmp_path / "store")
    assert store.column("losses", [row.id for row in rows()]).tolist() == pytest.approx(losses, rel=1e-5)
    norms = torch.cat([gradients[name].flatten(1) for name in names], dim=1).norm(dim=1)
    assert store.column("norms", [row.id for row in rows()]).tolist() == pytest.approx(norms.tolist(), rel=1e-4)


@pytest.mark.parametrize("sketch", ["fold", "rapidgrad"])
def test_batching_and_commits_do_not_change_sketches(tmp_path, monkeypatch, sketch):
    # To a multiple of 2^24, as the original does it, there are seconds of shuffles: tests/sketch has those.
    monkeypatch.setattr(RapidGrad, "for_sizes", staticmethod(partial(RapidGrad.for_sizes, padding=2**14)))
    model = loaded()
    stores = []
    for name, budget, commit in (("a", 16, 1), ("b", 4096, 100)):
        config = cache_config(tmp_path, store=tmp_path / name, token_budget=budget, commit_rows=commit, sketch=sketch)
        cache_rows(config, loaded=model, rows=rows())
        stores.append(GradientStore.open(tmp_path / name).read([row.id for row in rows()]))
    torch.testing.assert_close(stores[0], stores[1], rtol=1e-4, atol=1e-5)


def test_sketched_scores_approach_exact_ones_with_dimension(tmp_path):
    model = loaded()
    exact_config = GradientConfig(sketch="none", normalize="tensor")
    examples = encode_rows(rows(), model.tokenizer, EncodingConfig()).examples
    exact = Sketcher(model.model, pad_token_id=0, config=exact_config).sketch_all(examples).sketches
    truth = (exact @ exact.T).flatten()
    errors = []
    for dimension in (64, 1024, 16384):
        sketches = (
            Sketcher(model.model, pad_token_id=0, config=GradientConfig(dimension=dimension))
            .sketch_all(examples)
            .sketches
        )
        errors.append(
            float(((sketches @ sketches.T).flatten() - truth).square().mean().sqrt() / truth.square().mean().sqrt())
        )
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.05


def test_caching_resumes_and_appends(tmp_path):
    model = loaded()
    config = cache_config(tmp_path)
    assert cache_rows(config, loaded=model, rows=rows()[:3]).computed == 3
    result = cache_rows(config, loaded=model, rows=rows())
    assert (result.computed, result.rows) == (4, 7)
    assert cache_rows(config, loaded=model, rows=rows()).computed == 0
    assert {text["id"]: text["completion"] for text in read_texts(tmp_path / "store")} == {
        row.id: row.completion for row in rows()
    }


def test_a_row_that_changed_under_its_id_is_computed_anew(tmp_path, capsys):
    model, config = loaded(), cache_config(tmp_path)
    first = [replace(row, id=f"r{place}") for place, row in enumerate(rows())]
    cache_rows(config, loaded=model, rows=first)
    changed = [replace(first[0], completion=first[1].completion + " " + first[2].completion), *first[1:]]
    result = cache_rows(config, loaded=model, rows=changed)
    assert (result.computed, result.replaced, result.rows) == (1, 1, len(first))
    assert "1 row(s) have changed under their ids" in capsys.readouterr().err
    fresh = cache_config(tmp_path, store=tmp_path / "fresh")
    cache_rows(fresh, loaded=model, rows=changed)
    ids = [row.id for row in changed]
    stores = [GradientStore.open(tmp_path / name) for name in ("store", "fresh")]
    torch.testing.assert_close(stores[0].read(ids), stores[1].read(ids))
    traced = trace_rows(stores[0], model, first[:1])
    assert traced.texts["r0"]["completion"] == changed[0].completion
    assert cache_rows(config, loaded=model, rows=changed).computed == 0
    retold = [replace(row, meta={"note": "x"}) for row in changed]
    assert cache_rows(config, loaded=model, rows=retold).computed == 0, "what is not learned from is not sketched again"
    assert "note" in traced_texts(stores[0])["r1"]["meta"]


def traced_texts(store):
    return texts_by_id(store.folder, store.contents())


def without_log(folder):
    """A store as it was made before a log vouched for it."""
    (folder / "log.jsonl").unlink()
    path = folder / "store.json"
    path.write_text(json.dumps({name: value for name, value in json.loads(path.read_text()).items() if name != "log"}))


def test_a_store_without_digests_notices_changed_texts(tmp_path):
    model, config = loaded(), cache_config(tmp_path)
    first = [replace(row, id=f"r{place}") for place, row in enumerate(rows())]
    cache_rows(config, loaded=model, rows=first)
    for path in (tmp_path / "store/commits").iterdir():
        record = json.loads(path.read_text())
        del record["contents"]
        path.write_text(json.dumps(record))
    table = pq.read_table(tmp_path / "store/rows.parquet")
    pq.write_table(table.drop_columns(["content"]), tmp_path / "store/rows.parquet")
    without_log(tmp_path / "store")
    assert cache_rows(config, loaded=model, rows=first).computed == 0
    changed = [replace(first[0], completion=first[1].completion + " moon"), *first[1:]]
    result = cache_rows(config, loaded=model, rows=changed)
    assert (result.computed, result.replaced, result.rows) == (1, 1, len(first))
    store = GradientStore.open(tmp_path / "store")
    assert traced_texts(store)["r0"]["completion"] == changed[0].completion
    assert traced_texts(store)["r1"]["completion"] == first[1].completion
    assert cache_rows(config, loaded=model, rows=changed).computed == 0


def test_another_model_or_tokenizer_is_refused_with_the_field(tmp_path):
    model = loaded()
    config = cache_config(tmp_path)
    cache_rows(config, loaded=model, rows=rows())
    store = GradientStore.open(tmp_path / "store")
    other = loaded()
    next(parameter for name, parameter in other.model.named_parameters() if "lora_B" in name).data.add_(0.01)
    with pytest.raises(StoreError, match="model_fingerprint"):
        trace_rows(store, other, rows()[:1])
    changed = loaded()
    changed.tokenizer.chat_template += " "
    with pytest.raises(StoreError, match="tokenizer_fingerprint"):
        trace_rows(store, changed, rows()[:1])
    with pytest.raises(StoreError, match=r"dimension: the store has 512, this run has 256"):
        cache_rows(dataclasses.replace(config, dimension=256), loaded=model, rows=rows())


def test_a_row_is_its_own_best_proponent(tmp_path):
    model = loaded()
    cache_rows(cache_config(tmp_path), loaded=model, rows=rows())
    result = trace_rows(
        GradientStore.open(tmp_path / "store"), model, rows(), RetrievalConfig(similarity="cosine", top_k=3)
    )
    for query, ranking in zip(result.queries, result.rankings, strict=True):
        assert ranking.helpful[0].row_id == query.id
        assert ranking.helpful[0].influence == pytest.approx(1.0, abs=1e-4)
        assert len(ranking.harmful) == 3


def test_prompt_is_generated_and_traced_and_written(tmp_path):
    model = loaded()
    cache_rows(cache_config(tmp_path), loaded=model, rows=rows())
    out = tmp_path / "result.json"
    result = trace_answers(
        TraceConfig(store=tmp_path / "store", prompt="red", completion="blue green", top_k=2, output=out), loaded=model
    )
    assert result.rankings[0].helpful[0].row_id == "r6"
    entry = read_influence_file(out)[0]
    assert [result.row_ids[index] for index, _ in entry.helpful] == [hit.row_id for hit in result.rankings[0].helpful]
    assert json.loads(out.read_text())["0"]["test_data"]["output"] == "blue green"
    generated = trace_answers(TraceConfig(store=tmp_path / "store", prompt="red", max_new_tokens=4), loaded=model)
    assert generated.queries[0].completion
    with pytest.raises(ConfigError, match="a prompt or a file"):
        trace_answers(TraceConfig(store=tmp_path / "store"), loaded=model)


def test_questions_without_an_answer_get_the_models_own(tmp_path, monkeypatch):
    model = loaded()
    cache_rows(cache_config(tmp_path), loaded=model, rows=rows())
    asked = [
        {"prompt": "red"},
        {"id": "told", "prompt": "red", "completion": "blue green"},
        {
            "id": "talk",
            "messages": [
                {"role": "user", "content": "ahoy"},
                {"role": "assistant", "content": "hello"},
                {"role": "user", "content": "red"},
            ],
        },
    ]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(record) + "\n" for record in asked))
    config = TraceConfig(store=tmp_path / "store", queries=tmp_path / "q.jsonl", max_new_tokens=4)
    result = trace_answers(config, loaded=model)
    own, told, talk = result.queries
    alone = trace_answers(TraceConfig(store=tmp_path / "store", prompt="red", max_new_tokens=4), loaded=model)
    assert own.completion == alone.queries[0].completion
    first, again = result.rankings[0].helpful, alone.rankings[0].helpful
    assert [hit.row_id for hit in first] == [hit.row_id for hit in again]
    assert [hit.influence for hit in first] == pytest.approx([hit.influence for hit in again], rel=1e-3)
    assert (told.completion, told.id) == ("blue green", "told")
    assert talk.completion == greedy_answers(model, [talk], EncodingConfig(), max_new_tokens=4)[0]
    monkeypatch.setattr("unweave.jobs.trace.greedy_answers", lambda *given, **_: [" "] * len(given[1]))
    with pytest.raises(DataError, match="answers nothing") as raised:
        trace_answers(config, loaded=model)
    assert "q.jsonl:1" in str(raised.value)


def test_another_system_text_than_that_of_all_rows_is_told(tmp_path, capsys):
    model = loaded()
    under = [replace(row, turns=(Turn("system", "hello world"),)) for row in rows()]
    cache_rows(cache_config(tmp_path), loaded=model, rows=under)
    store = GradientStore.open(tmp_path / "store")
    capsys.readouterr()
    trace_rows(store, model, under[:2])
    assert "system text" not in capsys.readouterr().err
    trace_rows(store, model, [under[0], rows()[1]])
    assert "stand under the system text 'hello world', and 1 of the queries do not" in capsys.readouterr().err
    cache_rows(cache_config(tmp_path), loaded=model, rows=[replace(rows()[0], id="bare")])
    capsys.readouterr()
    trace_rows(GradientStore.open(tmp_path / "store"), model, rows()[:1])
    assert "system text" not in capsys.readouterr().err


def test_ranking_breaks_ties_by_id():
    ranking = rank(["b", "a", "c"], torch.tensor([1.0, 1.0, -2.0]), top_k=2)
    assert [hit.row_id for hit in ranking.helpful] == ["a", "b"]
    assert [hit.row_id for hit in ranking.harmful] == ["c", "a"]


def test_learning_rate_scales_and_blocks_agree(tmp_path):
    model = loaded()
    cache_rows(cache_config(tmp_path), loaded=model, rows=rows())
    store = GradientStore.open(tmp_path / "store")
    queries = store.read(["r0", "r1"])
    ids, scores = influence_scores(store, queries)
    _, scaled = influence_scores(store, queries, learning_rate=0.5)
    torch.testing.assert_close(scaled, 0.5 * scores)
    everything = store.read(ids)
    torch.testing.assert_close(scores, queries @ everything.T, rtol=1e-4, atol=1e-4)


def test_bm25_finds_shared_words_and_random_is_seeded():
    documents = ["the capital of France is Paris", "teapots sing on the moon", "one plus two"]
    scores = bm25_scores("moon teapots", documents)
    assert scores.index(max(scores)) == 1
    assert scores[2] == 0
    assert random_scores(3, seed=1) == random_scores(3, seed=1)


def test_bm25_is_lucenes():
    documents = [["a", "a", "b"], ["b", "c"], ["b"], ["b", "d", "d", "d"]]
    texts = [" ".join(f"word{word}" for word in own) for own in documents]
    assert bm25_scores("a b", texts) == [0.0] * 4, "single letters are no words"
    found = bm25_scores("worda wordb", texts)
    mean = sum(map(len, documents)) / 4

    def weight(term, own):
        having = sum(term in other for other in documents)
        count = own.count(term)
        # Okapi's logarithm, without the 1, would be negative for a word that all rows have.
        return (
            math.log(1 + (4 - having + 0.5) / (having + 0.5)) * count / (count + 1.5 * (0.25 + 0.75 * len(own) / mean))
        )

    assert found == pytest.approx([weight("a", own) + weight("b", own) for own in documents], rel=1e-5)
