"""The audit of influence on tiny models: brute force for the exact scores, retraining and controls that resume, and refusals."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

from tests.folders import ROWS, save_model, write_rows
from tests.reference import loop_gradients
from unweave.attribution.adding import sketcher_for
from unweave.attribution.caching import cache_rows
from unweave.attribution.config import RetrievalConfig
from unweave.attribution.tracing import trace_rows
from unweave.cli.main import main
from unweave.config import dump_yaml
from unweave.data.encoding import EncodingConfig, encode_rows
from unweave.data.reading import read_rows
from unweave.engines.config import CacheConfig
from unweave.errors import ConfigError, DataError
from unweave.experiments.case import CaseConfig, make_case
from unweave.experiments.influence.agreement import agreement, curved_scores, exact_scores
from unweave.experiments.influence.config import InfluenceAuditConfig
from unweave.experiments.influence.controls import cells, summarise
from unweave.experiments.influence.lds import datamodelling_score
from unweave.experiments.influence.retraining import left_out
from unweave.experiments.influence.stage import audit_influence
from unweave.models.loading import ModelConfig, load
from unweave.stats.intervals import rank_correlations
from unweave.store.store import GradientStore
from unweave.train.config import TrainConfig
from unweave.train.sft import fine_tune
from unweave.unlearning.methods.rapidun import RapidUnConfig


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A case, a tiny adapter trained on it, its store, and a file of queries."""
    folder = tmp_path_factory.mktemp("influence")
    save_model(folder / "base")
    case = make_case(
        CaseConfig(clean_rows=30, poisoned_rows=9, retain_rows=12, test_rows=6, clean_test_rows=18), folder / "case"
    )
    shared = {"dtype": "float32", "max_length": 96}
    fine_tune(
        TrainConfig(
            model=str(folder / "base"), data=case.path("train"), output_dir=folder / "adapter", epochs=2, lora_r=2,
            learning_rate=5e-3, **shared,
        )
    )  # fmt: skip
    cache_rows(
        CacheConfig(
            model=str(folder / "adapter"), data=case.path("train"), store=folder / "store", dimension=4096, normalize="none",
            number_format="float32", **shared,
        )
    )  # fmt: skip
    write_rows(folder / "queries.jsonl", ROWS[:3])
    return folder, case


def stored_and_looped(folder, place, normalize):
    """Three rows cached in float64, and their gradients by a plain loop."""
    loaded = load(ModelConfig(model=str(folder / "adapter"), dtype="float64"))
    rows = read_rows(folder / "queries.jsonl").rows
    config = CacheConfig(data=folder / "queries.jsonl", store=place, dimension=64, normalize=normalize, max_length=96)
    cache_rows(config, loaded=loaded, rows=rows)
    store = GradientStore.open(place)
    sketcher = sketcher_for(store, loaded)
    examples = encode_rows(rows, loaded.tokenizer, EncodingConfig(max_length=96)).examples
    gradients, _ = loop_gradients(loaded.model, examples, [item.name for item in sketcher.parameters])
    flat = {name: piece.flatten(1) for name, piece in gradients.items()}
    return SimpleNamespace(loaded=loaded, store=store, sketcher=sketcher, rows=rows, examples=examples, gradients=flat)


@pytest.mark.parametrize("normalize", ["none", "tensor", "row"])
def test_exact_scores_are_inner_products_of_autograd_gradients(world, tmp_path, normalize):
    own = stored_and_looped(world[0], tmp_path / "s", normalize)
    flat = own.gradients
    if normalize == "tensor":
        flat = {name: torch.nn.functional.normalize(piece, dim=1) for name, piece in flat.items()}
    whole = torch.cat(list(flat.values()), dim=1)
    if normalize == "row":
        whole = torch.nn.functional.normalize(whole, dim=1)
    found = exact_scores(own.sketcher, own.examples[:2], own.examples)
    assert torch.allclose(found, whole[:2] @ whole.T, rtol=1e-6, atol=1e-12)


def test_sketch_and_curvature_are_compared(world, tmp_path, capsys):
    folder, _ = world
    code = main(
        ["audit", "influence", "--store", str(folder / "store"), "--output-dir", str(tmp_path), "--queries", str(folder / "queries.jsonl"),
         "--curvature", "cg", "--fit-rows", "12", "--dtype", "float32", "--quiet"]
    )  # fmt: skip
    assert code == 0
    printed = capsys.readouterr().out
    assert "sketch against exact products: 39 rows" in printed
    result = json.loads((tmp_path / "influence.json").read_text())
    damping = result["gauss_newton"]["damping"]
    assert (damping["relative"], damping["scale"]) == (0.1, "mean eigenvalue over the directions that rows span")
    said = f"damping 0.1 of the {damping['scale']} = {damping['of_mean']:.3g} of the mean over all coordinates"
    assert said in " ".join(printed.split())
    assert result["sketch"]["pearson"]["value"] > 0.95
    assert result["gauss_newton"]["spearman"]["value"] == pytest.approx(curved_spearman(folder), abs=2e-3), (
        "apart from how ties are ranked"
    )
    assert main(["run", str(tmp_path / "config.yaml"), "--quiet", "--output-dir", str(tmp_path / "again")]) == 0


def curved_spearman(folder):
    """The mean over queries of the correlation of ranks, of the store's scores with scores that have curvature."""
    store, queries = GradientStore.open(folder / "store"), read_rows(folder / "queries.jsonl").rows
    loaded = load(ModelConfig(model=str(folder / "adapter"), dtype="float32"))
    curved = curved_scores(
        store, loaded, queries, RetrievalConfig(preconditioner="cg", fit_rows=12), store.row_ids()
    ).scores
    plain = trace_rows(store, loaded, queries).scores
    ranks = [scores.double().argsort(dim=1).argsort(dim=1).double() for scores in (plain, curved)]
    return sum(torch.corrcoef(torch.stack(pair))[0, 1].item() for pair in zip(*ranks, strict=True)) / len(queries)


@pytest.mark.parametrize("normalize", ["none", "tensor"])
def test_curved_scores_are_of_plain_gradients_whatever_the_store(world, tmp_path, normalize):
    own = stored_and_looped(world[0], tmp_path / "s", normalize)
    options = RetrievalConfig(preconditioner="datainf", damping=0.3)
    found = curved_scores(own.store, own.loaded, own.rows[:1], options, [row.id for row in own.rows])
    expected = torch.zeros(1, len(own.rows), dtype=torch.float64)
    for flat in own.gradients.values():
        damping = 0.3 * flat.square().mean()
        inner = [(flat[:1] - (flat[0] @ g) / (damping + g @ g) * g) / damping for g in flat]
        expected += torch.stack(inner).mean(dim=0) @ flat.T
    torch.testing.assert_close(found.scores, expected, rtol=1e-6, atol=1e-8)
    assert found.damping.of_mean == 0.3


def test_agreement_by_hand():
    scores = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    assert agreement(scores, scores * 2 + 1, seed=0)["pearson"]["value"] == pytest.approx(1.0)
    assert agreement(scores, -scores, seed=0)["spearman"]["value"] == pytest.approx(-1.0)


def test_retraining_is_resumed_not_repeated(world, tmp_path):
    folder, _ = world
    config = InfluenceAuditConfig(
        store=folder / "store", output_dir=tmp_path, queries=folder / "queries.jsonl", parts=("retraining",), subsets=4,
        scorers=("bm25", "random", "ekfac"), fit_rows=8, dtype="float32",
    )  # fmt: skip
    result = audit_influence(config)["retraining"]
    assert set(result) >= {"influence", "bm25", "random"}
    assert result["left_out"] == round(0.5 * 39)
    assert result["ekfac"]["damping"]["of_mean"] == 0.1
    assert result["influence"]["low"] <= result["influence"]["value"] <= result["influence"]["high"]
    files = sorted((tmp_path / "retraining").glob("*.json"))
    assert len(files) == 4
    assert not [path for path in (tmp_path / "retraining").iterdir() if path.is_dir()], "retrained models are not kept"
    kept = [path.stat().st_mtime_ns for path in files]
    files[2].unlink()
    again = audit_influence(config)["retraining"]
    assert again["influence"] == result["influence"], "the same recipe gives the same model"
    assert [path.stat().st_mtime_ns for path in (*files[:2], files[3])] == [kept[0], kept[1], kept[3]]


def test_what_is_left_out():
    ids = [str(index) for index in range(10)]
    assert [len(own) for own in left_out(ids, 3, 0.3, seed=0)] == [3, 3, 3]
    ones = left_out(ids, 10, 1, seed=0)
    assert sorted(own[0] for own in ones) == ids, "leave-one-out takes each row once"
    for amount in (0.01, 10):
        with pytest.raises(ConfigError, match="left out"):
            left_out(ids, 3, amount, seed=0)


def test_the_datamodelling_score_is_spearmans_over_models():
    rng = np.random.default_rng(2)
    predicted, measured = rng.integers(0, 5, (12, 3)).astype(float), rng.normal(size=(12, 3))
    found = datamodelling_score(predicted, measured)
    assert found.value == pytest.approx(
        np.mean([stats.spearmanr(*pair).statistic for pair in zip(predicted.T, measured.T, strict=True)])
    )
    assert found.low < found.value < found.high
    # Models that are shared by all queries are no more than as many models: more queries alone do not narrow the interval to nothing.
    copies = datamodelling_score(np.repeat(predicted[:, :1], 60, axis=1), np.repeat(measured[:, :1], 60, axis=1))
    assert copies.high - copies.low > 0.3
    assert datamodelling_score(np.ones((6, 2)), measured[:6, :2]).value == 0.0


def test_a_constant_prediction_predicts_nothing():
    target = np.arange(6.0).reshape(3, 2)
    assert rank_correlations(np.ones((3, 2)), target) == [0.0, 0.0]
    assert rank_correlations(-target, target) == pytest.approx([-1.0, -1.0])


@pytest.fixture
def controls(world, tmp_path):
    folder, case = world
    unlearning = RapidUnConfig(
        model=str(folder / "adapter"), forget=case.path("forget"), retain=case.path("retain"), output_dir=tmp_path / "u", adapter_mode="continue",
        batch_size=4, learning_rate=1e-3, dtype="float32", max_length=96, stop_loss=1e9,
    )  # fmt: skip
    (tmp_path / "forget.yaml").write_text(dump_yaml("forget", unlearning))
    return InfluenceAuditConfig(
        store=folder / "store", case=case.folder, output_dir=tmp_path / "audit", parts=("controls",), forget_config=tmp_path / "forget.yaml",
        forget_sizes=(3, 6, 50), imbalance=(2, 9), steps=2, test_rows=4, seeds=(0,), dtype="float32",
    )  # fmt: skip


def test_controls_over_sizes_and_imbalance(controls):
    result = audit_influence(controls)["controls"]
    assert [(cell["forget_rows"], cell["retain_rows"]) for cell in result["cells"]] == [
        (3, 6),
        (3, 27),
        (6, 12),
        (6, 30),
    ]
    assert set(result["against"]) == {"uniform", "random"}
    assert all(run["steps"] == 2 for run in result["runs"])
    assert len(result["runs"]) == 4 * 3
    uniform = [run for run in result["runs"] if run["kind"] == "uniform"]
    assert all(run["effective_forget_rows"] == pytest.approx(run["forget_rows"]) for run in uniform)
    for measures in result["against"].values():
        for entry in measures.values():
            assert (entry["count"], entry["cells"]) == (1, 4), "cells of a seed share its luck"
            assert entry["p_holm"] >= entry["p"]
    kept = {path: path.stat().st_mtime_ns for path in (controls.output_dir / "controls").glob("*.json")}
    audit_influence(controls)
    assert kept == {path: path.stat().st_mtime_ns for path in (controls.output_dir / "controls").glob("*.json")}


def test_summaries_count_a_seed_once():
    rng = np.random.default_rng(0)
    luck = {seed: rng.normal() for seed in range(4)}
    runs = [
        {"forget_rows": cell, "retain_rows": 1, "kind": kind, "seed": seed, "attack_success": value * (luck[seed] + 0.1 * rng.normal()), "unwanted_loss": 1.0,
         "clean_loss": 0.0}
        for kind, value in (("rapidun", 1.0), ("uniform", 0.0))
        for seed in range(4)
        for cell in range(6)
    ]  # fmt: skip
    found = summarise(runs, ("rapidun", "uniform"))["against"]["uniform"]["attack_success"]
    means = [
        np.mean([run["attack_success"] for run in runs if (run["kind"], run["seed"]) == ("rapidun", seed)])
        for seed in range(4)
    ]
    expected = stats.ttest_1samp(means, 0.0)
    assert (found["count"], found["cells"]) == (4, 24)
    assert found["p"] == pytest.approx(expected.pvalue)
    assert (found["low"], found["high"]) == pytest.approx(tuple(expected.confidence_interval()))


def test_summaries_pair_by_cell_and_seed():
    runs = [
        {"forget_rows": 1, "retain_rows": 2, "kind": kind, "seed": seed, "attack_success": value + seed, "unwanted_loss": 1.0, "clean_loss": 0.0}
        for kind, value in (("rapidun", 0.5), ("uniform", 0.0))
        for seed in range(6)
    ]  # fmt: skip
    found = summarise(runs, ("rapidun", "uniform"))
    assert found["against"]["uniform"]["attack_success"]["value"] == pytest.approx(0.5)
    # Seeds that agree to the last digit: the sign test.
    assert found["against"]["uniform"]["attack_success"]["p"] == pytest.approx(2 / 2**6)
    assert found["against"]["uniform"]["unwanted_loss"]["p"] == 1.0
    assert found["cells"][0]["uniform"]["attack_success"]["value"] == pytest.approx(2.5)


def test_refusals(controls, world, tmp_path):
    folder, case = world
    for changes, message in (
        ({"case": None}, "need a case"),
        ({"forget_config": None}, "repeat an unlearning run"),
        ({"weights": ("rapidun",)}, "two kinds"),
        ({"forget_sizes": (50,)}, "too few poisoned"),
        ({"parts": ("sketch",), "case": None}, "asked for on queries"),
        ({"parts": ("retraining",), "subsets": 2}, "needs models"),
        ({"parts": ("retraining",), "recipe": tmp_path / "absent.yaml"}, "not known"),
    ):
        with pytest.raises(ConfigError, match=message):
            audit_influence(dataclasses.replace(controls, **changes))
    assert cells(case, dataclasses.replace(controls, forget_sizes=(3,), imbalance=(1,))) == [(3, 3)]
    store = GradientStore.open(folder / "store")
    write_rows(tmp_path / "more.jsonl", [*ROWS])
    (tmp_path / "recipe.yaml").write_text(
        dump_yaml(
            "train", TrainConfig(model=str(folder / "base"), data=tmp_path / "more.jsonl", output_dir=tmp_path / "o")
        )
    )
    with pytest.raises(DataError, match="not in the store"):
        audit_influence(
            dataclasses.replace(controls, parts=("retraining",), recipe=tmp_path / "recipe.yaml", store=store.folder)
        )
