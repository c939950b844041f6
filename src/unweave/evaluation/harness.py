"""Utility on the tasks of EleutherAI's lm-evaluation-harness: each model's scores, and the paired change from the model before."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unweave.errors import ConfigError, MissingExtraError
from unweave.models.model import Model
from unweave.models.quiet import quiet_transformers
from unweave.stats.intervals import mean, paired_difference

Scores = dict[str, dict[str, list[float]]]
"""Task to metric to the value of each of its documents, in the harness's order."""

SEEDS = "random_seed", "numpy_random_seed", "torch_random_seed", "fewshot_random_seed"


def require_harness() -> None:
    """Refuse tasks of the harness where it is not installed.

    Raises:
        MissingExtraError: Naming the extra.
    """
    try:
        import lm_eval.models.huggingface  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("lm_eval", extra="lm-eval", purpose="`lm_eval`") from error


def harness_scores(
    model: Model, tasks: Sequence[str], *, include: Path | None, limit: int | None, batch_size: int = 8, seed: int = 0
) -> Scores:
    """Score a model on tasks of the harness.

    Args:
        model: The model.
        tasks: Their names.
        include: A folder with tasks of one's own, in the harness's YAML.
        limit: The first documents of each task that are asked; all without it.
        batch_size: Documents at a time.
        seed: Of the few-shot examples, and of whatever else the harness samples.

    Returns:
        The values of all metrics that the harness has one of for each document.

    Raises:
        ConfigError: When it has no such task, or a task has no metric of single documents.
    """
    require_harness()
    import lm_eval
    import lm_eval.models.huggingface
    import lm_eval.tasks

    # Its decorators hide from a type checker what these take.
    simple_evaluate: Any = lm_eval.simple_evaluate
    HFLM: Any = lm_eval.models.huggingface.HFLM
    TaskManager: Any = lm_eval.tasks.TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    manager: Any = None if include is None else TaskManager(include_path=str(include), include_defaults=False)
    if manager is None or not set(tasks) <= set(manager.all_tasks):
        # Thousands of tasks come with the harness, and reading what they are called takes it a minute.
        manager = TaskManager(include_path=None if include is None else str(include))
    if unknown := [name for name in tasks if name not in manager.all_tasks]:
        raise ConfigError(
            f"The harness has no task '{unknown[0]}'.",
            where="`lm_eval`",
            remedy="`lm_eval ls tasks` lists them; a folder with others goes into `lm_eval_include`",
        )
    with quiet_transformers():
        wrapped: Any = HFLM(pretrained=model.model, tokenizer=model.tokenizer, batch_size=batch_size)
        found = simple_evaluate(
            model=wrapped, tasks=list(tasks), task_manager=manager, limit=limit, log_samples=True, bootstrap_iters=0, **dict.fromkeys(SEEDS, seed)
        )  # fmt: skip
    samples: Any = (found or {}).get("samples") or {}
    scores = {name: _by_metric(own) for name, own in samples.items()}
    if empty := [name for name, own in scores.items() if not own]:
        raise ConfigError(
            f"The task '{empty[0]}' has no metric of single documents: models can't be compared on it, pair by pair.",
            where="`lm_eval`",
            remedy="use tasks with an accuracy or an exact match",
        )
    return scores


def _by_metric(samples: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """The values of the documents; of several filters the first one's."""
    first = samples[0].get("filter") if samples else None
    own = sorted((one for one in samples if one.get("filter") == first), key=lambda one: one["doc_id"])
    names = own[0]["metrics"] if own else ()
    values = {name: [one.get(name) for one in own] for name in names}
    return {
        name: [float(value) for value in column if isinstance(value, bool | int | float)]
        for name, column in values.items()
        if all(isinstance(value, bool | int | float) for value in column)
    }


def harness_table(scores: Mapping[str, Scores], *, seed: int = 0) -> dict[str, dict[str, dict[str, Any]]]:
    """The models beside each other.

    Args:
        scores: Label to scores, `before` and `after` among them.
        seed: Of the bootstrap over documents.

    Returns:
        Task to metric to `count`, an estimate for each label, and `change`, the paired difference after minus before.
    """
    table: dict[str, dict[str, dict[str, Any]]] = {}
    for task, metrics in next(iter(scores.values())).items():
        for name, column in metrics.items():
            sides = {label: own[task][name] for label, own in scores.items()}
            entry: dict[str, Any] = {"count": len(column)}
            entry |= {label: mean(values, seed=seed).to_json() for label, values in sides.items()}
            entry["change"] = paired_difference(sides["before"], sides["after"], seed=seed).to_json()
            table.setdefault(task, {})[name] = entry
    return table
