"""`unweave demo --dry-run`."""

import tempfile
from dataclasses import replace
from pathlib import Path

from unweave import progress
from unweave.data.case import SPLITS
from unweave.experiments.case import make_case
from unweave.experiments.demo.config import DemoConfig
from unweave.experiments.demo.pipeline import with_quick
from unweave.experiments.demo.plan import StagePlan
from unweave.jobs import plans
from unweave.jobs.planning import TESTS, Plan


def plan_demo(config: DemoConfig) -> Plan:
    """The demo: its case is made in a temporary folder, to be counted.

    Args:
        config: The run.

    Returns:
        Its plan.
    """
    config = with_quick(config)
    stages = StagePlan(config, config.output_dir)
    with tempfile.TemporaryDirectory() as folder, progress.silent():
        case = make_case(stages.case(), Path(folder))
        rows = {split: len(case.rows(split)) for split in SPLITS}
        trainings = [stages.train(case)]
        if config.retrain:
            trainings.append(stages.train(case, without_forget=True))
        found = [plans.train(own) for own in trainings]
        unlearning = replace(stages.forget(case), model=config.model, forget_weights=None, retain_weights=None)
        found.append(plans.forget(unlearning))
    models = 2 + config.retrain
    answers = models * sum(rows[split] for split in TESTS)
    return Plan(
        rows,
        tokens=sum(plan.tokens or 0 for plan in found),
        steps=sum(plan.steps or 0 for plan in found),
        work={"trainings": len(trainings), "answers": answers, "rows to cache": rows["train"]},
        parameters=found[0].parameters,
        bytes={"results at most": sum(sum(plan.bytes.values()) for plan in found)},
    )
