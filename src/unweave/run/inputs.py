"""What a run reads, by content: rows, models, stores, tables, configs. A job declares these; nothing is guessed from what an option looks like.

An input takes the place of the options that name it. Where a file lies, when it was written and from where the command was typed is then no
part of a run's identity, and what it holds is.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from unweave.data.rows import Row
from unweave.data.sources.opening import is_stream
from unweave.digests import content_digest, folder_files, matching, named_digests
from unweave.errors import UnweaveError
from unweave.run.identity import options_of


@dataclass(frozen=True)
class Input:
    """Something that a run reads.

    Attributes:
        content: What it holds, as JSON: digests mostly.
        files: The files that were read for it: a run must not replace them.
    """

    content: Any
    files: tuple[Path, ...] = ()


Inputs = Mapping[str, Input]
"""Option to what it stands for."""


def of_value(value: Any) -> Input:
    """Something that is no file, such as the number of processes.

    Args:
        value: As JSON holds it.

    Returns:
        The input.
    """
    return Input(value)


def of_path(path: Path | str | None) -> Input:
    """A file or a folder, by the bytes of its files.

    Args:
        path: The file or folder; `None` where the option is not given.

    Returns:
        The input. What is not there has no content: whoever reads it says so in its own words.
    """
    if path is None:
        return Input(None)
    path = Path(path)
    if path.is_file():
        return Input(content_digest(path), (path,))
    if path.is_dir():
        files = folder_files(path)
        return Input(named_digests(path, files), tuple(files))
    return Input("missing")


def of_paths(config: Any, *, but: Sequence[str] = ()) -> dict[str, Input]:
    """All options of a config that are paths, by their type.

    Args:
        config: A dataclass.
        but: Options that are no inputs, or are declared in another way.

    Returns:
        Option to input.
    """
    values = {field.name: getattr(config, field.name) for field in fields(config) if field.name not in but}
    return {name: of_path(value) for name, value in values.items() if isinstance(value, Path)}


def of_rows(source: Path | str | None, config: Any, *, read: Callable[[], Iterable[Row]] | None = None) -> Input:
    """Rows: the bytes of their files, or where they come from the hub, the rows.

    Args:
        source: A file, a folder, or the id of a data set.
        config: How rows are read.
        read: Reads them, where that is not done as for training.

    Returns:
        The input.
    """
    # A pipe can be read once only, and its reader keeps what came.
    if source is None or (Path(source).exists() and not is_stream(Path(source))):
        return of_path(source)
    from unweave.data.training_rows import read_training_rows

    try:
        return Input(rows_digest(read() if read else read_training_rows(source, config)))
    except UnweaveError:
        return Input("missing")


def rows_digest(rows: Iterable[Row]) -> str:
    """A hash of everything that rows are, but for where they stand.

    Args:
        rows: The rows.

    Returns:
        32 hexadecimal digits.
    """
    names = [field.name for field in fields(Row) if field.name not in ("source", "line")]
    digest = hashlib.blake2b(digest_size=16)
    for row in rows:
        values = [dict(value) if isinstance(value := getattr(row, name), Mapping) else value for name in names]
        digest.update(json.dumps(values, sort_keys=True, default=str).encode())
    return digest.hexdigest()


def of_case(folder: Path | None) -> Input:
    """A case: its description and its rows, and nothing else that may lie in its folder.

    Args:
        folder: The case folder.

    Returns:
        The input.
    """
    if folder is None:
        return Input(None)
    found = matching(folder, ("case.json", "*.jsonl"))
    return Input(named_digests(folder, found), tuple(found)) if found else Input("missing")


def together(parts: Mapping[str, Input]) -> Input:
    """Several inputs of one option.

    Args:
        parts: Name to input; the names and their order count.

    Returns:
        All of them as one.
    """
    content = [[name, one.content] for name, one in parts.items()]
    return Input(content, tuple(file for one in parts.values() for file in one.files))


def of_store(folder: Path | None) -> Input:
    """A gradient store: how it was made, and which rows it holds with which sketches.

    Args:
        folder: The store.

    Returns:
        The input.
    """
    if folder is None:
        return Input(None)
    records = [folder / "store.json", *sorted(folder.glob("commits/*.json")), *sorted(folder.glob("deletions/*.json"))]
    found = matching(folder, [path.relative_to(folder).as_posix() for path in records])
    return Input(named_digests(folder, found), tuple(found)) if found else Input("missing")


def of_config(config: Any, inputs: Inputs) -> Input:
    """The config of another command: its values, and the content of what it names.

    Args:
        config: Its dataclass.
        inputs: What that command would read.

    Returns:
        The input.
    """
    content = {"config": options_of(config, inputs), "inputs": {name: one.content for name, one in inputs.items()}}
    return Input(content, tuple(file for one in inputs.values() for file in one.files))
