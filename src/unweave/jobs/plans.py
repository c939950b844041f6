"""`--dry-run` of the long jobs here: a function of the config that gives a `Plan`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from unweave.config import part_of
from unweave.data.case import open_case
from unweave.data.config import DataConfig, stream_configured
from unweave.data.encoding import Example
from unweave.data.reading import Problem, Rows
from unweave.data.training_rows import read_training_rows
from unweave.evaluation.config import AuditConfig, require_tests
from unweave.jobs.config import TraceConfig
from unweave.jobs.memory_plans import memory_of_audit, memory_of_tracing, memory_of_training, memory_of_unlearning
from unweave.jobs.planning import TESTS, UNLEARNING, Plan, encoded, parameters_of, total
from unweave.train.config import LoraOptions, TrainConfig
from unweave.train.shards import is_sharded
from unweave.unlearning.config import ForgetConfig
from unweave.valuation.config import CurveConfig, FitConfig, PredictConfig, ScoreConfig
from unweave.weights.config import WeighConfig

LORA_BYTES = 4
"""Of a number in a saved adapter: float32, at most."""


def train(config: TrainConfig) -> Plan:
    """Fine-tuning.

    Args:
        config: The run.

    Returns:
        Its plan.
    """
    from unweave.train.loop import plan_epochs
    from unweave.train.record import record_bytes
    from unweave.train.sft import recorded_steps

    rows = read_training_rows(config.data, config, without=config.without)
    (examples,), notes = encoded(config, rows)
    parameters = parameters_of(config, part_of(LoraOptions, config) if config.tuning == "lora" else None)
    if is_sharded(config):
        return _sharded(config, examples, parameters, notes)
    lengths = [len(example) for example in examples]
    steps = plan_epochs(lengths, batch_size=config.batch_size, epochs=config.epochs, seed=config.seed)
    record = {}
    memory = memory_of_training(config, [[examples[index] for index in step] for step in steps], parameters)
    if config.record and parameters:
        states = len(recorded_steps(config, len(steps)))
        record = {"record": record_bytes(steps, states, trained=parameters["trained"], rows=len(examples))}
    return Plan(
        rows={"to train on": len(examples)},
        tokens=sum(lengths[index] for step in steps for index in step),
        steps=len(steps),
        parameters=parameters,
        bytes=_saved(parameters, times=1 + len(config.snapshots)) | record,
        memory=memory,
        notes=notes,
    )


def _sharded(
    config: TrainConfig, examples: Sequence[Example], parameters: dict[str, int], notes: tuple[str, ...]
) -> Plan:
    """Fine-tuning in shards, and what requests will cost after it."""
    from unweave.train.loop import plan_epochs
    from unweave.train.shard_cost import cost_in_words
    from unweave.train.shards import plan_stages, require_shards, stage_epochs

    require_shards(config)
    stages = plan_stages([example.row_id for example in examples], config)
    steps = [
        [len(examples[stage.rows[index]]) for index in step]
        for stage in stages
        for step in plan_epochs(
            [len(examples[index]) for index in stage.rows],
            batch_size=config.batch_size,
            epochs=stage_epochs(config),
            seed=config.seed,
        )
    ]
    shards = {stage.shard: len(stage.rows) for stage in stages}
    rank = len(shards) if config.combination in ("mean", "sum") else 1
    return Plan(
        rows={
            "to train on": len(examples),
            "in the smallest shard": min(shards.values()),
            "in the largest": max(shards.values()),
        },
        tokens=sum(map(sum, steps)),
        steps=len(steps),
        work={"shards": len(shards), "stages": len(stages)},
        parameters=parameters,
        bytes=_saved(parameters, times=len(stages) + rank),
        notes=(*notes, cost_in_words(config)),
    )


def _saved(parameters: dict[str, int], *, times: int = 1) -> dict[str, int]:
    return {"result at most": times * LORA_BYTES * parameters["trained"]} if parameters else {}


def forget(config: ForgetConfig) -> Plan:
    """Unlearning. The time is by the record of the training of the model, where it was made on a machine like this one.

    Args:
        config: The run.

    Returns:
        Its plan.
    """
    from unweave.run.folder import result_on_this_machine
    from unweave.unlearning.config import method_of
    from unweave.unlearning.methods import Objective
    from unweave.unlearning.rows import ForgetRow
    from unweave.unlearning.steps import plan_steps

    method = method_of(config)
    retain = read_training_rows(config.retain, config) if config.retain is not None else Rows([], [])
    (to_forget, to_keep), notes = encoded(config, read_training_rows(config.forget, config), retain)
    rows = {"to forget": len(to_forget), "to keep": len(to_keep)}
    parameters = parameters_of(config, part_of(LoraOptions, config), own=config.adapter_mode == "continue")
    plan = Plan(rows, total(to_forget) + total(to_keep), parameters=parameters, bytes=_saved(parameters), notes=notes)
    if not isinstance(method, Objective):
        return replace(plan, notes=(*notes, f"`{method.name}` makes no steps of its own: {method.cost}"))
    kept = to_keep if method.samples_retain else []
    steps = plan_steps(
        [ForgetRow(example, None, 1.0, True) for example in to_forget],
        [ForgetRow(example, None, 1.0, False) for example in kept],
        retain_ratio=config.retain_ratio if kept else 0.0,
        batch_size=config.batch_size,
        epochs=config.epochs,
        seed=config.seed,
        sampling=config.sampling,
    )
    sampled = [row for step in steps for row in step.rows]
    trained = result_on_this_machine(Path(config.adapter or config.model))
    seconds = (
        UNLEARNING * trained["seconds"] / trained["tokens"] * total([row.example for row in sampled])
        if trained
        else None
    )
    memory = {}
    if parameters:
        read = [[one for one, _, _ in step.sequences(with_clean=method.uses_clean)] for step in steps]
        memory = memory_of_unlearning(config, read)
    tokens = total([row.example for row in sampled])
    return replace(plan, tokens=tokens, steps=len(steps), seconds=seconds, memory=memory)


def weigh(config: WeighConfig) -> Plan:
    """Weighing.

    Args:
        config: The run.

    Returns:
        Its plan.
    """
    if config.store is None or config.forget is None or config.retain is None:
        return Plan({}, notes=("influence comes from files",))
    from unweave.data.remembered import read_remembering, remembered_columns
    from unweave.store.store import GradientStore

    store = GradientStore.open(config.store)
    columns = remembered_columns(config.store)
    rows = {kind: len(read_remembering(getattr(config, kind), config, columns)) for kind in ("forget", "retain")}
    products = sum(rows.values()) ** 2
    return Plan(rows, work={"products of sketches": products, "numbers in each": store.spec.dimension})


def audit(config: AuditConfig) -> Plan:
    """An audit.

    Args:
        config: The run.

    Returns:
        Its plan.
    """
    from unweave.jobs.audit import model_labels

    require_tests(config)
    models = model_labels(config)
    if config.case is None:
        return _audit_of_rows(config, len(models))
    case = open_case(config.case)
    rows = {split: len(case.rows(split)) for split in ("forget", "unwanted", *TESTS)}
    answers = len(models) * sum(rows[split] for split in TESTS)
    work = {"models": len(models), "answers": answers, "tokens in each at most": config.max_new_tokens}
    notes = (f"attacks: {', '.join(config.attacks)}",) if config.attacks else ()
    tests = [case.rows(split) for split in ("unwanted", *TESTS)]
    return Plan(rows, work=work, notes=notes, memory=memory_of_audit(config, [row for own in tests for row in own]))


def _audit_of_rows(config: AuditConfig, models: int) -> Plan:
    named = {"to forget": config.forget, "like them": config.like, "to keep": config.retain}
    rows = {name: len(read_training_rows(path, config)) for name, path in named.items() if path is not None}
    answers = models * (rows["to forget"] + rows.get("to keep", 0))
    probes = models * len(config.probes) * min(config.probe_rows, rows["to forget"])
    work = {
        "models": models,
        "answers": answers,
        "probes at most": probes,
        "tokens in each at most": config.max_new_tokens,
    }
    tests = [row for path in named.values() if path is not None for row in read_training_rows(path, config)]
    notes = (f"attacks: {', '.join(config.attacks)}",) if config.attacks else ()
    return Plan(rows, work=work, notes=notes, memory=memory_of_audit(config, tests))


def trace(config: TraceConfig) -> Plan:
    """Tracing.

    Args:
        config: The run.

    Returns:
        Its plan.
    """
    from unweave.attribution.model import store_model
    from unweave.store.store import GradientStore

    store = GradientStore.open(config.store)
    rows, parameters = len(store.row_ids()), parameters_of(store_model(store.spec, config), own=True)
    memory = memory_of_tracing(config, store) if parameters else {}
    return Plan({"in the store": rows}, parameters=parameters, memory=memory)


def value_score(config: ScoreConfig) -> Plan:
    """Valuing rows.

    Args:
        config: The run.

    Returns:
        Its plan.
    """
    from unweave.jobs.value_score import task_rows

    tasks = [Rows(rows, []) for rows in task_rows(config).values()]
    (candidates, *validation), notes = encoded(config, read_training_rows(config.data, config), *tasks)
    if config.store is not None:
        notes = (*notes, "values come from the store's sketches: only the tasks' rows pass through the model")
    read = (*validation, *([candidates] if config.store is None else []))
    return Plan(
        rows={"candidates": len(candidates), "of tasks": sum(map(len, validation))},
        tokens=sum(map(total, read)),
        parameters={name: count for name, count in parameters_of(config).items() if name == "model"},
        notes=notes,
    )


def value_fit(config: FitConfig) -> Plan:
    """Fitting a student.

    Args:
        config: The run.

    Returns:
        Its plan.
    """
    from unweave.valuation.table import read_table

    valued = len(read_table(config.values)["id"])
    chosen = min(config.rows or valued, valued)
    aside = max(10, round(config.held_out * chosen))
    epochs = 1 if config.loss == "kernel" else config.epochs
    steps = None if config.loss == "kernel" else epochs * -(-(chosen - 2 * aside) // config.batch_size)
    return Plan({"valued": valued, "fitted on": chosen - 2 * aside, "held out": 2 * aside}, steps=steps)


def value_predict(config: PredictConfig) -> Plan:
    """Predicting values.

    Args:
        config: The run.

    Returns:
        Its plan.
    """
    found = [isinstance(one, Problem) for one in stream_configured(config.data, config)]
    rows = found.count(False)
    return Plan(
        {"to value": rows, "broken": found.count(True)},
        work={"parts": -(-rows // config.part_rows), "batches": -(-rows // config.batch_size)},
    )


def value_curve(config: CurveConfig) -> Plan:
    """Learning curves.

    Args:
        config: The run.

    Returns:
        Its plan.
    """
    from unweave.jobs.value_curve import RANDOM
    from unweave.valuation.table import read_table, task_columns

    table = read_table(config.values)
    columns = config.scores or (*task_columns(table)[:1], RANDOM)
    chosen = [max(1, round(share * len(table["id"]))) for share in config.shares]
    runs = len(columns) * len(config.seeds)
    steps = sum(max(1, round(config.epochs * -(-rows // config.batch_size))) for rows in chosen)
    held_out = read_training_rows(config.test, replace(part_of(DataConfig, config), limit=None))
    return Plan(
        {"valued": len(table["id"]), "held out": len(held_out)},
        steps=runs * steps,
        work={"trainings": runs * len(chosen), "passes over the held-out rows": runs * len(chosen) + 1},
        parameters=parameters_of(config, part_of(LoraOptions, config) if config.tuning == "lora" else None),
    )
