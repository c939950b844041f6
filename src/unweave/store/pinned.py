"""Shards that a reader has opened stay readable for it, whatever a compaction or a repair takes off the disk meanwhile.

Each is mapped when the store's commits are read. A mapping needs no open file and no memory until it is touched, and the system keeps its bytes, without a
name on the disk, until the last reader of them ends.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from unweave.store.shards import Commit

MOST = 30_000
"""Systems let a process map some 65,000 files."""


class Pinned:
    """The mapped shards of one reader."""

    def __init__(self) -> None:
        self._maps: dict[str, torch.Tensor] = {}

    def take(self, commits: Sequence[Commit], folder: Path) -> list[Commit]:
        """Map the shards of commits, and let go of all others.

        Args:
            commits: The commits.
            folder: Of the shards.

        Returns:
            Those whose shard is not there, or not whole: damaged, or withdrawn since they were read.
        """
        names = {commit.name for commit in commits}
        self._maps = {name: mapped for name, mapped in self._maps.items() if name in names}
        absent = []
        for commit in commits[:MOST]:
            if commit.name in self._maps:
                continue
            mapped = _mapped(folder / f"{commit.name}.safetensors", commit.size)
            if mapped is None:
                absent.append(commit)
            else:
                self._maps[commit.name] = mapped
        return absent

    def bytes_of(self, commit: Commit) -> np.ndarray | None:
        """The bytes of a shard.

        Args:
            commit: Its commit.

        Returns:
            They, or `None` where the shard is not mapped.
        """
        mapped = self._maps.get(commit.name)
        return None if mapped is None else mapped.numpy()


def _mapped(path: Path, size: int) -> torch.Tensor | None:
    try:
        # Mapping more than there is would end the process at the first byte beyond.
        if size < 1 or path.stat().st_size != size:
            return None
        return torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)
    except (OSError, RuntimeError):
        return None
