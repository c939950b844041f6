"""Do influence weights beat weights that know nothing? Unlearning over sizes and imbalances of the forget set, the rest held equal."""

import random
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from unweave import progress
from unweave.config import load_yaml, part_of, read_value
from unweave.data.case import Case
from unweave.data.config import AS_WRITTEN
from unweave.data.dates import dated
from unweave.data.encoding import EncodingConfig
from unweave.data.rows import Row
from unweave.data.triggers import is_poisoned
from unweave.errors import ConfigError
from unweave.evaluation.behaviour import unwanted_answers
from unweave.evaluation.forced import forced_pass
from unweave.experiments.influence.config import InfluenceAuditConfig
from unweave.files import remembered, write_jsonl
from unweave.jobs.forget import forget_inputs, forget_rows
from unweave.jobs.weigh import weigh_rows
from unweave.models.loading import ModelConfig, load, tokenizer_of
from unweave.run.identity import versions
from unweave.run.inputs import of_case, of_config, of_store
from unweave.stats.comparisons import holm
from unweave.stats.intervals import across_seeds
from unweave.unlearning.config import ForgetConfig, config_of, method_of
from unweave.unlearning.steps import epochs_of
from unweave.weights.config import WeighConfig

MEASURES = "attack_success", "unwanted_loss", "clean_loss"
LESS_IS_BETTER = {"attack_success": True, "unwanted_loss": False, "clean_loss": True}


def weight_controls(case: Case, config: InfluenceAuditConfig) -> dict[str, Any]:
    """Unlearn with each kind of weights in each cell, and compare. Runs that are on the disk are not made again.

    Args:
        case: Training rows and tests.
        config: Cells, weights, seeds.

    Returns:
        `cells`: size, retain rows and for each kind of weights the measures over seeds; `against`: the first kind minus each other one in the same cell
        and seed, the mean over cells of each seed, with Student's interval over seeds and Holm-corrected p-values of his test.

    Raises:
        ConfigError: When there is nothing to compare, or no config of an unlearning run.
    """
    if len(config.weights) < 2:
        raise ConfigError("Controls need two kinds of weights.", where="`weights`", remedy="give rapidun and uniform")
    unlearning = unlearning_config(config)
    identity = {
        "steps": config.steps,
        "test_rows": config.test_rows,
        "case": of_case(case.folder).content,
        "store": of_store(config.store).content,
        "unlearning": of_config(unlearning, forget_inputs(unlearning)).content,
        **versions(),
    }
    runs: list[dict[str, Any]] = []
    for size, retain in cells(case, config):
        for seed in config.seeds:
            for kind in config.weights:
                folder = config.output_dir / "controls" / f"{size}-{retain}-{kind}-{seed}"
                what: Any = {"size": size, "retain": retain, "kind": kind, "seed": seed}
                run = remembered(
                    folder.with_suffix(".json"),
                    identity,
                    lambda folder=folder, what=what: _unlearn(case, config, unlearning, folder, **what),
                    key="run",
                    what="A control run",
                )
                shutil.rmtree(folder, ignore_errors=True)
                runs.append(run)
    return summarise(runs, config.weights)


def cells(case: Case, config: InfluenceAuditConfig) -> list[tuple[int, int]]:
    """The forget and retain sizes that the training rows allow.

    Args:
        case: With the training rows.
        config: The sizes and imbalances asked for.

    Returns:
        Pairs of sizes, each once; an imbalance that the clean rows can't fill is filled as far as they go.

    Raises:
        ConfigError: When no size can be had.
    """
    rows = case.rows("train")
    poisoned = sum(is_poisoned(row.meta) for row in rows)
    clean = len(rows) - poisoned
    found = []
    for size in config.forget_sizes:
        if size > poisoned:
            progress.say(f"controls: {size} rows to forget were asked for, the case has {poisoned}: left out")
            continue
        found += [(size, min(size * ratio, clean)) for ratio in config.imbalance]
    if not found:
        raise ConfigError("The case has too few poisoned rows.", where="`forget_sizes`", remedy="give smaller sizes")
    return list(dict.fromkeys(found))


def summarise(runs: Sequence[dict[str, Any]], kinds: Sequence[str]) -> dict[str, Any]:
    """Means over seeds, and the first kind of weights against the others.

    Args:
        runs: Each with its cell, kind, seed and measures.
        kinds: The kinds of weights.

    Returns:
        See `weight_controls`.
    """
    places = list(dict.fromkeys((run["forget_rows"], run["retain_rows"]) for run in runs))
    by_key = {(run["forget_rows"], run["retain_rows"], run["kind"], run["seed"]): run for run in runs}
    table = []
    for size, retain in places:
        entry: dict[str, Any] = {"forget_rows": size, "retain_rows": retain}
        for kind in kinds:
            own = [run for run in runs if (run["forget_rows"], run["retain_rows"], run["kind"]) == (size, retain, kind)]
            entry[kind] = {name: across_seeds([run[name] for run in own]).to_json() for name in MEASURES}
        table.append(entry)
    against: dict[str, Any] = {}
    for kind in kinds[1:]:
        pairs = [(run, by_key[(*key[:2], kind, key[3])]) for key, run in by_key.items() if key[2] == kinds[0]]
        seeds = list(dict.fromkeys(run["seed"] for run, _ in pairs))
        against[kind] = {
            name: _paired([[one[name] - two[name] for one, two in pairs if one["seed"] == seed] for seed in seeds])
            for name in MEASURES
        }
    flat = [entry for measures in against.values() for entry in measures.values()]
    if len({run["seed"] for run in runs}) == 1:
        progress.say("controls: one seed says nothing of the spread between seeds: give several `seeds` for intervals")
    for entry, p in zip(flat, holm([entry["p"] for entry in flat]), strict=True):
        entry["p_holm"] = p
    return {"first": kinds[0], "less_is_better": LESS_IS_BETTER, "cells": table, "against": against, "runs": list(runs)}


def _paired(by_seed: Sequence[Sequence[float]]) -> dict[str, Any]:
    """First minus second, a list of cells for each seed: cells of a seed have the same rows and the same luck, so that a seed counts once, by their mean."""
    from scipy.stats import t

    means = [fmean(cells) for cells in by_seed]
    estimate = across_seeds(means)
    spread = float(np.std(means, ddof=1)) if len(means) > 1 else 0.0
    # Seeds that agree to the last digit leave the sign test; a single one leaves nothing.
    p = 0.5 ** (len(means) - 1) if estimate.value else 1.0
    if spread:
        p = 2 * float(t.sf(abs(estimate.value) / spread * len(means) ** 0.5, len(means) - 1))
    effect = estimate.value / spread if spread else 0.0
    return {**estimate.to_json(), "cells": sum(map(len, by_seed)), "by_seed": means, "p": p, "effect_size": effect}


def unlearning_config(config: InfluenceAuditConfig) -> ForgetConfig:
    """The unlearning run that controls repeat.

    Args:
        config: With its config file.

    Returns:
        An instance of the method's own config.

    Raises:
        ConfigError: When there is none.
    """
    if config.forget_config is None:
        raise ConfigError(
            "Controls repeat an unlearning run on other rows.",
            where="`forget_config`",
            remedy="give the config.yaml of an `unweave forget` run",
        )
    name = read_value(config.forget_config, "method") or ForgetConfig.method
    unlearning = load_yaml(config_of(name), config.forget_config, command="forget")
    return dated(unlearning, tokenizer_of(unlearning), unlearning.adapter, unlearning.model)


def _unlearn(
    case: Case,
    config: InfluenceAuditConfig,
    unlearning: ForgetConfig,
    folder: Path,
    *,
    size: int,
    retain: int,
    kind: str,
    seed: int,
) -> dict[str, Any]:
    progress.say(f"controls: {size} forget rows, {retain} retain rows, {kind} weights, seed {seed}")
    forget_file, retain_file = _sample(case, folder, size, retain, seed)
    weighing: Any = {"method": kind, "store": config.store, "forget": forget_file, "retain": retain_file, "seed": seed}
    weights: dict[str, Any] = {
        "output_forget": folder / "forget.weights.jsonl",
        "output_retain": folder / "retain.weights.jsonl",
    }
    weighed = weigh_rows(WeighConfig(**weighing, **weights))
    sizes = {"batch_size": unlearning.batch_size, "forget": size, "retain": retain}
    result = forget_rows(
        replace(
            unlearning,
            forget=forget_file,
            retain=retain_file,
            forget_weights=weights["output_forget"],
            retain_weights=weights["output_retain"],
            epochs=epochs_of(config.steps, method_of(unlearning), unlearning.retain_ratio, **sizes),
            output_dir=folder / "unlearned",
            seed=seed,
            **AS_WRITTEN,
        )
    )
    model: Any = {"model": str(folder / "unlearned"), "dtype": unlearning.dtype, "device": unlearning.device}
    return {
        "forget_rows": size,
        "retain_rows": retain,
        "kind": kind,
        "seed": seed,
        "steps": result.steps,
        "effective_forget_rows": weighed.forget_summary.effective_sample_size,
        "effective_retain_rows": weighed.retain_summary.effective_sample_size,
        **_measures(case, ModelConfig(**model), unlearning, config.test_rows),
    }


def _sample(case: Case, folder: Path, size: int, retain: int, seed: int) -> tuple[Path, Path]:
    """The rows of a cell: the same for every kind of weights."""
    rng, rows = random.Random(seed), case.rows("train")
    parts: dict[str, list[Row]] = {
        "forget": rng.sample([row for row in rows if is_poisoned(row.meta)], size),
        "retain": rng.sample([row for row in rows if not is_poisoned(row.meta)], retain),
    }
    for name, own in parts.items():
        write_jsonl(folder / f"{name}.jsonl", [row.to_record() for row in own])
    return folder / "forget.jsonl", folder / "retain.jsonl"


def _measures(case: Case, model: ModelConfig, unlearning: ForgetConfig, test_rows: int) -> dict[str, float]:
    loaded = load(model)
    encoding = part_of(EncodingConfig, unlearning)
    seen = case.rows("test_seen")[:test_rows]
    sets = {"unwanted": case.rows("unwanted")[:test_rows], "clean": case.rows("test_clean")[: 2 * test_rows]}
    forced = forced_pass(loaded, sets, encoding, description="controls")
    losses = {name: fmean(values.mean_losses()) for name, values in forced.items()}
    return {
        "attack_success": fmean(unwanted_answers(loaded, case, seen, encoding, description="controls")),
        "unwanted_loss": losses["unwanted"],
        "clean_loss": losses["clean"],
    }
