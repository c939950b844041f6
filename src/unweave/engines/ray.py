"""Caching by actors of Ray Data, on this machine or a cluster whose nodes share the store's disk.

A unit travels to whichever actor is free; an actor that dies is replaced and its unit done again, which does no harm. Actors must leave Ray some of the
CPUs for itself: a pool that takes them all waits for ever, so that is refused.
"""

import json
import os
import time
from dataclasses import replace
from typing import Any

import torch

from unweave import progress
from unweave.attribution.adding import Unit, do_unit
from unweave.attribution.caching import CacheResult, open_job
from unweave.data.encoding import Example
from unweave.engines.config import CacheConfig
from unweave.errors import ConfigError, MissingExtraError
from unweave.models.loading import load
from unweave.sketch.sketcher import Sketcher
from unweave.store.store import GradientStore


def cache_rows(config: CacheConfig) -> CacheResult:
    """Cache rows with actors.

    Args:
        config: The options; an actor with a GPU uses it, others the CPU.

    Returns:
        What was done.

    Raises:
        MissingExtraError: When Ray is not installed.
        ConfigError: When the actors would take all CPUs.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtraError("ray", extra="ray", purpose="The engine ray") from error
    if not ray.is_initialized():
        ray.init(include_dashboard=False, configure_logging=False, log_to_driver=False)
    cpus = ray.cluster_resources().get("CPU", 0.0)
    if config.workers * config.worker_cpus > cpus - 0.5:
        raise ConfigError(
            f"{config.workers} actors of {config.worker_cpus} CPUs leave Ray too little of {cpus:g}: it would wait for ever.",
            where="`workers`, `worker_cpus`",
            remedy=f"give `worker_cpus` {max(0.1, (cpus - 0.5) / config.workers):.2g} or less",
        )
    job = open_job(config)
    started = time.monotonic()
    with job.store.writing():
        job.begin()
        units = job.units()
        items = [{"number": unit.number, "examples": _dump(unit)} for unit in units]
        if items:
            context = ray.data.DataContext.get_current()
            context.enable_progress_bars = False
            done = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
                _Worker,
                fn_constructor_args=(replace(config, engine="local"), torch.get_num_threads()),
                batch_size=1,
                batch_format="pandas",
                compute=ray.data.ActorPoolStrategy(size=config.workers),
                num_cpus=config.worker_cpus,
                num_gpus=config.worker_gpus or None,
                max_restarts=3,
                max_task_retries=3,
            )
            with progress.task(f"cache {config.store.name}", sum(len(unit.examples) for unit in units)) as advance:
                for row in done.iter_rows():
                    advance(int(row["rows"]))
    return job.result(units, time.monotonic() - started)


class _Worker:
    """An actor: the model, loaded once, and the store."""

    def __init__(self, config: CacheConfig, threads: int):
        torch.set_num_threads(threads)
        progress.silence()
        loaded = load(config)
        self.sketcher = Sketcher(loaded.model, pad_token_id=loaded.tokenizer.pad_token_id, config=config)
        self.store = GradientStore.open(config.store)

    def __call__(self, batch: Any) -> Any:
        rows = []
        for number, examples in zip(batch["number"], batch["examples"], strict=True):
            unit = Unit(int(number), _load(examples))
            self.store.refresh()
            do_unit(self.sketcher, self.store, unit)
            rows.append(len(unit.examples))
        return {"rows": rows}


def _dump(unit: Unit) -> str:
    return json.dumps(
        [[example.row_id, example.input_ids, example.prompt_length, example.labelled] for example in unit.examples]
    )


def _load(text: str) -> tuple[Example, ...]:
    return tuple(
        Example(row_id, tuple(ids), prompt_length, None if labelled is None else tuple(labelled))
        for row_id, ids, prompt_length, labelled in json.loads(text)
    )
