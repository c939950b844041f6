"""RapidUn's weights against a reference written from the formulas (arXiv 2512.04457, section 4), and the controls."""

import dataclasses
import json
import math
import random
import statistics
from dataclasses import replace

import numpy as np
import pytest
import torch

from unweave.attribution.formats.rapidin import read_influence_file
from unweave.errors import ConfigError, DataError
from unweave.jobs.weigh import weigh_rows
from unweave.weights.blocks import MatrixBlock, blocks_of_arrays
from unweave.weights.config import MappingConfig, WeighConfig
from unweave.weights.controls import loreun_weights, permuted_weights
from unweave.weights.files import read_weights, summarize, write_weights
from unweave.weights.influence_files import blocks_from_files
from unweave.weights.mapping import rapidun_weights
from unweave.weights.signed import belonging, labels_of, regress, signed_weights


def result_file(path, matrix, *, ties=False):
    """A RapidIn result file of a matrix [query][row]."""
    value = {"config": "whatever"}
    for number, row in enumerate(matrix):
        down = sorted(range(len(row)), key=lambda index: row[index], reverse=True)
        up = down[::-1]
        value[str(number)] = {
            "test_data": {},
            "helpful": down,
            "helpful_infl": [row[index] for index in down],
            "harmful": up,
            "harmful_infl": [row[index] for index in up],
        }
    path.write_text(json.dumps(value))
    return path


def reference_weights(own, other, *, topk, tau, low, high):
    """w = exp(clip(z / tau)) / mean with z from median and MAD of (median over queries of the kept values)."""

    def scores(matrix):
        kept_rows = []
        for row in matrix:
            order = sorted(range(len(row)), key=lambda index: -row[index])[:topk]
            kept_rows.append([row[index] if index in order else 0.0 for index in range(len(row))])
        return [statistics.median(column) for column in zip(*kept_rows, strict=True)]

    difference = [a - b for a, b in zip(scores(own), scores(other), strict=True)]
    center = statistics.median(difference)
    mad = statistics.median([abs(value - center) for value in difference])
    z = [(value - center) / max(1.4826 * mad, 1e-3) for value in difference]
    weights = [math.exp(max(math.log(low), min(math.log(high), value / tau))) for value in z]
    mean = math.fsum(weights) / len(weights)
    return [weight / mean for weight in weights]


@pytest.fixture
def matrices():
    rng = random.Random(3)
    sizes = {"f2f": (11, 11), "f2r": (17, 11), "r2f": (11, 17), "r2r": (17, 17)}
    return {
        name: [[rng.gauss(0, 5) for _ in range(rows)] for _ in range(queries)]
        for name, (queries, rows) in sizes.items()
    }


@pytest.fixture
def files(tmp_path, matrices):
    return {name: result_file(tmp_path / f"{name}.json", matrix) for name, matrix in matrices.items()}


@pytest.mark.parametrize("topk", [40, 6, 3, 1])
def test_weights_are_those_of_the_formulas(tmp_path, files, matrices, topk):
    config = WeighConfig(**files, topk=topk, output_forget=tmp_path / "wf.jsonl", output_retain=tmp_path / "wr.jsonl")
    weights = weigh_rows(config)
    forget = reference_weights(matrices["f2f"], matrices["f2r"], topk=topk, tau=0.7, low=0.2, high=3.0)
    retain = reference_weights(matrices["r2r"], matrices["r2f"], topk=topk, tau=1.2, low=0.2, high=3.0)
    assert weights.forget == pytest.approx(forget, rel=1e-12)
    assert weights.retain == pytest.approx(retain, rel=1e-12)
    written = [json.loads(line) for line in (tmp_path / "wf.jsonl").read_text().splitlines()]
    assert [record["index"] for record in written] == list(range(11))
    assert [record["weight"] for record in written] == weights.forget
    assert sum(weights.forget) / 11 == pytest.approx(1)


def test_hand_computed_case(tmp_path):
    """Two queries, three rows. Rows' medians 2, 1, 0; other block 0; median 1, MAD 1, z = +-1/1.4826; exp(z / 0.7) clipped at 0.2 and 3."""
    own, other = [[3.0, 1.0, 0.0], [1.0, 1.0, 0.0]], [[0.0, 0.0, 0.0]]
    paths = {
        name: result_file(tmp_path / f"{name}.json", matrix)
        for name, matrix in {"f2f": own, "f2r": other, "r2f": other, "r2r": other}.items()
    }
    weights = weigh_rows(WeighConfig(**paths, output_forget=tmp_path / "a", output_retain=tmp_path / "b"))
    raw = [math.exp(1 / 1.4826 / 0.7), 1.0, math.exp(-1 / 1.4826 / 0.7)]
    assert weights.forget == pytest.approx([value / (sum(raw) / 3) for value in raw])
    assert weights.retain == [1.0, 1.0, 1.0]


def test_rank_scores_robust_scaling_and_harmful_lists(files, matrices):
    blocks = blocks_from_files(**files)

    def run(**options):
        return rapidun_weights(blocks, MappingConfig(**options))[0]

    # With ranks only the order counts.
    ranked = run(rank=True, topk=5)
    cubed = {name: [[value**3 for value in row] for row in matrix] for name, matrix in matrices.items()}
    expected_scores = []
    for name, sign in (("f2f", 1), ("f2r", -1)):
        table = []
        for row in matrices[name]:
            order = sorted(range(len(row)), key=lambda index: -row[index])[:5]
            table.append([5.0 - order.index(index) if index in order else 0.0 for index in range(len(row))])
        expected_scores.append([sign * statistics.median(column) for column in zip(*table, strict=True)])
    difference = [a + b for a, b in zip(*expected_scores, strict=True)]
    order = sorted(range(11), key=lambda index: difference[index])
    assert [ranked[index] for index in order] == sorted(ranked)
    assert cubed
    assert run(per_test_robust=True) != run()
    # The harmful list of all rows holds the same values as the helpful one: subtracting it with factor 1 cancels FF.
    harmed = run(topk=None, use_harmful=True, beta=0.0, beta_harm=0.0)
    assert harmed == [1.0] * 11


def test_dense_weights_keep_all_values(tmp_path, files):
    paths = {"output_forget": tmp_path / "wf", "output_retain": tmp_path / "wr"}
    dense = weigh_rows(WeighConfig(**files, **paths, method="rapidun-dense", topk=1))
    full = weigh_rows(WeighConfig(**files, **paths, topk=None))
    cut = weigh_rows(WeighConfig(**files, **paths, topk=1))
    assert dense.forget == full.forget
    assert dense.forget != cut.forget


def test_controls(tmp_path, files):
    paths = {"output_forget": tmp_path / "wf", "output_retain": tmp_path / "wr"}
    influence = weigh_rows(WeighConfig(**files, **paths))
    uniform = weigh_rows(WeighConfig(**files, **paths, method="uniform"))
    shuffled = weigh_rows(WeighConfig(**files, **paths, method="random", seed=1))
    assert uniform.forget == [1.0] * 11
    assert sorted(shuffled.forget) == sorted(influence.forget)
    assert shuffled.forget != influence.forget
    assert permuted_weights(influence.forget, seed=1) == shuffled.forget


def test_loreun_gives_small_losses_large_weights():
    config = WeighConfig(method="loreun")
    losses = [0.1, 0.5, 1.0, 2.0]
    weights = loreun_weights(losses, config)
    raw = [math.exp(-loss / 0.8) for loss in losses]
    raw = [value / (sum(raw) / 4) for value in raw]
    clipped = [min(max(value, 0.5), 3.0) for value in raw]
    assert weights == pytest.approx([value / (sum(clipped) / 4) for value in clipped])
    assert weights == sorted(weights, reverse=True)
    opposite = loreun_weights(losses, WeighConfig(method="loreun", loreun_direction="easy-high"))
    assert opposite == sorted(opposite)
    assert loreun_weights([1000.0, 1000.5], config)[0] > 1


def test_saturation_and_effective_sample_size():
    summary = summarize([0.5, 0.5, 1.0, 2.0])
    assert summary.effective_sample_size == pytest.approx(16 / 5.5)
    assert summary.at_low == 0.5
    assert summary.at_high == 0.0
    assert summary.levels == 3
    assert summarize([1.0, 1.0]).at_low == 0.0


def test_result_files_one_entry_a_line(tmp_path, matrices, files):
    entries = [value for key, value in json.loads(files["f2f"].read_text()).items() if key != "config"]
    lines = tmp_path / "lines.jsonl"
    lines.write_text("\n".join(json.dumps(entry) for entry in entries))
    assert read_influence_file(lines) == read_influence_file(files["f2f"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no entry"),
        ('{"config": 1}', "no entry"),
        ('{"0": {"helpful": [1, 2], "helpful_infl": [0.5]}}', "2 rows and 1 influences"),
        ('{"0": {"helpful": ["x"], "helpful_infl": [0.5]}}', "numbers"),
        ('{"0": {"helpful": 3, "helpful_infl": [0.5]}}', "not a list"),
        ('{"0": {"helpful": [-1], "helpful_infl": [0.5]}}', "not the index of a row"),
        ('{"0": {"helpful": [1.5], "helpful_infl": [0.5]}}', "not the index of a row"),
        ('{"0": {"helpful": [true], "helpful_infl": [0.5]}}', "not the index of a row"),
        ('{"0": {"helpful": [1], "helpful_infl": [NaN]}}', "not finite"),
        ('{"0": {"helpful": [1e400], "helpful_infl": [1]}}', "numbers"),
        ("[" * 100000, "nested too deeply"),
        ('{"helpful": [0], "helpful_infl": [1.0]}\n{broken', "not valid JSON"),
    ],
)
def test_bad_result_files_are_named(tmp_path, content, message):
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(DataError, match=message) as raised:
        read_influence_file(path)
    assert "bad.json" in str(raised.value)


@pytest.mark.parametrize(("index", "message"), [(None, "all their lists are empty"), (10**9, "hardly the index")])
def test_lists_that_name_no_row_or_impossible_ones_are_an_error(tmp_path, index, message):
    rows = [] if index is None else [index]
    path = tmp_path / "f.json"
    path.write_text(
        json.dumps({"0": {"helpful": rows, "helpful_infl": [1.0] * len(rows), "harmful": [], "harmful_infl": []}})
    )
    config = WeighConfig(
        f2f=path, f2r=path, r2f=path, r2r=path, output_forget=tmp_path / "a", output_retain=tmp_path / "b"
    )
    with pytest.raises(DataError, match=message):
        weigh_rows(config)
    counted = dataclasses.replace(config, n_forget=3, n_retain=2)
    assert weigh_rows(counted).forget == [1.0, 1.0, 1.0], "an index outside the rows is ignored, as in RapidUn"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"index": 0, "weight": 1}', "1 weights for 2 rows"),
        ('{"index": 0, "weight": 1}\n{"index": 0, "weight": 1}', "repeated"),
        ('{"index": 0, "weight": 1}\n{"index": 1, "weight": NaN}', "not finite"),
        ('{"index": 0, "weight": 1}\n{"index": 1, "weight": -1}', "out of range"),
        ('{"index": 0, "weight": 0}\n{"index": 1, "weight": 0}', "All weights are zero"),
        ('{"index": 0.5, "weight": 1}', "no index"),
        ('{"index": true, "weight": 1}', "no index"),
        ('{"index": 1e999, "weight": 1}', "Not a weight"),
        ("[1]", "Not a weight"),
        ("{", "Not a weight"),
        ('{"index": 0, "wei', "Not a weight"),
    ],
)
def test_bad_weight_files_are_named(tmp_path, content, message):
    path = tmp_path / "w.jsonl"
    path.write_text(content)
    with pytest.raises(DataError, match=message) as raised:
        read_weights(path, count=2)
    assert "w.jsonl" in str(raised.value)


def test_missing_influence_is_named(files):
    with pytest.raises(ConfigError, match="`r2f`, `r2r`"):
        weigh_rows(WeighConfig(f2f=files["f2f"], f2r=files["f2r"]))


def test_weight_files_round_trip_and_refuse_what_does_not_fit(tmp_path):
    path = tmp_path / "w.jsonl"
    write_weights(path, [0.1, 1.0, 1.9])
    assert read_weights(path, count=3) == [0.1, 1.0, 1.9]
    with pytest.raises(DataError, match="3 weights for 4 rows"):
        read_weights(path, count=4)
    path.write_text('{"index": 0, "weight": 1}\n{"index": 0, "weight": 1}\n')
    with pytest.raises(DataError, match="repeated") as raised:
        read_weights(path, count=2)
    assert f"{path}:2" in str(raised.value)


def test_blocks_of_a_store_are_the_gram_matrix(tmp_path):
    from tests.store.test_store import make_spec
    from unweave.store.store import GradientStore
    from unweave.weights.blocks import blocks_from_store

    sketches = torch.randn(7, 64, generator=torch.Generator().manual_seed(0))
    store = GradientStore.create(tmp_path / "store", make_spec(number_format="float32"))
    ids = [f"r{index}" for index in range(7)]
    with store.writing():
        store.commit(ids, sketches, torch.ones(7), torch.ones(7))
    blocks = blocks_from_store(store, ids[:3], ids[3:])
    gram = (sketches @ sketches.T).numpy()
    for block, queries, rows in (
        (blocks.ff, (0, 3), (0, 3)),
        (blocks.fr, (3, 7), (0, 3)),
        (blocks.rf, (0, 3), (3, 7)),
        (blocks.rr, (3, 7), (3, 7)),
    ):
        expected = gram[slice(*queries), slice(*rows)]
        assert block.matrix() == pytest.approx(expected, rel=1e-5)
        for kind, line in (("helpful", -expected), ("harmful", expected)):
            for (places, values), own in zip(block.rankings(kind, in_order=True), line, strict=True):
                assert places.tolist() == np.argsort(own).tolist()
                assert abs(values) == pytest.approx(abs(own[places]), rel=1e-5)
    with pytest.raises(DataError, match="forgotten and retained"):
        blocks_from_store(store, ids[:3], ids[2:])


def blocks_of(features, n_forget):
    """Influence between rows with some features, as inner products."""
    kernel = np.array(features) @ np.array(features).T
    f, r = slice(None, n_forget), slice(n_forget, None)
    return blocks_of_arrays(ff=kernel[f, f], fr=kernel[r, f], rf=kernel[f, r], rr=kernel[r, r])


def test_signed_weights_send_rows_like_the_forget_rows_to_their_side():
    """Rows to forget and retain rows 3 and 7 share a direction, at lengths that differ by ten; all rows share another one."""
    rng = random.Random(0)

    def row(belongs):
        length = rng.uniform(1, 10)
        return [length * value for value in [1.0, 1.0 if belongs else 0.0, *(rng.gauss(0, 0.15) for _ in range(40))]]

    features = [row(True) for _ in range(20)] + [row(index in (3, 7)) for index in range(30)]
    forget, retain = signed_weights(blocks_of(features, 20), MappingConfig())
    assert forget == [1.0] * 20
    assert [index for index, weight in enumerate(retain) if weight < 0] == [3, 7]
    assert sum(weight for weight in retain if weight > 0) / 28 == pytest.approx(1.0)
    alike = [row(False) for _ in range(50)]
    nobody = signed_weights(blocks_of(alike, 20), MappingConfig(signed_precision=1.0))
    assert sum(weight < 0 for weight in nobody[1]) <= 20
    with pytest.raises(DataError, match="too few"):
        signed_weights(blocks_of(features, 1), MappingConfig())
    with pytest.raises(ConfigError, match="ridge of 0"):
        signed_weights(blocks_of(features, 20), MappingConfig(signed_ridge=0.0))
    with pytest.raises(DataError, match="30 row"):
        signed_weights(replace(blocks_of(features, 20), rr=MatrixBlock(np.zeros((30, 30)))), MappingConfig())
    with pytest.raises(DataError, match="30 and 29 queries"):
        signed_weights(replace(blocks_of(features, 20), rr=MatrixBlock(np.zeros((29, 30)))), MappingConfig())


def test_left_out_predictions_are_those_of_refitting():
    rng = np.random.default_rng(1)
    features = rng.normal(size=(12, 5))
    kernel = features @ features.T
    labels = np.where(np.arange(12) < 4, 8 / 12, -4 / 12)
    expected = []
    for left in range(12):
        kept = [index for index in range(12) if index != left]
        solution = np.linalg.solve(kernel[np.ix_(kept, kept)] + 0.7 * np.eye(11), labels[kept])
        expected.append(kernel[left, kept] @ solution)
    assert regress(kernel, labels_of(np.arange(len(kernel)) < 4), ridge=0.7).predictions == pytest.approx(
        np.array(expected)
    )


def test_rows_that_belong_are_found_at_about_the_precision_asked_for():
    """Scores of labelled rows and of hidden ones are of one distribution, as the estimate assumes; the others' overlap it."""
    rng = np.random.default_rng(2)
    precisions, found = [], []
    for _ in range(60):
        labelled, hidden, rest = rng.normal(2, 1, 40), rng.normal(2, 1, 30), rng.normal(0, 1, 90)
        flags = belonging(labelled, np.concatenate([hidden, rest]), precision=0.7)
        found.append(flags[:30].sum())
        precisions.append(flags[:30].sum() / max(1, flags.sum()))
    assert np.mean(precisions) == pytest.approx(0.7, abs=0.1)
    assert np.mean(found) > 15
    assert not belonging(np.full(5, 3.0), np.zeros(9), precision=0.7).any(), "nobody reaches the labelled rows' scores"


def test_signed_weights_and_their_control_from_files(tmp_path):
    rng = random.Random(3)
    features = [[1.0, float(row < 8 or row == 10), *(rng.gauss(0, 0.2) for _ in range(20))] for row in range(20)]
    kernel = [[sum(a * b for a, b in zip(one, other, strict=True)) for other in features] for one in features]
    cut = {"f": slice(0, 8), "r": slice(8, 20)}
    # RapidUn's names: f2r holds queries R on rows F.
    places = {"f2f": ("f", "f"), "f2r": ("r", "f"), "r2f": ("f", "r"), "r2r": ("r", "r")}
    files = {
        name: result_file(tmp_path / f"{name}.json", [row[cut[rows]] for row in kernel[cut[queries]]])
        for name, (queries, rows) in places.items()
    }
    paths = {"output_forget": tmp_path / "wf", "output_retain": tmp_path / "wr"}
    weights = weigh_rows(WeighConfig(**files, **paths, method="signed"))
    assert [index for index, weight in enumerate(weights.retain) if weight < 0] == [2]
    assert weights.retain_summary.negative == 1
    assert read_weights(tmp_path / "wr", count=12, signed=True) == weights.retain
    with pytest.raises(DataError, match=r"weight -1\.0"):
        read_weights(tmp_path / "wr", count=12)
    control = weigh_rows(WeighConfig(**files, **paths, method="random", random_of="signed", seed=1))
    assert sorted(control.retain) == sorted(weights.retain)
    assert control.retain != weights.retain
