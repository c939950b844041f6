"""What a part of `benchmarks/gpu.py` gets: sizes, a clock, a device, and where its figures go."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

GIB = 2**30


class SkippedError(Exception):
    """A part can't run here, and why."""


@dataclass(frozen=True)
class Sizes:
    """How large everything is.

    Attributes:
        model: Arguments of transformers' Llama configuration.
        small: The same, of the model on which GPU and CPU are compared.
        dtype: Of the large model.
        length: Tokens of each row.
        rows: Rows that are cached for a figure.
        token_budgets: Tokens a batch; the first is the one that others are compared with.
        dimension: K, of sketches.
        stored: Rows of the store that is scanned.
        batch_size: Rows of an unlearning or training step.
        steps: Such steps a figure.
        limit: Bytes of the smaller card, in the part that must do with less.
        corpus: Rows of the training set that times are extrapolated to.
        lora_r: Rank.
    """

    model: dict[str, Any]
    small: dict[str, Any]
    dtype: torch.dtype
    length: int
    rows: int
    token_budgets: tuple[int, ...]
    dimension: int
    stored: int
    batch_size: int
    steps: int
    limit: int
    corpus: int = 52_000
    lora_r: int = 16


TINY = {
    "vocab_size": 128, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}  # fmt: skip
DRY = Sizes(
    TINY, TINY, torch.float32, length=24, rows=4, token_budgets=(48,), dimension=2048, stored=512, batch_size=4, steps=1, limit=GIB, corpus=52, lora_r=2,
)  # fmt: skip
FULL = Sizes(
    # Llama 3 8B's.
    {
        "vocab_size": 128_256, "hidden_size": 4096, "intermediate_size": 14_336, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 8, "max_position_embeddings": 8192, "rope_theta": 500_000.0,
    },
    {
        "vocab_size": 2048, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 8, "num_key_value_heads": 4,
        "max_position_embeddings": 512,
    },
    torch.bfloat16, length=512, rows=48, token_budgets=(4096, 8192, 1024), dimension=65_536, stored=52_000, batch_size=8, steps=3, limit=24 * GIB,
)  # fmt: skip


@dataclass(frozen=True)
class Session:
    """One part's run.

    Attributes:
        part: Its name.
        file: The results.
        sizes: How large everything is.
        device: Where to.
        deadline: On the monotonic clock: a part begins nothing after it.
        seed: Of weights and rows.
    """

    part: str
    file: Path
    sizes: Sizes
    device: torch.device
    deadline: float
    seed: int = 0

    @property
    def left(self) -> float:
        """Seconds."""
        return self.deadline - time.monotonic()

    def note(self, name: str, value: Any) -> None:
        """Write a figure to the results now."""
        note(self.file, self.part, {name: value})
        print(f"{self.part}: {name} {json.dumps(value)}", flush=True)

    def attempt(self, name: str, work: Callable[[], Any], *, seconds: float = 0.0) -> Any:
        """Do one piece of a part, and note its figure, or its error, without ending the part; not where less than so many seconds are left."""
        if self.left < seconds:
            self.note(name, {"skipped": f"{self.left:.0f} s were left"})
            return None
        try:
            value = work()
        except SkippedError as reason:
            self.note(name, {"skipped": str(reason)})
        except Exception as error:  # whatever it is, the next piece runs
            self.note(name, {"error": one_line(error)})
        else:
            self.note(name, value)
            return value
        finally:
            self.clear()
        return None

    def clear(self) -> None:
        """Give back memory that is not used."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def seconds(self, work: Callable[[], Any]) -> float:
        """Of one call, the device's work included."""
        self.wait()
        start = time.perf_counter()
        work()
        self.wait()
        return time.perf_counter() - start

    def wait(self) -> None:
        """Until the device has done what it was asked."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def peak(self, work: Callable[[], Any]) -> float:
        """GiB that a call takes at most, what was there before included; 0 on the CPU, where torch does not count."""
        if self.device.type != "cuda":
            work()
            return 0.0
        torch.cuda.reset_peak_memory_stats()
        work()
        self.wait()
        return torch.cuda.max_memory_allocated() / GIB

    def in_turn(self, works: dict[str, Callable[[], Any]], *, rounds: int) -> dict[str, list[float]]:
        """Seconds of each of several calls, one after the other, round by round: what else the machine does slows all alike."""
        found: dict[str, list[float]] = {name: [] for name in works}
        for turn in range(rounds):
            if turn and self.left < 2 * sum(values[-1] for values in found.values()):
                break
            for name, work in works.items():
                found[name].append(self.seconds(work))
        return found


def note(file: Path, part: str, values: dict[str, Any]) -> None:
    """Add to a part's results on the disk; a reader, and whoever is killed meanwhile, leave a whole file."""
    results = json.loads(file.read_text(encoding="utf-8"))
    results["parts"].setdefault(part, {}).update(values)
    write(file, results)


def write(file: Path, results: dict[str, Any]) -> None:
    """Replace the results."""
    aside = file.with_suffix(".new")
    aside.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    aside.replace(file)


def one_line(error: BaseException) -> str:
    """An error in a line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"


def middle(values: list[float]) -> dict[str, float]:
    """Median, minimum and maximum."""
    return {"median": median(values), "min": min(values), "max": max(values)}
