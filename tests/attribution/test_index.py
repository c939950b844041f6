"""`GradientIndex`: in memory as on a disk, and as the command that caches and traces."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.attribution.test_trace import cache_config, loaded, rows
from tests.tiny import tiny_model
from unweave.attribution.caching import cache_rows
from unweave.attribution.index import GradientIndex
from unweave.data.rows import Row
from unweave.errors import ConfigError, StoreError
from unweave.jobs.config import TraceConfig
from unweave.jobs.trace import trace_answers
from unweave.store.maintenance import find_faults
from unweave.store.store import GradientStore

OPTIONS = {"dimension": 512, "number_format": "float32"}
EXACT = {"sketch": "none", "normalize": "none", "number_format": "float32"}
ASKED = {"prompt": "ahoy answer", "completion": "moon teapots sing"}


def brief(hits):
    return [(hit.row.id, hit.row.prompt, hit.row.completion, hit.influence, hit.level) for hit in hits]


def test_memory_and_disk_and_the_commands_find_the_same(tmp_path):
    model = loaded()
    memory = GradientIndex.build(model, rows(), **OPTIONS)
    GradientIndex.build(model, rows(), path=str(tmp_path / "index"), **OPTIONS)
    disk = GradientIndex.open(str(tmp_path / "index"), model)
    cache_rows(cache_config(tmp_path, commit_rows=128), loaded=model, rows=rows())
    job = TraceConfig(store=tmp_path / "store", top_k=3, rerank=5, **ASKED)
    wanted = trace_answers(job, loaded=model)
    for index in (memory, disk, GradientIndex(GradientStore.open(tmp_path / "store"), model)):
        hits = index.attribute(**ASKED, top_k=3, rerank=5)
        assert [(hit.row.id, hit.influence) for hit in hits] == [
            (one.row_id, one.influence) for one in wanted.rankings[0].helpful
        ]
        assert [hit.row.id for hit in hits.harmful] == [one.row_id for one in wanted.rankings[0].harmful]
        assert hits[0].tokens == wanted.details[0][hits[0].row.id]
        assert brief(index.attribute(**ASKED)) == brief(memory.attribute(**ASKED))
    assert memory.store.spec == disk.store.spec


def test_the_level_is_the_share_of_rows_below(tmp_path):
    index = GradientIndex.build(loaded(), rows(), **OPTIONS)
    hits = index.attribute(**ASKED, top_k=7)
    assert [hit.level for hit in hits] == [place / 7 for place in range(6, -1, -1)]
    assert [hit.row.id for hit in hits.harmful] == [hit.row.id for hit in hits][::-1]
    exact = index.attribute(**ASKED, top_k=2, rerank=7)
    assert [hit.level for hit in exact] == [6 / 7, 5 / 7]
    assert [hit.influence for hit in exact] != [hit.influence for hit in hits[:2]]


def test_the_answer_is_the_models_own_where_none_is_given(capsys):
    index = GradientIndex.build(loaded(), rows(), **OPTIONS)
    own = index.attribute("hello world", max_new_tokens=3)
    again = index.attribute("hello world", completion=own.query.completion)
    assert own.query.completion
    assert brief(own) == brief(again)
    assert capsys.readouterr().err == "", "a library shows no progress"
    assert brief(index.attribute(rows()[3])) == brief(index.attribute("hello world", completion="yes"))


@pytest.mark.parametrize("rerank", [0, 7])
def test_a_contrast_of_plain_gradients_is_the_difference_of_influences(rerank):
    index = GradientIndex.build(loaded(torch.float64), rows(), **EXACT)
    options = {"top_k": 7, "rerank": rerank}
    first, second, both = (
        {hit.row.id: hit.influence for hit in index.attribute("hello world", **options, **answers)}
        for answers in ({"completion": "yes no"}, {"completion": "red"}, {"completion": "yes no", "against": "red"})
    )
    assert both == pytest.approx({row_id: first[row_id] - second[row_id] for row_id in first}, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("normalize", ["tensor", "row"])
def test_a_contrast_is_normalised_as_one_gradient(normalize):
    index = GradientIndex.build(loaded(torch.float64), rows(), **{**EXACT, "normalize": normalize})
    asked = {"prompt": "hello world", "completion": "yes no", "against": "red", "span": "no", "top_k": 7}
    scanned, exact = (index.attribute(**asked, rerank=rerank) for rerank in (0, 7))
    assert scanned.part == "no"
    assert [hit.influence for hit in scanned] == pytest.approx([hit.influence for hit in exact], rel=1e-4)
    tokens = exact[0].tokens
    assert len(tokens.query_tokens) == np.array(tokens.matrix).shape[0]
    assert sum(map(sum, tokens.matrix)) == pytest.approx(exact[0].influence, rel=1e-4)


def test_a_contrast_goes_through_a_preconditioner_and_not_through_a_baseline():
    index = GradientIndex.build(loaded(), rows(), **EXACT)
    with pytest.raises(ConfigError, match="compares no two answers"):
        index.attribute(**ASKED, against="red", scorer="gradnorm")
    damped = index.attribute(**ASKED, against="red", preconditioner="adam", top_k=7)
    assert sorted(hit.row.id for hit in damped) == [row.id for row in rows()]


def test_rows_come_and_go(tmp_path):
    model, (first, *others) = loaded(), rows()
    whole = GradientIndex.build(model, rows(), **OPTIONS)
    for path in (None, tmp_path / "index"):
        index = GradientIndex.build(model, others[:3], path=path, **OPTIONS)
        index.extend([first, *others])
        done = []
        index.extend([*rows(), replace(first, completion="Lima")][1:], advance=done.append)
        assert sum(done) == 1, "only what is new"
        index.delete(["r0", "r2"])
        assert len(index) == 5
        assert {row.id for row in index.rows} == set(index.row_ids) == {"r1", "r3", "r4", "r5", "r6"}
        assert brief(index.attribute(**ASKED))[0][3] == brief(whole.attribute(**ASKED))[0][3]
        with pytest.raises(StoreError, match="not in the store, such as 'r2'"):
            index.delete(["r2"])
    assert not any(b"Lima" in file.read_bytes() for file in (tmp_path / "index").rglob("*.safetensors"))


def test_the_matrix_is_of_stored_and_of_new_sketches():
    model = loaded()
    index = GradientIndex.build(model, rows(), **OPTIONS)
    new = Row(id="new", instruction="hello world", completion="no")
    everything = index.influence_matrix(rows())
    assert everything.shape == (7, 7)
    assert everything.dtype == np.float32
    order = [int(row_id[1:]) for row_id in index.row_ids]
    block = index.influence_matrix(queries=[rows()[1], new], rows=rows()[2:5])
    np.testing.assert_allclose(block[0], everything[1][[order.index(place) for place in (2, 3, 4)]], rtol=1e-5)
    hits = {hit.row.id: hit.influence for hit in index.attribute(new, top_k=7)}
    np.testing.assert_allclose(block[1], [hits["r2"], hits["r3"], hits["r4"]], rtol=1e-5)
    cosine = index.influence_matrix(rows()[:1], ["r0"], similarity="cosine", learning_rate=2.0)
    assert cosine.item() == pytest.approx(2.0, rel=1e-5)
    with pytest.raises(StoreError, match="'r0' has changed"):
        index.influence_matrix(rows()[:1], [replace(rows()[0], completion="no")])


def test_the_page_is_remembered_by_an_index_on_a_disk(tmp_path):
    model = loaded()
    index = GradientIndex.build(model, rows(), path=tmp_path / "index", **OPTIONS)
    page = index.attribute(**ASKED, top_k=3).save_html(str(tmp_path / "page.html"))
    assert "<mark>moon teapots sing</mark> on the moon" in page.read_text()
    assert page.resolve() in index.store.log.outputs()


def test_a_model_that_was_trained_on_since_is_refused():
    model = loaded()
    index = GradientIndex.build(model, rows(), **OPTIONS)
    index.attribute(**ASKED)
    with torch.no_grad():
        next(iter(model.model.parameters())).add_(1.0)
    with pytest.raises(StoreError, match="model_fingerprint"):
        index.attribute(**ASKED)


def test_a_model_without_an_adapter_is_traced_by_its_linear_weights():
    from unweave.models.model import Model

    model = Model(tiny_model("gpt2", dtype=torch.float32), loaded().tokenizer)
    index = GradientIndex.build(
        model, [*rows(), Row(id="long", instruction="red " * 600, completion="blue")], **OPTIONS
    )
    assert index.store.spec.parameters == "linear"
    assert [(problem.action, "no space" in problem.reason) for problem in index.problems] == [("dropped", True)]


def test_the_card_says_what_was_cached_and_no_text_of_it(tmp_path):
    model = loaded()
    index = GradientIndex.build(model, rows(), path=tmp_path / "secret-place" / "index", **OPTIONS)
    card = index.card(title="rows | of Ann")
    spec = index.store.spec
    for said in (
        "Gradients can reveal training rows",
        spec.model_fingerprint,
        spec.tokenizer_fingerprint,
        index.store.info()["rows_fingerprint"],
    ):
        assert said in card
    assert f"| rows | {len(index)} |" in card
    assert "| sketch | fold of 512 numbers, seed 42 |" in card
    assert f"| numbers | float32, 2048 bytes a row, {2048 * len(index)} in all |" in card
    assert "# rows \\| of Ann" in card
    assert str(tmp_path) not in card
    texts = [text for row in index.rows for text in (row.prompt, row.completion) if len(text) > 12]
    assert texts
    assert not any(text in card for text in texts)
    before = index.store.rows_fingerprint()
    index.delete(index.row_ids[:1])
    assert (index.store.rows_fingerprint() != before, f"| rows | {len(index)} |" in index.card()) == (True, True)
    (tmp_path / "secret-place" / "index" / "README.md").write_text(card)
    assert find_faults(GradientStore.open(tmp_path / "secret-place" / "index")) == []
