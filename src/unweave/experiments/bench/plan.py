"""`unweave bench forgetting --dry-run`."""

from unweave.experiments.bench.config import ForgettingBenchConfig
from unweave.experiments.bench.forgetting import Bench, require_entry
from unweave.jobs.planning import Plan


def plan_bench(config: ForgettingBenchConfig) -> Plan:
    """A comparison of methods.

    Args:
        config: The run.

    Returns:
        Its plan.
    """
    for entry in config.entries:
        require_entry(entry)
    made = Bench(config)
    sizes = len(config.forget_sizes)
    trials = [len(found) if len(found := made.candidates(entry)) > 1 else 0 for entry in config.entries]
    runs = sizes * (sum(trials) + len(config.entries) * len(config.seeds))
    measured = sizes * len(made.models())
    return Plan(
        {"to forget at most": max(config.forget_sizes), "to keep": config.retain_rows},
        steps=runs * config.steps,
        work={"runs": runs, "of them to choose options": sizes * sum(trials), "models measured": runs + measured},
        notes=("methods that edit make no steps",),
    )
