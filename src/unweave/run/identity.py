"""What makes two runs the same: the command, the options that change its result, what it reads, and the version of unweave.

Versions of the libraries below are kept beside that. They change the last digits of a result and not what was asked for, so a finished run stays
finished under others, and says so; but an interrupted run is not continued under others, since half a run of each is a run of neither.
"""

import dataclasses
import hashlib
import json
from collections.abc import Collection
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from unweave import __version__
from unweave.config import to_plain

NO_EFFECT = (
    "output_dir", "output", "output_forget", "output_retain", "html", "tda", "replay",
    "device", "device_map", "gradient_checkpointing",
    "report_to", "api_key_variable", "request_timeout", "parallel_requests",
    "engine", "workers", "worker_cpus", "worker_gpus",
)  # fmt: skip
"""Options that change no result: where it goes, on which devices it is computed and what twice (rounding apart; `dtype` counts as it comes out there), by
whom, and who follows it."""

LIBRARIES = ("torch", "transformers", "tokenizers", "peft")


def options_of(config: Any, inputs: Collection[str]) -> dict[str, Any]:
    """The options of a run that change its result, apart from those that name what it reads.

    Args:
        config: Its dataclass.
        inputs: Options that are declared as inputs.

    Returns:
        A JSON object.

    Raises:
        TypeError: When an option that is a path is no declared input: this is a mistake of the job, which would be fooled by a file that changes.
    """
    found = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name in inputs or field.name in NO_EFFECT:
            continue
        if _has_path(value):
            raise TypeError(f"{type(config).__name__}.{field.name} is a path and no declared input of the run")
        found[field.name] = to_plain(value)
    if found.get("dtype") == "auto":
        from unweave.models.loading import native_dtype, pick_device

        found["dtype"] = str(native_dtype(pick_device(config.device))).removeprefix("torch.")
    return found


def identity_digest(identity: dict[str, Any]) -> str:
    """A short name for what makes two runs the same, for what is kept on the way.

    Args:
        identity: From `RunFolder.identity`.

    Returns:
        32 hexadecimal digits.
    """
    return hashlib.blake2b(json.dumps(identity, sort_keys=True, default=str).encode(), digest_size=16).hexdigest()


def libraries() -> dict[str, str | None]:
    """The versions of the libraries that compute.

    Returns:
        Name to version; `None` where one is not installed.
    """
    return {name: _version(name) for name in LIBRARIES}


def versions() -> dict[str, Any]:
    """All versions, for what is kept on the way.

    Returns:
        A JSON object.
    """
    return {"version": __version__, "libraries": libraries()}


@cache
def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _has_path(value: Any) -> bool:
    if isinstance(value, Path):
        return True
    if isinstance(value, dict):
        return any(_has_path(item) for item in value.values())
    return isinstance(value, list | tuple) and any(_has_path(item) for item in value)
