"""The suite on a tiny model: its worlds against loops that are written out here, and the command from its config file to its page, killed and repeated."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.folders import save_model, write_rows
from unweave.cli.main import main
from unweave.config import dump_yaml
from unweave.data.batches import collate
from unweave.errors import ConfigError
from unweave.experiments.attribution.bench import Bench, bench_attribution
from unweave.experiments.attribution.config import AttributionBenchConfig
from unweave.experiments.attribution.measure import Outcome
from unweave.experiments.attribution.measures.backdoor import Backdoor
from unweave.experiments.attribution.registry import SCENES
from unweave.experiments.attribution.summary import Column, Found, findings, summarise
from unweave.experiments.attribution.world import TrainedWorld
from unweave.gradients.loss import differentiable_losses
from unweave.gradients.scoring import row_losses
from unweave.lazy import resolve
from unweave.stats.intervals import Estimate

MAIN = "gradient", "trajectory", "bm25"


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("suite")
    return AttributionBenchConfig(
        model=str(save_model(folder / "base")), output_dir=folder / "out", measures=("lds", "recall", "backdoor"), scorers=MAIN, seeds=(0,), rows=36,
        asked=4, subsets=3, orders=1, retrain_queries=2, random_draws=2, dimension=256, lora_r=2, epochs=1.0, batch_size=9, learning_rate=1e-2,
        record_states=2, dtype="float32", max_length=64,
    )  # fmt: skip


@pytest.fixture(scope="module")
def world(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    return TrainedWorld(config, "facts", 0, folder=folder / "w", parts=folder / "p", identity={"of": "a test"})


@pytest.mark.parametrize("name", SCENES)
def test_scenes_plant_what_they_say_and_are_the_same_each_time(config, name):
    scene, again = (resolve(SCENES[name])(config, 3) for _ in range(2))
    ids = [row.id for row in scene.rows]
    assert len(set(ids)) == len(ids)
    assert scene.rows == again.rows
    assert scene.planted <= set(ids)
    assert 0 < len(scene.planted) < len(ids)
    assert all(own <= set(ids) for own in scene.relevant)
    taught = {row.user_text for row in scene.rows}
    if name != "mislabeled":
        assert not taught & {query.user_text for query in scene.queries}, "asked in other words"
    other = resolve(SCENES[name])(config, 4)
    assert other.rows != scene.rows


def test_the_files_of_date_lm_are_read_and_refused_by_name(config, tmp_path):
    rows = [{"prompt": f"p{n}", "response": "x", "type": "Unsafe" if n < 2 else "Safe"} for n in range(6)]
    facts = [
        {"prompt": f"p{n}", "response": "x", "true_entity": f"{n // 2}", "counterfactual_entity": "c"} for n in range(6)
    ]
    for folder, own in (("toxic", rows), ("facts", facts)):
        (tmp_path / folder).mkdir()
        write_rows(tmp_path / folder / "train.jsonl", own)
        write_rows(tmp_path / folder / "ref.jsonl", own[:2])
    given = replace(config, date_lm_toxicity=tmp_path / "toxic", date_lm_factual=tmp_path / "facts")
    assert resolve(SCENES["toxicity"])(given, 0).planted == {"train:0", "train:1"}
    scene = resolve(SCENES["counterfact"])(given, 0)
    assert list(scene.relevant) == [frozenset({"train:0", "train:1"})] * 2
    with pytest.raises(Exception, match="lack `true_entity`"):
        resolve(SCENES["counterfact"])(replace(given, date_lm_factual=tmp_path / "toxic"), 0)


def test_nothing_left_out_gives_the_model_that_was_trained(world):
    own = row_losses(world.loaded, world.scene.queries, world.config).means()
    np.testing.assert_allclose(world.losses_without([]), own, rtol=1e-5)


def test_retraining_is_the_recorded_run_without_some_rows(world):
    """torch's AdamW in a plain loop over the recorded steps."""
    gone, run = {3, 17}, world.run
    run.load(run.start)
    own = list(run.parameters.values())
    optimizer = torch.optim.AdamW(own, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    for step, rate in zip(run.steps, run.rates, strict=True):
        run.model.train()
        batch = collate([run.examples[place] for place in step if place not in gone], pad_token_id=0)
        losses = differentiable_losses(run.model, batch)
        optimizer.zero_grad()
        (losses.sums().sum() / losses.counts().sum()).backward()
        torch.nn.utils.clip_grad_norm_(own, run.options.max_grad_norm)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
    expected = world.losses()
    np.testing.assert_allclose(world.losses_without([17, 3]), expected, rtol=1e-4)
    assert np.abs(expected - world.losses_without([])).max() > 1e-4


def test_a_patch_is_a_row_s_part_of_one_more_step(world):
    found, run, place = world.patched(), world.run, 5
    end = run.record.state(max(run.record.states))
    run.load(end)
    before = world.losses()
    example, own = run.examples[place], list(run.parameters.values())
    run.model.eval()
    loss = differentiable_losses(run.model, collate([example], pad_token_id=0)).means()[0]
    gradients = torch.autograd.grad(loss, own)
    norm = torch.stack([one.square().sum() for one in gradients]).sum().sqrt()
    with torch.no_grad():
        for name, parameter, gradient in zip(run.parameters, own, gradients, strict=True):
            root = (end.second[name] / (1 - 0.999**end.step)).sqrt() + 1e-8
            parameter -= max(run.rates) / world.config.batch_size * gradient * min(1.0, float(1 / norm)) / root
    np.testing.assert_allclose(found[:, place], before - world.losses(), rtol=1e-2, atol=2e-6)


def test_changes_that_do_not_matter_and_one_that_does(world):
    scores = np.array(world.scored("gradient")["scores"])
    for name in ("batch", "order"):
        np.testing.assert_allclose(world.varied("gradient", name), scores, rtol=1e-3, atol=1e-4 * np.abs(scores).max())
    other = world.varied("gradient", "randomised")
    assert np.abs(other - scores).max() > 0.1 * np.abs(scores).max()
    assert world.varied("trajectory", "batch") is None
    assert world.varied("unrolled", "randomised") is None
    assert world.varied("trajectory", "randomised").shape == scores.shape


def files(config):
    return {path: path.stat().st_mtime_ns for path in sorted((config.output_dir / "parts").rglob("*.json"))}


def test_from_the_config_file_to_the_page_with_a_kill_between(config, tmp_path, capsys, monkeypatch):
    path, asked = tmp_path / "suite.yaml", []
    path.write_text(dump_yaml("bench attribution", config))

    def killed(self, world, scores, scorer):
        asked.append(scorer)
        if scorer == "trajectory":
            raise KeyboardInterrupt
        return Outcome({"auprc": Estimate(0.5, 0.4, 0.6, 4)})

    with monkeypatch.context() as patch:
        patch.setattr(Backdoor, "__call__", killed)
        with pytest.raises(KeyboardInterrupt):
            bench_attribution(config)
    assert asked == ["gradient", "trajectory"]
    there = files(config)
    assert (
        json.loads((config.output_dir / "results.json").read_text())["table"]["gradient"]["backdoor.auprc"]["value"]
        == 0.5
    )
    assert main(["bench", "attribution", str(path), "--quiet"]) == 0
    assert "bm25" in capsys.readouterr().out
    assert there.items() <= files(config).items(), "what is there is not made again"
    results = json.loads((config.output_dir / "results.json").read_text())
    assert list(results["table"]) == list(MAIN)
    assert results["table"]["gradient"]["backdoor.auprc"]["value"] == 0.5, "kept from before"
    for name in MAIN:
        assert set(results["table"][name]) == {"lds.lds", "recall.mrr", "recall.recall", "backdoor.auprc"}
        assert results["costs"][name]["seconds"] > 0
    assert results["costs"]["gradient"]["bytes"] > results["costs"]["bm25"]["bytes"] == 0
    assert set(results["references"]) == {"chance"}
    assert "qld" in results["not_run"]["measures"]
    assert "ekfac" in results["not_run"]["scorers"]
    page = (config.output_dir / "report.html").read_text()
    assert "<svg" in page
    assert "<script" not in page
    assert "were not asked for: qld" in page
    assert "| `bm25` |" in (config.output_dir / "table.md").read_text()
    assert not (config.output_dir / "worlds").exists(), "models and stores go when their figures are there"
    kept = files(config)
    more = replace(config, scorers=(*MAIN, "random"))
    assert list(bench_attribution(more).cells) == [*MAIN, "random"]
    assert kept.items() <= files(config).items(), "a scorer more is asked, and the others are not"
    changed = bench_attribution(
        replace(config, measures=("backdoor",), scorers=("bm25", "gradient"), learning_rate=2e-2)
    )
    assert list(changed.cells) == ["bm25", "gradient"]
    assert changed.cells["gradient"]["backdoor.auprc"].value != 0.5, "other options make all anew"


def test_peers_are_asked_and_what_fails_is_skipped_by_name(config, tmp_path):
    script = tmp_path / "peer.py"
    script.write_text(
        "import json, sys, numpy as np\njob = json.load(open(sys.argv[1]))\n"
        "np.save(sys.argv[2], [[len(set(q['ids']) & set(r['ids'])) for r in job['rows']] for q in job['queries']])\n"
    )
    own = replace(
        config, output_dir=tmp_path / "out", measures=("recall",), scorers=("random",), peers={"overlap": f"python {script}", "gone": "no-such-program"}
    )  # fmt: skip
    table = bench_attribution(own)
    assert list(table.cells) == ["random", "overlap"]
    assert 0 < table.cells["overlap"]["recall.mrr"].value <= 1
    assert "no-such-program" in table.skipped["gone"]
    assert "no-such-program" in (tmp_path / "out" / "report.html").read_text()


def test_findings_say_where_a_baseline_wins():
    columns = list(summarise(Found(), [Backdoor()], AttributionBenchConfig(model="m", output_dir="o")).columns)
    assert isinstance(columns[0], Column)
    key = columns[0].key

    def found(ours, plain):
        values = {"ekfac": dict(enumerate(ours)), "bm25": dict(enumerate(plain)), "random": {0: 0.99}}
        cells = {name: {key: Estimate(float(np.mean(list(own.values()))), 0, 1, 3)} for name, own in values.items()}
        return findings(columns, cells, {name: {key: own} for name, own in values.items()})[0]

    assert "gradients win" in found([0.9, 0.91, 0.9], [0.5, 0.52, 0.5])
    assert "bm25 wins" in found([0.5, 0.52, 0.5], [0.9, 0.91, 0.9])
    assert "no difference is shown" in found([0.5, 0.9, 0.2], [0.6, 0.4, 0.5])
    assert "one seed" in found([0.5], [0.6])


def test_refusals(config, tmp_path):
    for changes, message in (
        ({"scorers": ("ekfak",)}, "is no scorer"),
        ({"measures": ("lsd",)}, "is no measures"),
        ({"rows": 10}, "Nothing can be planted"),
        ({"subsets": 2}, "A correlation needs models"),
        ({"peers": {"bm25": "x"}}, "is a scorer already"),
    ):
        with pytest.raises(ConfigError, match=message):
            Bench(replace(config, output_dir=tmp_path / "none", **changes))
    assert not (tmp_path / "none").exists()
