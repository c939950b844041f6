"""Digests of what is on the disk, by content: files, folders, and the files of a model that decide what it computes.

Times and sizes decide nothing: a file that was changed and given its old size and time has another digest. A digest is remembered for the
life of the process only, under everything that the system changes with a file's content, its change time included, which no program can set.
"""

import os
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from unweave.files import file_digest
from unweave.temporary import TEMPORARY_PREFIX

MODEL_FILES = (
    "*.safetensors", "*.safetensors.index.json", "*.gguf", "adapter_model.bin", "adapter_config.json", "config.json", "generation_config.json",
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt", "*.model", "*.tiktoken",
    "chat_template.jinja", "chat_template.json", "additional_chat_templates/*.jinja",
)  # fmt: skip
"""What decides what a model computes, and how text becomes its tokens."""

RECORDS = frozenset({"run.json", "config.yaml", "result.json", "README.md"})
"""What runs write about themselves: they hold times, and say nothing of what else is in the folder."""

SETTLED_SECONDS = 2.0
"""Two changes within one tick of the file system's clock have the same change time: only a digest of a file older than that is remembered."""

THREADS = 4

_known: dict[tuple[str, int, int, int, int, int], str] = {}


def content_digest(path: Path) -> str:
    """BLAKE2b of a file's bytes, read once a process while the file stays as it is.

    Args:
        path: The file.

    Returns:
        32 hexadecimal digits.
    """
    before = os.stat(path)  # noqa: PTH116  # the file behind a link
    key = (str(path.resolve()), before.st_dev, before.st_ino, before.st_size, before.st_mtime_ns, before.st_ctime_ns)
    if key in _known:
        return _known[key]
    digest = file_digest(path)
    if time.time() - before.st_ctime > SETTLED_SECONDS:
        _known[key] = digest
    return digest


def content_digests(paths: Sequence[Path]) -> list[str]:
    """Digests of several files, some at a time.

    Args:
        paths: The files.

    Returns:
        Their digests, in the order of `paths`.
    """
    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool:
        return list(pool.map(content_digest, paths))


def folder_files(folder: Path) -> list[Path]:
    """The files of a folder and of those in it, but for hidden ones and the records of runs.

    Args:
        folder: The folder.

    Returns:
        Files, in the order of their names.
    """
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(
        path
        for path in found
        if path.name not in RECORDS and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def all_files(folder: Path) -> list[Path]:
    """Every file of a folder and of those in it, but for what a killed writer left.

    Args:
        folder: The folder.

    Returns:
        Files, in the order of their names.
    """
    return matching(folder, ("**/*",))


def matching(folder: Path, patterns: Iterable[str]) -> list[Path]:
    """The files of a folder that patterns name; what a killed writer left is not among them.

    Args:
        folder: The folder.
        patterns: Globs, relative to it.

    Returns:
        Files, in the order of their names.
    """
    found = {path for pattern in patterns for path in folder.glob(pattern)}
    return sorted(path for path in found if path.is_file() and not path.name.startswith(TEMPORARY_PREFIX))


def named_digests(folder: Path, paths: Sequence[Path]) -> dict[str, str]:
    """Digests of files by their names within a folder, which are the same wherever it lies.

    Args:
        folder: The folder.
        paths: Files in it.

    Returns:
        Name to digest.
    """
    names = [path.relative_to(folder).as_posix() for path in paths]
    return dict(zip(names, content_digests(paths), strict=True))
