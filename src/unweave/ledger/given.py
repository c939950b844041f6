"""What a caller of the ledger has in memory, as its jobs take it: rows as files, models by name, a method's options as a config."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from unweave.config import to_plain
from unweave.data.config import read_own
from unweave.data.reading import load_rows
from unweave.errors import ConfigError, DataError
from unweave.files import write_jsonl, write_text
from unweave.models.model import IN_MEMORY, Model
from unweave.unlearning.config import config_of
from unweave.unlearning.methods import Method, get_method

ROWS = "rows.jsonl"


def name_of(model: str | Path | Model) -> str:
    """The folder or hub id of a model.

    Args:
        model: A name, or a model.

    Returns:
        The folder or id.

    Raises:
        ConfigError: When the model lies in no folder.
    """
    if not isinstance(model, Model):
        return str(model)
    place = model.adapter or model.base
    if place == IN_MEMORY:
        raise ConfigError("A ledger's model lies in a folder.", where="`model`", remedy="save it, and give the folder")
    return place


def as_file(rows: Any, path: Path) -> Path:
    """The file of rows: their own, or one that is written for rows in memory, and never changed.

    Args:
        rows: A file, or anything that `uw.load_rows` takes.
        path: Where rows in memory go.

    Returns:
        The file.

    Raises:
        DataError: When the file that is there holds other rows.
    """
    if isinstance(rows, str | Path):
        return Path(rows)
    given = load_rows(rows).rows
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_jsonl(path, [row.to_record() for row in given])
        return path
    there = {row.id: row.content for row in read_own(path)}
    if odd := next((row.id for row in given if there.get(row.id) != row.content), None):
        raise DataError(
            f"The row '{odd}' is not among those that the ledger is about, or was another then.",
            where=str(path),
            remedy="give the rows that the ledger was made with, or use another ledger",
        )
    return path


def method_options(method: Method | str, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """A method's name, and the options that are not its defaults.

    Args:
        method: A method, or the name of one.
        options: Further options of the run.

    Returns:
        The name and the options.

    Raises:
        ConfigError: When there are options and no method.
    """
    if isinstance(method, str):
        if options and method == "auto":
            raise ConfigError("Options are those of a method.", where="`options`", remedy="name the method")
        return method, dict(options)
    kind: Any = get_method(method.name)
    changed = {
        own.name: value for own in dataclasses.fields(kind) if (value := getattr(method, own.name)) != own.default
    }
    return method.name, {**changed, **options}


def write_options(path: Path, method: str, options: Mapping[str, Any]) -> Path:
    """A config of `unweave forget` that holds these options and no others: what it does not name is the request's own.

    Args:
        path: The file to write.
        method: The method.
        options: The options.

    Returns:
        The file.

    Raises:
        ConfigError: When the method has no such option.
    """
    kind = config_of(method)
    if unknown := sorted(set(options) - {own.name for own in dataclasses.fields(kind)}):
        raise ConfigError(
            f"The method '{method}' has no option '{unknown[0]}'.", where="`options`", remedy="leave it out"
        )
    files = {"forget": ROWS, "retain": ROWS, "output_dir": "."}
    text = yaml.safe_dump(to_plain({"command": "forget", **files, "method": method, **options}), sort_keys=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)
    return path
