"""`unweave bench attribution --dry-run`."""

from unweave.experiments.attribution.bench import Bench
from unweave.experiments.attribution.config import AttributionBenchConfig
from unweave.experiments.attribution.registry import SCENES
from unweave.jobs.planning import Plan
from unweave.registry import entry


def plan_bench(config: AttributionBenchConfig) -> Plan:
    """A run of the suite.

    Args:
        config: The run.

    Returns:
        Its plan.
    """
    bench = Bench(config)
    scorers, asked = len(bench.scorers()), min(config.retrain_queries, config.asked)
    scenes = list(bench.scenes())
    sizes = {(seed, name): len(entry(SCENES, name, option="scene")(config, seed).rows) for seed, name, _ in scenes}
    steps = {key: max(1, round(config.epochs * -(-size // config.batch_size))) for key, size in sizes.items()}
    halves = config.subsets * config.orders if "lds" in config.measures else 0
    shares = ({0.01} if "qld" in config.measures else set[float]()) | (
        set(config.removed_shares) if "removal" in config.measures else set[float]()
    )
    without = len(shares) * (scorers * asked + max(2, config.random_draws)) + (1 if shares else 0)
    again = {key: halves + without if key[1] == "facts" else 0 for key in sizes}
    retrained = sum(again.values())
    return Plan(
        {"of all scenes": sum(sizes.values())},
        steps=sum(own * (1 + again[key]) for key, own in steps.items()),
        work={
            "models trained": len(sizes),
            "models retrained at most": retrained,
            "tables of scores": len(sizes) * scorers,
            "figures": len(config.seeds) * scorers * sum(len(measure.figures) for measure in bench.measures),
        },
        notes=("rows that several scorers agree on are removed once",) if shares else (),
    )
