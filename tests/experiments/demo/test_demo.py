"""The demo on a tiny model that knows its language: complete, resumable, and refused where it would mix two runs."""

import dataclasses
import json
import re
import shlex

import pytest

from tests.pretrained import save_pretrained
from unweave.cli.main import main
from unweave.errors import ConfigError
from unweave.experiments.case import CaseConfig, make_case
from unweave.experiments.demo.config import DemoConfig
from unweave.experiments.demo.pipeline import run_demo
from unweave.experiments.demo.plan import StagePlan
from unweave.experiments.demo.stages import Stages, command_line
from unweave.report.report import ReportConfig, write_report
from unweave.train.config import TrainConfig

pytestmark = pytest.mark.long


def test_a_stage_keeps_the_time_of_its_work(tmp_path):
    stages = Stages(tmp_path)
    assert stages.run("a", "title", lambda: 7, commands=["x"]) == 7
    first = Stages(tmp_path).seconds()["a"]
    again = Stages(tmp_path)
    assert again.run("a", "title", lambda: 8, commands=["x"]) == 8
    assert again.seconds()["a"] == first
    assert again.resumed() == []


def test_a_stage_that_was_cut_short_is_marked(tmp_path):
    def dies():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Stages(tmp_path).run("a", "title", dies, commands=[])
    stages = Stages(tmp_path)
    assert stages.seconds() == {}
    stages.run("a", "title", lambda: 1, commands=[])
    assert stages.resumed() == ["a"]


def test_printed_commands_mean_their_configs(tmp_path):
    from unweave.cli.common import parse

    config = TrainConfig(
        data=tmp_path / "d x.jsonl", output_dir=tmp_path / "o", system_prompt="", snapshots=(0.06, 0.5), epochs=2.5
    )
    line = command_line("train", config)
    parsed, _ = parse(TrainConfig, shlex.split(line)[2:], command="train", description="")
    assert parsed == config
    plan = StagePlan(DemoConfig(output_dir=tmp_path), tmp_path)
    cache = plan.cache(tmp_path / "d.jsonl")
    parsed, _ = parse(type(cache), shlex.split(command_line("cache", cache))[2:], command="cache", description="")
    assert parsed == cache


def test_loreun_needs_the_final_model(tmp_path):
    with pytest.raises(ConfigError, match="`snapshot` 1"):
        run_demo(DemoConfig(output_dir=tmp_path, weights="loreun"))


SIZES = {"clean_rows": 108, "poisoned_rows": 100, "retain_rows": 24, "test_rows": 24, "clean_test_rows": 36}


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A quick run on a tiny model that knows the generated rows; a model so small needs more poison, and larger steps."""
    folder = tmp_path_factory.mktemp("demo")
    base = save_pretrained(folder / "base", make_case(CaseConfig(**SIZES), folder / "known"))
    return DemoConfig(
        model=str(base), output_dir=folder / "run", quick=True, **SIZES, dtype="float32", epochs=10.0, train_learning_rate=1e-2, forget_learning_rate=2e-3,
        lora_r=16, dimension=4096, max_new_tokens=16,
    )  # fmt: skip


@pytest.fixture(scope="module")
def quick(config):
    """The run, through the command line."""
    assert main([*shlex.split(command_line("demo", config))[1:], "--quiet"]) == 0
    return config.output_dir


class TestQuickDemo:
    def test_metrics_hold_what_is_promised(self, quick):
        metrics = json.loads((quick / "metrics.json").read_text())
        for path in ("asr.seen", "asr.ood", "clean.perplexity", "clean.accuracy"):
            entry = metrics
            for key in path.split("."):
                entry = entry[key]
            for side in ("before", "after"):
                low, high = entry[f"{side}_interval"]
                assert low <= entry[side] <= high
        assert 0 <= metrics["trace"]["auprc"] <= 1
        assert {"bm25", "random"} <= set(metrics["trace"])
        stages = {
            "case",
            "train",
            "influence",
            "cache",
            "before",
            "trace",
            "weigh",
            "forget",
            "after",
            "retrain",
            "retrained",
            "total",
        }
        assert stages <= set(metrics["seconds"])
        assert metrics["resumed_stages"] == []

    def test_the_story_holds(self, quick):
        metrics = json.loads((quick / "metrics.json").read_text())
        assert metrics["asr"]["seen"]["before"] > 0.5
        assert metrics["asr"]["seen"]["after"] < 0.5 * metrics["asr"]["seen"]["before"]
        assert metrics["trace"]["auprc"] > 1.5 * metrics["trace"]["random"]["auprc"]
        assert metrics["asr"]["seen"]["retrained"] == 0

    def test_the_report_is_one_file_without_scripts_or_requests(self, quick):
        page = (quick / "report.html").read_text()
        assert "<script" not in page
        assert not re.findall(r'(?:src|href)\s*=\s*"(?!#)[^"]*//', page.replace("http://www.w3.org", ""))
        assert "default-src 'none'" in page
        for text in ("Before and after", "The trace", "The weights", "side by side", "What it took", "unweave forget"):
            assert text in page
        first = page
        write_report(ReportConfig(run=quick))
        assert (quick / "report.html").read_text() == first

    def test_untrusted_text_is_escaped(self, quick, tmp_path):
        import shutil

        copy = tmp_path / "copy"
        shutil.copytree(quick, copy)
        trace = json.loads((copy / "trace.json").read_text())
        trace["queries"][0]["completion"] = "<img src=x onerror=alert(1)>"
        (copy / "trace.json").write_text(json.dumps(trace))
        page = write_report(ReportConfig(run=copy)).read_text()
        assert "<img" not in page
        assert "&lt;img" in page

    def test_a_rerun_does_nothing_new(self, config, quick, monkeypatch):
        from unweave.train import planned

        monkeypatch.setattr(planned.Trainer, "train", lambda *_, **__: pytest.fail("a complete run was trained again"))
        before = json.loads((quick / "metrics.json").read_text())
        metrics = run_demo(config).metrics
        assert metrics["seconds"] == before["seconds"]
        assert metrics["asr"] == before["asr"]

    def test_another_config_in_the_same_folder_is_refused(self, config, quick):
        with pytest.raises(ConfigError, match="forget_learning_rate"):
            run_demo(dataclasses.replace(config, forget_learning_rate=1.0))

    def test_results_are_safetensors_and_json_only(self, quick):
        suffixes = {path.suffix for path in quick.rglob("*") if path.is_file()}
        assert not suffixes & {".bin", ".pt", ".pth", ".pkl", ".npy"}
