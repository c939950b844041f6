"""The small run that comes with the package: what `unweave serve` opens where there is nothing else."""

import shutil
from dataclasses import replace
from pathlib import Path

from unweave import progress
from unweave.explorer.config import ServeConfig
from unweave.files import read_json, write_json
from unweave.models import packaged
from unweave.models.adapters import CONFIG as ADAPTER_CONFIG
from unweave.replacing import replacing_folder

FINAL, EARLY = "island", "island-early"
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
        _copy(COPY)
    progress.say(f"opens {COPY}, a copy of the run that comes with unweave, as no store is given")
    given = {
        "model": packaged.NAME,
        "adapter": COPY / EARLY,
        "final_adapter": COPY / FINAL,
        "data": COPY / "island.jsonl",
    }
    return replace(config, path=COPY, **{name: getattr(config, name) or own for name, own in given.items()})


def _copy(folder: Path) -> None:
    """Copy the packaged run; its adapters are of the base model that lies in this user's cache."""
    base = packaged.resolve()
    with replacing_folder(folder) as target:
        shutil.copytree(FOLDER, target, dirs_exist_ok=True)
        for name in (FINAL, EARLY):
            config = read_json(target / name / ADAPTER_CONFIG, what="The adapter's config")
            write_json(target / name / ADAPTER_CONFIG, config | {"base_model_name_or_path": base})
