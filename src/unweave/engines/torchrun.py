"""Caching by the processes that torchrun started: `torchrun --nproc-per-node 2 -m unweave.cli.main cache --engine torchrun ...`.

Each process takes every n-th unit and commits it itself, so nothing is sent between them but the list of pending rows. A process that dies takes the
others down, as torchrun does it; what was committed stays, and the same command goes on.
"""

import os
import time
from dataclasses import replace

import torch
import torch.distributed as dist

from unweave import progress
from unweave.attribution.adding import Unit, do_unit
from unweave.attribution.caching import CacheJob, CacheResult, open_job
from unweave.engines.config import CacheConfig
from unweave.errors import ConfigError


def cache_rows(config: CacheConfig) -> CacheResult:
    """Cache this process's share of the rows.

    Args:
        config: The options; `device = auto` becomes the GPU of the local rank.

    Returns:
        What all processes did together, in every process.

    Raises:
        ConfigError: When torchrun did not start this process.
    """
    if "RANK" not in os.environ:
        raise ConfigError(
            "The engine torchrun needs processes that torchrun started.",
            where="`engine`",
            remedy="run `torchrun --nproc-per-node N -m unweave.cli.main cache --engine torchrun ...`",
        )
    cuda = torch.cuda.is_available() and config.device in ("auto", "cuda")
    if cuda:
        config = replace(config, device=f"cuda:{os.environ.get('LOCAL_RANK', '0')}")
    # gloo carries row ids only, and needs no GPU.
    dist.init_process_group("gloo")
    try:
        return _share(config, dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def _share(config: CacheConfig, rank: int, world: int) -> CacheResult:
    progress.silence(rank > 0)
    # The first process makes the store, or finds out that it can't, before the others look for it.
    job = open_job(config) if rank == 0 else None
    dist.barrier()
    job = job or open_job(config)
    started = time.monotonic()
    if rank:
        units = _agree(None, job)
        _do(job, units[rank::world])
        dist.barrier()
        return job.result(units, time.monotonic() - started)
    with job.store.writing():
        job.begin()
        units = _agree(job.units(), job)
        _do(job, units[rank::world])
        dist.barrier()
    return job.result(units, time.monotonic() - started)


def _agree(units: list[Unit] | None, job: CacheJob) -> list[Unit]:
    """The first process's plan, everywhere."""
    plan = [[(unit.number, [example.row_id for example in unit.examples]) for unit in units or []]]
    dist.broadcast_object_list(plan, src=0)
    by_id = {example.row_id: example for example in job.examples}
    return [Unit(number, tuple(by_id[row_id] for row_id in ids)) for number, ids in plan[0]]


def _do(job: CacheJob, units: list[Unit]) -> None:
    job.store.refresh()
    with progress.task(f"cache {job.config.store.name}", sum(len(unit.examples) for unit in units)) as advance:
        for unit in units:
            do_unit(job.sketcher, job.store, unit, advance=advance)
