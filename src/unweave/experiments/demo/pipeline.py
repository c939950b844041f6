"""The demo: every stage of the pipeline on one case, through the same functions as the commands."""

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unweave import progress
from unweave.attribution.caching import CacheResult, cache_rows
from unweave.attribution.result import TraceResult
from unweave.data.case import Case
from unweave.data.dates import dated, recorded
from unweave.data.encoding import EncodingConfig
from unweave.errors import ConfigError
from unweave.evaluation.behaviour import Behaviour
from unweave.evaluation.evidence import require_pairs
from unweave.evaluation.metrics import compare
from unweave.evaluation.tracing import TraceQuality
from unweave.evaluation.verdict import CLASS
from unweave.experiments.case import make_case
from unweave.experiments.demo.config import QUICK, DemoConfig
from unweave.experiments.demo.plan import StagePlan
from unweave.experiments.demo.stages import Stages, command_line
from unweave.files import read_json, write_json
from unweave.jobs.audit_case import audit_trace, stored_behaviour
from unweave.jobs.forget import ForgetResult, forget_rows
from unweave.jobs.weigh import Weights, weigh_rows
from unweave.models.loading import ModelConfig, load, tokenizer_of
from unweave.outputs import overwriting
from unweave.report.report import ReportConfig, write_report
from unweave.run.folder import RunFolder
from unweave.run.identity import NO_EFFECT
from unweave.run.inputs import Input, of_paths
from unweave.run.model_inputs import of_model
from unweave.train.sft import TrainResult, fine_tune

COMPARED = "config", "inputs"
TITLES = {
    "case": "make the case: rows, triggers, tests",
    "train": "poison: fine-tune on all rows",
    "influence": "cache the gradients of the forget and retain rows",
    "cache": "cache the gradients of all other rows",
    "before": "audit the poisoned model",
    "trace": "trace bad answers to their rows",
    "weigh": "weigh the rows by influence",
    "forget": "forget",
    "after": "audit the unlearned model",
    "retrain": "reference: retrain without the forget rows",
    "retrained": "audit the retrained model",
}


@dataclass(frozen=True)
class DemoResult:
    """What the demo gave.

    Attributes:
        folder: The run folder.
        metrics: The content of its `metrics.json`.
        report: The HTML report.
        commands: The commands that it stands for.
    """

    folder: Path
    metrics: dict[str, Any]
    report: Path
    commands: list[str]


def run_demo(config: DemoConfig) -> DemoResult:
    """Run the whole pipeline; what an earlier run of the same folder and config finished is not done again.

    Args:
        config: Case, model, training, unlearning.

    Returns:
        The metrics and the report.

    Raises:
        ConfigError: When the folder holds a run of another config, or LoReUn's weights are asked for with a snapshot.
    """
    if config.weights == "loreun" and config.snapshot != 1:
        raise ConfigError(
            "LoReUn weighs by the losses of the model that is to forget, and the store is of a snapshot.",
            where="`weights` loreun",
            remedy="add `snapshot` 1",
        )
    config = with_quick(config)
    folder = config.output_dir
    config = dated(recorded(config, folder), tokenizer_of(config), config.adapter, config.model)
    run = RunFolder(folder, "demo", config, inputs=demo_inputs(config))
    with run.held():
        _refuse_other_run(run)
        run.start()
        write_json(folder / "identity.json", {name: run.identity()[name] for name in COMPARED})
        return _run(run, config)


def demo_inputs(config: DemoConfig) -> dict[str, Input]:
    """What the demo reads.

    Args:
        config: Its config.

    Returns:
        Option to input.
    """
    return {**of_paths(config, but=(*NO_EFFECT, "adapter")), **of_model(config)}


def _run(run: RunFolder, config: DemoConfig) -> DemoResult:
    folder = run.folder
    stages = Stages(folder)
    started = time.monotonic()
    plan = StagePlan(config, folder)

    case = stages.run(
        "case", TITLES["case"], lambda: make_case(plan.case(), folder / "case"), commands=[plan.case_command()]
    )
    require_pairs(case)
    trained = stages.run(
        "train",
        TITLES["train"],
        lambda: fine_tune(plan.train(case)),
        commands=[command_line("train", plan.train(case))],
    )
    cached = stages.run(
        "influence", TITLES["influence"], lambda: _cache_influence(plan, case), commands=plan.influence_commands(case)
    )
    everything = plan.cache(case.path("train"))
    stages.run("cache", TITLES["cache"], lambda: cache_rows(everything), commands=[command_line("cache", everything)])
    before = stages.run("before", TITLES["before"], lambda: _behaviour(plan, case, "poisoned", "before"), commands=[])
    traced, quality = stages.run(
        "trace", TITLES["trace"], lambda: _trace(plan, case, before), commands=[plan.trace_command(case, before)]
    )
    weights = stages.run(
        "weigh",
        TITLES["weigh"],
        lambda: weigh_rows(plan.weigh(case)),
        commands=[command_line("weigh", plan.weigh(case))],
    )
    forgotten = stages.run(
        "forget",
        f"{TITLES['forget']} with {config.method}, {config.weights} weights",
        lambda: forget_rows(plan.forget(case)),
        commands=[command_line("forget", plan.forget(case))],
    )
    after = stages.run("after", TITLES["after"], lambda: _behaviour(plan, case, "unlearned", "after"), commands=[])
    retrained: TrainResult | None = None
    reference: Behaviour | None = None
    if config.retrain:
        retraining = plan.train(case, without_forget=True)
        retrained = stages.run(
            "retrain", TITLES["retrain"], lambda: fine_tune(retraining), commands=[command_line("train", retraining)]
        )
        reference = stages.run(
            "retrained",
            TITLES["retrained"],
            lambda: _behaviour(plan, case, "retrained", "retrained"),
            commands=[plan.audit_command()],
        )

    metrics: dict[str, Any] = {
        "class": CLASS,
        "case": case.name,
        **compare(before, after, retrained=reference, seed=config.seed),
    }
    metrics["trace"] = quality.to_json()
    metrics["weights"] = _weights_json(weights)
    metrics["forget"] = {**dataclasses.asdict(forgotten), "folder": str(forgotten.folder)}
    metrics["cost"] = _cost(stages, trained, cached, forgotten, retrained)
    metrics["seconds"] = {**stages.seconds(), "total": round(sum(stages.seconds().values()), 3)}
    metrics["resumed_stages"] = stages.resumed()
    write_json(folder / "metrics.json", metrics)
    write_json(folder / "trace.json", _trace_json(traced, quality, case))
    report = write_report(ReportConfig(run=folder))
    run.finish({"seconds": round(time.monotonic() - started, 3)})
    commands = [command for record in stages.records.values() for command in record["commands"]]
    return DemoResult(folder, metrics, report, [*commands, command_line("report", ReportConfig(run=folder))])


def with_quick(config: DemoConfig) -> DemoConfig:
    """Fill `QUICK` in where an option stands at its default.

    Args:
        config: The demo's config.

    Returns:
        It, or what it stands for where it asks for a quick demo.
    """
    if not config.quick:
        return config
    defaults = {field.name: field.default for field in dataclasses.fields(DemoConfig)}
    changes = {name: value for name, value in QUICK.items() if getattr(config, name) == defaults[name]}
    return dataclasses.replace(config, **changes)


def _refuse_other_run(run: RunFolder) -> None:
    kept = run.folder / "identity.json"
    if not kept.is_file() or overwriting():
        return
    found = read_json(kept, what="The identity of the run")
    earlier, now = (_flat(one) for one in (found, run.identity()))
    if differing := sorted(key for key in now if earlier.get(key) != now[key]):
        raise ConfigError(
            "This folder holds a run with other options or inputs:",
            lines=[f"{key}: {_brief(earlier.get(key))} there, {_brief(now[key])} now" for key in differing[:5]],
            where=str(run.folder),
            remedy="choose another `output_dir`, or pass `overwrite`, which removes what that run wrote",
        )


def _flat(identity: dict[str, Any]) -> dict[str, Any]:
    return {key: value for name in COMPARED for key, value in (identity.get(name) or {}).items()}


def _brief(value: Any) -> str:
    """A value for a message; of what was read, only that it is another."""
    return "other files" if isinstance(value, dict) else repr(value)


def _cache_influence(plan: StagePlan, case: Case) -> CacheResult:
    """The forget and retain rows, which is all that weights need, in one go."""
    return cache_rows(plan.cache(case.path("forget")), rows=[*case.rows("forget"), *case.rows("retain")])


def _behaviour(plan: StagePlan, case: Case, model: str, label: str) -> Behaviour:
    loaded = load(ModelConfig(**plan.trained_model(model)))
    encoding = EncodingConfig(**plan.shared(EncodingConfig))
    path = plan.folder / f"behaviour.{label}.json"
    return stored_behaviour(loaded, case, encoding, path, max_new_tokens=plan.config.max_new_tokens, label=model)


def _trace(plan: StagePlan, case: Case, before: Behaviour) -> tuple[TraceResult, TraceQuality]:
    loaded = load(ModelConfig(**plan.trained_model(plan.traced_model)))
    return audit_trace(
        loaded, case, plan.folder / "store", before, queries=plan.config.trace_queries, seed=plan.config.seed
    )


def _weights_json(weights: Weights) -> dict[str, Any]:
    return {
        "method": weights.method,
        "forget": dataclasses.asdict(weights.forget_summary),
        "retain": dataclasses.asdict(weights.retain_summary),
    }


def _cost(
    stages: Stages, trained: TrainResult, cached: CacheResult, forgotten: ForgetResult, retrained: TrainResult | None
) -> dict[str, Any]:
    """Forgetting against retraining, whole stages with their loading and saving counted on both sides."""
    seconds = stages.seconds()
    forgetting = sum(seconds[name] for name in ("influence", "weigh", "forget"))
    cost: dict[str, Any] = {
        "forgetting_seconds": round(forgetting, 3),
        "influence_seconds": seconds["influence"],
        "weigh_seconds": seconds["weigh"],
        "forget_seconds": seconds["forget"],
        "train_tokens": trained.tokens,
        "influence_rows": cached.rows if cached.computed == 0 else cached.computed,
        "forget_tokens": forgotten.tokens,
    }
    if retrained is not None:
        cost |= {
            "retraining_seconds": seconds["retrain"],
            "retrain_tokens": retrained.tokens,
            "speedup": round(seconds["retrain"] / forgetting, 3),
        }
    progress.say("")
    return cost


def _trace_json(traced: TraceResult, quality: TraceQuality, case: Case) -> dict[str, Any]:
    poisoned = {row.id for row in case.rows("train") if row.meta.get("poisoned")}
    queries = []
    for query, ranking in zip(traced.queries, traced.rankings, strict=True):
        hits = [
            {
                **dataclasses.asdict(hit),
                "poisoned": hit.row_id in poisoned,
                **{key: traced.texts[hit.row_id][key] for key in ("prompt", "completion", "source", "line")},
            }
            for hit in ranking.helpful
        ]
        queries.append(
            {
                "prompt": query.user_text,
                "completion": query.completion,
                "trigger": query.meta.get("trigger_variant"),
                "helpful": hits,
            }
        )
    return {"queries": queries, "curves": quality.curve, "seconds": traced.seconds}
