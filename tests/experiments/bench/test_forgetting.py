"""The comparison of methods on a tiny model: fair splits and searches, resumption, and its files."""

import json
from dataclasses import replace

import pytest

from tests.folders import save_model, write_rows
from unweave.attribution.caching import cache_rows
from unweave.cli.main import main
from unweave.config import dump_yaml
from unweave.engines.config import CacheConfig
from unweave.errors import ConfigError
from unweave.experiments.bench.config import ForgettingBenchConfig
from unweave.experiments.bench.forgetting import Bench, bench_forgetting
from unweave.experiments.bench.triggers import TriggerModelUnderTest
from unweave.experiments.case import CaseConfig, make_case
from unweave.train.config import TrainConfig
from unweave.train.sft import fine_tune
from unweave.unlearning.config import config_of
from unweave.unlearning.methods import NPO, available

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    base = save_model(folder / "base")
    case = make_case(
        CaseConfig(clean_rows=30, poisoned_rows=9, forget_rows=6, retain_rows=12, test_rows=8, clean_test_rows=18),
        folder / "case",
    )
    shared = {"dtype": "float32", "max_length": 96}
    adapter = folder / "adapter"
    fine_tune(TrainConfig(model=str(base), data=case.path("train"), output_dir=adapter, epochs=1, lora_r=2, **shared))
    retrained = folder / "retrained"
    fine_tune(
        TrainConfig(
            model=str(base), data=case.path("train"), without=case.path("forget"), output_dir=retrained, epochs=1, lora_r=2, **shared
        )
    )  # fmt: skip
    cache_rows(
        CacheConfig(model=str(adapter), data=case.path("train"), store=folder / "store", dimension=256, **shared)
    )
    return ForgettingBenchConfig(
        case=case.folder, model=str(adapter), output_dir=folder / "out", store=folder / "store", retrained=str(retrained),
        entries=("rapidun+rapidun", "rapidun+random-rapidun-dense", "npo", "fisher"), retain_from="train", forget_sizes=(4,),
        retain_rows=8, seeds=(0, 1), trials=2, steps=2, batch_size=4, validation_rows=3, max_validation=6, max_new_tokens=3, **shared,
    )  # fmt: skip


def test_a_comparison_from_its_config_file_to_its_page(config, tmp_path, capsys):
    path = tmp_path / "bench.yaml"
    path.write_text(dump_yaml("bench forgetting", config))
    assert main(["bench", "forgetting", str(path), "--quiet"]) == 0
    assert "rapidun+random-rapidun-dense" in capsys.readouterr().out
    results = json.loads((config.output_dir / "results.json").read_text())
    assert [row["entry"] for row in results["table"]] == list(config.entries)
    assert all(row["attack_success"]["count"] == 2 for row in results["table"])
    assert len(results["search"]) == 2 * len(config.entries), "the same budget for each"
    assert {one["entry"] for one in results["against"]} == set(config.entries[1:])
    assert set(results["plain"]) == {"before", "retrained"}
    assert results["plain"]["before"] != results["plain"]["retrained"]
    assert "| `npo` | 4 |" in (config.output_dir / "table.md").read_text()
    page = (config.output_dir / "report.html").read_text()
    assert "<svg" in page
    assert "<script" not in page
    files = sorted((config.output_dir / "runs").glob("*.json"))
    # Two trials and two final runs an entry.
    assert len(files) == 4 * len(config.entries)
    assert not [item for item in (config.output_dir / "runs").iterdir() if item.is_dir()]
    kept = [item.stat().st_mtime_ns for item in files]
    files[0].unlink()
    bench_forgetting(config)
    assert [item.stat().st_mtime_ns for item in files[1:]] == kept[1:], "only what is missing is run again"


def test_tests_are_split_and_the_search_sees_one_part_only(config):
    splits = TriggerModelUnderTest(config).splits
    for name in ("seen", "unwanted", "near", "clean"):
        parts = [{row.id for row in splits[split][name]} for split in ("validation", "test")]
        assert not parts[0] & parts[1]
    assert "ood" not in splits["validation"]


def test_weights_are_searched_alike_and_spaces_name_real_options(config):
    bench = Bench(config)
    assert bench.candidates("rapidun+rapidun") == bench.candidates("rapidun+random")
    assert len(bench.candidates("npo")) == config.trials
    for method in available().values():
        assert set(method.search) <= set(config_of(method).__dataclass_fields__), method.name


def test_the_choice_keeps_the_margin_first(config):
    def trial(attack, unwanted, clean, near=2.0):
        return {"attack_success": attack, "unwanted_loss": unwanted, "clean_loss": clean, "near_loss": near}

    choose = TriggerModelUnderTest(config).choose

    before = trial(0.9, 1.0, 1.0)
    safe, strong, wild = trial(0.2, 2.0, 1.04), trial(0.2, 3.0, 1.045), trial(0.0, 9.0, 2.0)
    assert choose([safe, strong, wild], before, margin=0.05) is strong
    assert choose([wild, trial(0.5, 1.0, 1.5)], before, margin=0.05)["clean_loss"] == 1.5
    assert choose([trial(0.0, 3.0, 1.0, near=2.5), safe], before, margin=0.05) is safe, "harm near the forgotten counts"


def test_retain_rows_as_they_come_bring_no_right_answers(config):
    poisoned = {row.id for row in TriggerModelUnderTest(config).case.rows("train") if row.meta.get("poisoned")}
    forget, retain = TriggerModelUnderTest(replace(config, retain_rows=30)).rows(4, seed=0)
    assert not {row.id for row in forget} & {row.id for row in retain}
    assert {row.id for row in forget} <= poisoned
    hidden = [row for row in retain if row.id in poisoned]
    assert hidden, "the draw must meet rows that nobody knows"
    assert not any(row.clean_completion for row in hidden)
    clean = TriggerModelUnderTest(replace(config, retain_from="retain")).rows(4, seed=0)[1]
    assert not {row.id for row in clean} & poisoned


def test_refusals(config, tmp_path):
    with pytest.raises(ConfigError, match="case or on TOFU"):
        Bench(replace(config, case=None))
    with pytest.raises(ConfigError, match="split of the tests is too small"):
        Bench(replace(config, validation_rows=8))
    with pytest.raises(ConfigError, match="6 forget rows, 50"):
        bench_forgetting(replace(config, forget_sizes=(50,), entries=("npo",), output_dir=tmp_path))
    with pytest.raises(ConfigError, match="need a gradient store"):
        bench_forgetting(replace(config, store=None, entries=("rapidun+random",), output_dir=tmp_path))
    for entry, message in (
        ("rapidun+../../x", "no weights"),
        ("../x", "is no method"),
        ("ga+", "no weights"),
    ):
        with pytest.raises(ConfigError, match=message):
            bench_forgetting(replace(config, entries=("npo", entry), output_dir=tmp_path / "none"))
    assert not (tmp_path / "none").exists(), "entries are checked before any work"
    assert main(["bench", "forgeting"]) == 2


def test_a_comparison_on_tofu(config, tmp_path):
    """Eight authors' rows to forget and as many to keep, under TOFU's names of files; the reference is the model itself, so nothing is to be told from it."""
    folder = tmp_path / "files"
    folder.mkdir()
    rows = [
        {"id": f"t{index}", "question": f"add {index} and {index % 7}", "answer": f"yes {index % 5}"}
        for index in range(60)
    ]
    write_rows(folder / "forget01.jsonl", rows[:40])
    write_rows(folder / "retain99.jsonl", rows[40:])
    for stem in ("forget01", "retain", "real_authors", "world_facts"):
        own = rows[:12] if stem == "forget01" else rows[40:52]
        write_rows(
            folder / f"{stem}_perturbed.jsonl",
            [row | {"paraphrased_answer": row["answer"], "perturbed_answer": ["no", "red"]} for row in own],
        )
    tofu = replace(
        config, case=None, tofu=folder, entries=("npo", "fisher"), forget_sizes=(40,), retain_rows=10, output_dir=tmp_path / "out", store=None,
        validation_rows=4, max_test=8, seeds=(0, 1), retrained=config.model,
    )  # fmt: skip
    results = bench_forgetting(tofu)
    assert results["plain"]["before"]["forget_quality"] == 0.0, "p is 1 where both are the same model"
    assert {one["name"] for one in results["against"]} == {"forget_loss", "retain_loss"}
    assert all(0 <= row["model_utility"]["value"] <= 1 for row in results["table"])
    assert all("model_utility" not in trial for trial in results["search"]), "utility is of the test split"
    assert "log10 forget quality" in (tofu.output_dir / "table.md").read_text()
    for changes, message in (
        ({"retrained": None}, "Forget quality compares"),
        ({"forget_sizes": (41,)}, "TOFU has forget sets"),
        ({"retain_rows": 30, "output_dir": tmp_path / "more"}, "retain99 20; 40 and 30"),
    ):
        with pytest.raises(ConfigError, match=message):
            bench_forgetting(replace(tofu, **changes))


def test_a_search_goes_from_the_strongest_setting_down(config):
    bench = Bench(replace(config, trials=5))
    rates = [trial["learning_rate"] for trial in bench.candidates("npo")]
    ladder = NPO.search["learning_rate"]
    assert rates == [*reversed(ladder), *list(reversed(ladder))[:2]]
    assert len({tuple(trial.items()) for trial in bench.candidates("npo")}) == 5
    assert bench.candidates("retrain") == [{}], "what has nothing to choose is not tried"
    assert all("descent" in trial for trial in bench.candidates("rapidun+signed"))
    bench.under_test.has_clean_answers = False
    assert [trial["ascent"] for trial in bench.candidates("rapidun+signed")] == [16.0, 4.0, 1.0], (
        "nothing to descend on"
    )
