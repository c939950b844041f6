"""Knowing before caching: what a run will take in memory, disk and time, from its own config and a short measurement."""

import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from unweave.attribution.caching import dated_as_stored, open_examples
from unweave.attribution.config import CachingConfig
from unweave.models.loading import Loaded, load
from unweave.sketch.numbers import stored_bytes
from unweave.sketch.sketcher import Sketcher

SAMPLE_BATCHES = 3


@dataclass(frozen=True)
class CachePlan:
    """What caching will take.

    Attributes:
        rows: Rows that fit.
        dropped_or_cut: Rows that the length limit touches.
        tokens: Their tokens, without padding.
        longest: Tokens of the longest.
        batches: Batches of at most `token_budget` tokens.
        padding: Share of the batches that is padding.
        parameters: D, coordinates of a gradient.
        tensors: Parameter tensors that these come from.
        compression: Bytes of a float32 gradient for each byte stored.
        store_bytes: Size of the store.
        free_disk_bytes: Free space where it will be.
        model_bytes: Memory of the model.
        batch_bytes: Highest additional memory of the largest batch, measured; `None` on the CPU where nothing measures it.
        tokens_per_second: Measured on the first, the middle and the last batch.
        seconds: Estimated time, without loading.
        warnings: What will go wrong.
        peak_bytes: The most memory of the whole process that the run takes, or of the GPU: what planning took, with the model, its libraries and the
            largest batch, and on the CPU the rows of one commit. `None` where nothing measures it.
    """

    rows: int
    dropped_or_cut: int
    tokens: int
    longest: int
    batches: int
    padding: float
    parameters: int
    tensors: int
    compression: float
    store_bytes: int
    free_disk_bytes: int
    model_bytes: int
    batch_bytes: int | None
    tokens_per_second: float
    seconds: float
    warnings: tuple[str, ...]
    peak_bytes: int | None = None

    def lines(self) -> dict[str, str]:
        """The plan in words.

        Returns:
            Name to text.
        """
        gib = 2**30
        return {
            "rows": f"{self.rows:,} ({self.dropped_or_cut} cut or dropped for their length)",
            "tokens": f"{self.tokens:,} in {self.batches} batches, {self.padding:.0%} padding; the longest row has {self.longest}",
            "gradient": f"{self.parameters:,} coordinates in {self.tensors} tensors, stored {self.compression:,.0f} times smaller",
            "store": f"{self.store_bytes / gib:.2f} GiB, {self.free_disk_bytes / gib:.1f} GiB free",
            "memory": f"model {self.model_bytes / gib:.2f} GiB"
            + ("" if self.batch_bytes is None else f", largest batch {self.batch_bytes / gib:.2f} GiB more")
            + ("" if self.peak_bytes is None else f", {self.peak_bytes / gib:.2f} GiB in all"),
            "time": f"{self.seconds / 60:.1f} min at {self.tokens_per_second:,.0f} tokens/s (measured on {min(self.batches, SAMPLE_BATCHES)} batches)",
        } | {f"warning {number}": text for number, text in enumerate(self.warnings, start=1)}


def plan_cache(config: CachingConfig, *, loaded: Loaded | None = None) -> CachePlan:
    """Predict a caching run by reading all rows and doing three of its batches; nothing is written.

    Args:
        config: The run.
        loaded: The model, where it is loaded already.

    Returns:
        The plan.
    """
    loaded = loaded or load(config)
    config = dated_as_stored(config, loaded)
    _, examples, problems = open_examples(config.data, config, loaded)
    sketcher = Sketcher(loaded.model, pad_token_id=loaded.tokenizer.pad_token_id, config=config)
    lengths = [len(example) for example in examples]
    batches = sketcher.source.plan(examples)
    padded = [len(batch) * lengths[batch[0]] for batch in batches]
    tokens = sum(lengths)
    # The first batch is the largest: it shows the memory. It also warms up, so it is timed on its second run.
    sample = [batches[0], *(batches[index] for index in sorted({len(batches) // 2, len(batches) - 1} - {0}))]
    before = _peak_bytes(loaded)
    sketcher.sketch_batch([examples[index] for index in batches[0]])
    peak = _peak_bytes(loaded)
    batch_bytes = None if before is None or peak is None else max(0, peak - before)
    spent, done = 0.0, 0
    for batch in sample[:SAMPLE_BATCHES]:
        start = time.perf_counter()
        sketcher.sketch_batch([examples[index] for index in batch])
        spent += time.perf_counter() - start
        done += len(batch) * lengths[batch[0]]
    rate = done / spent
    size = sum(sketcher.sizes.values())
    row_bytes = stored_bytes(sketcher.sketch.dimension, config.number_format) + 16
    free = shutil.disk_usage(_existing(config.store)).free
    model_bytes = sum(parameter.numel() * parameter.element_size() for parameter in loaded.model.parameters())
    warnings = []
    if row_bytes * len(examples) > free:
        warnings.append("the disk is too small: use `number_format` int8 or a smaller `dimension`")
    if max(lengths) > config.token_budget:
        warnings.append(
            f"the longest row has {max(lengths)} tokens, more than `token_budget`: it is a batch of its own"
        )
    if config.dimension > size and config.sketch != "none":
        warnings.append(f"a sketch of {config.dimension} is longer than the gradient of {size}: use `sketch` none")
    return CachePlan(
        len(examples),
        len(problems),
        tokens,
        max(lengths),
        len(batches),
        1 - tokens / sum(padded),
        size,
        len(sketcher.sizes),
        4 * size / row_bytes,
        row_bytes * len(examples),
        free,
        model_bytes,
        batch_bytes,
        rate * tokens / sum(padded),
        sum(padded) / rate,
        tuple(warnings),
        _with_commit(loaded, min(len(examples), config.commit_rows), 8 * sketcher.sketch.dimension + row_bytes),
    )


def _existing(path: Path) -> Path:
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def _with_commit(loaded: Loaded, rows: int, row_bytes: int) -> int | None:
    """The peak with the sketches of a commit: as they come, scaled, and as they are stored, all in the CPU's memory."""
    peak = _peak_bytes(loaded)
    return peak + rows * row_bytes if peak is not None and loaded.device.type == "cpu" else peak


def _peak_bytes(loaded: Loaded) -> int | None:
    """The most memory used so far: of the GPU, or of this process."""
    if loaded.device.type == "cuda":
        return torch.cuda.max_memory_allocated(loaded.device)
    try:
        import resource
    except ImportError:
        return None
    # Linux counts in KiB, macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
