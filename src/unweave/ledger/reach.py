"""How far a request reaches: what unweave itself has left of the rows goes, and what it must not touch is listed."""

import shutil
from pathlib import Path
from typing import Any

from unweave import progress
from unweave.data.mentions import mentioning, mentions, needles_of
from unweave.ledger.job import Job
from unweave.ledger.ledger import WORK
from unweave.ledger.price import sharded_recipe
from unweave.outputs import SNAPSHOTS
from unweave.store.store import GradientStore
from unweave.temporary import remove_stale
from unweave.train.early import BESIDE_STORE
from unweave.train.loop import CHECKPOINTS
from unweave.train.shards import folders_that_saw

MODELS = (SNAPSHOTS, CHECKPOINTS)
"""Folders of a run that hold models of the same training."""


def reach(job: Job) -> dict[str, Any]:
    """Take away what runs have left of the rows' texts in the ledger and in the folder of its model, and list where else they are.

    Args:
        job: The request; its store is clean already.

    Returns:
        `not_reached`: place and kind of what stays.
    """
    if gone := _clean(job):
        progress.say(f"removed what killed runs had left: {', '.join(gone)}")
    return {"not_reached": _not_reached(job)}


def _clean(job: Job) -> list[str]:
    """Temporary files of killed runs, and the working files of requests that were killed: these make theirs again."""
    ledger = job.ledger.folder
    gone = remove_stale(ledger)
    for work in sorted((ledger / "requests").glob(f"*/{WORK}")):
        if work != job.work:
            shutil.rmtree(work)
            gone.append(work)
    model = Path(job.ledger.origin().model)
    if (model / "run.json").is_file():
        gone += remove_stale(model)
    return [str(path) for path in gone]


def _not_reached(job: Job) -> list[dict[str, str]]:
    origin, rows = job.ledger.origin(), job.rows
    asked = [row for row in rows if row.id in job.request.rows]
    needles = needles_of(asked, [row for row in rows if row.id not in job.request.rows])
    found = [{"place": origin.data, "what": "the data: the rows themselves"}] if asked else []
    model = Path(origin.model)
    earlier = {origin.model: "the model before all requests", job.before: "the model before this request"}
    found += [{"place": place, "what": f"{what}, which has learned the rows"} for place, what in earlier.items()]
    for name in MODELS:
        found += [
            {"place": str(path), "what": "a model of the same training"} for path in sorted((model / name).glob("*"))
        ]
    if (recipe := sharded_recipe(job)) is not None:
        own = [job.ledger.own_id(row.id) for row in asked]
        what = "a stage of the training in shards, which has learned a row"
        found += [
            {"place": str(path), "what": what}
            for folder in earlier
            for path in folders_that_saw(Path(folder), own, recipe)
        ]
    early = [store.with_name(f"{store.name}{BESIDE_STORE}") for store in map(Path, job.stores)]
    found += [
        {"place": str(path), "what": "an early checkpoint of a gradient store, which may have learned the rows"}
        for path in early
        if path.is_dir()
    ]
    data = Path(origin.data)
    folders = [job.ledger.folder, *([model] if (model / "run.json").is_file() else [])]
    folders += job.stores
    # Copies of rows stand beside each other in the folder of a case.
    folders += [data.parent] if (data.parent / "case.json").is_file() else []
    texts = mentioning(folders, needles, apart=[job.work, data])
    found += [{"place": str(path), "what": "holds the text of a row"} for path in texts]
    shown = needles | {job.ledger.own_id(row.id).encode() for row in asked}
    outputs = {path for store in job.stores for path in GradientStore.open(store).log.outputs()}
    pages = sorted(path for path in outputs if path.is_file() and path not in texts and mentions(path, shown))
    return found + [{"place": str(path), "what": "a trace that shows a row"} for path in pages]
