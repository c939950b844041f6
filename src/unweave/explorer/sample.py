"""The small run that comes with the package: what `unweave serve` opens where there is nothing else."""

import shutil
from dataclasses import replace
from pathlib import Path

from unweave import progress
from unweave.explorer.config import ServeConfig

FOLDER = Path(__file__).parent / "sample"
USUAL = Path("runs/demo")
"""Where `make demo` leaves its run."""
COPY = Path("runs/sample")


def with_something_to_open(config: ServeConfig) -> ServeConfig:
    """Where no store is given: the demo's, where it was made; else a copy of the packaged run, as forgetting changes what it works on.

    Args:
        config: The options.

    Returns:
        The options, with a path.
    """
    if config.path is not None:
        return config
    if any(USUAL.glob("*/store.json")):
        progress.say(f"opens {USUAL}, as no store is given")
        return replace(config, path=USUAL)
    if not (COPY / "store" / "store.json").is_file():
        shutil.copytree(FOLDER, COPY, dirs_exist_ok=True)
    progress.say(f"opens {COPY}, a copy of the run that comes with unweave, as no store is given")
    given = {"adapter": COPY / "early", "final_adapter": COPY / "adapter", "data": COPY / "island.jsonl"}
    return replace(config, path=COPY, **{name: getattr(config, name) or place for name, place in given.items()})
