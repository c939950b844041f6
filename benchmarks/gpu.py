"""unweave on one GPU, at the size of 8 billion parameters: caching, retrieval, unlearning, a smaller card, and whether the numbers are the CPU's.

    python benchmarks/gpu.py --minutes 8        benchmarks/results/gpu.json
    python benchmarks/gpu.py --dry-run          the same on the CPU with tiny sizes, under runs/: does it run?

It needs the repository, PyTorch, transformers, peft and numba, and no network: weights are random numbers of Llama 3 8B's shapes, rows are random tokens.
What else is missing is skipped, and the result says so. Each part runs in a process of its own, since an error on a GPU ends its process; figures are written
as soon as they are there, so that a part that fails, or a machine that is taken back, loses nothing of the others. Parts run in the order of `PARTS`; those for
which no time was left are named.
"""

import argparse
import os
import platform
import subprocess
import sys
import time
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src"), str(Path(__file__).parent)]
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Blocks of different sizes come and go: whole segments for each would not fit the smaller card.
os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")

import torch  # noqa: E402

from gpu_parts.session import DRY, FULL, Session, SkippedError, note, one_line, write  # noqa: E402

PARTS = {
    "kernels": ("gpu_parts.kernels:run", 120),
    "caching": ("gpu_parts.caching:lora", 120),
    "unlearning": ("gpu_parts.unlearning:run", 90),
    "linear": ("gpu_parts.caching:linear", 90),
    "scan": ("gpu_parts.scanning:run", 60),
    "limited": ("gpu_parts.limited:run", 120),
    "agreement": ("gpu_parts.agreement:run", 60),
}
"""Name to where it is and the most seconds that it may take."""
PACKAGES = ("torch", "triton", "transformers", "peft", "accelerate", "numba", "numkong", "bitsandbytes", "safetensors")


def main() -> None:
    """Run the parts one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8.0, help="parts that can't begin within them are skipped")
    parser.add_argument("--dry-run", action="store_true", help="on the CPU, with tiny sizes")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="the file of the results")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    name = "runs/gpu_dry.json" if options.dry_run else "benchmarks/results/gpu.json"
    file = (options.output or ROOT / name).absolute()
    if options.child:
        run_part(options.child, file, dry=options.dry_run, seconds=options.seconds, seed=options.seed)
        return
    if not options.dry_run and not torch.cuda.is_available():
        raise SystemExit("There is no CUDA device here: --dry-run runs on the CPU.")
    deadline = time.monotonic() + 60 * options.minutes
    file.parent.mkdir(parents=True, exist_ok=True)
    write(
        file,
        {
            "command": " ".join(["python benchmarks/gpu.py", *sys.argv[1:]]),
            "environment": environment(),
            "seed": options.seed,
            "parts": {},
        },
    )
    for part in options.parts:
        left = deadline - time.monotonic()
        if left < 15:
            note(file, part, {"status": "skipped: the minutes were over"})
            continue
        # A dry run shows whether everything runs, however busy the machine is.
        seconds = left if options.dry_run else min(left, PARTS[part][1])
        started = time.monotonic()
        if options.dry_run:
            run_part(part, file, dry=True, seconds=seconds, seed=options.seed)
        else:
            run_apart(part, file, seconds=seconds, seed=options.seed)
        note(file, part, {"seconds": round(time.monotonic() - started, 1)})
    print(f"written: {file}")


def run_part(part: str, file: Path, *, dry: bool, seconds: float, seed: int) -> None:
    """A part, in this process. Whatever goes wrong is written to the results."""
    device = torch.device("cpu" if dry else "cuda")
    module, _, name = PARTS[part][0].partition(":")
    note(file, part, {"status": "not finished"})
    session = Session(part, file, DRY if dry else FULL, device, time.monotonic() + seconds, seed)
    try:
        getattr(import_module(module), name)(session)
        status = "done"
    except SkippedError as reason:
        status = f"skipped: {reason}"
    except ModuleNotFoundError as error:
        status = f"skipped: {error.name} is not installed"
    except Exception as error:  # the other parts go on
        status = f"failed: {one_line(error)}"
    note(file, part, {"status": status})


def run_apart(part: str, file: Path, *, seconds: float, seed: int) -> None:
    """A part in a process of its own."""
    command = [
        sys.executable,
        __file__,
        "--child",
        part,
        "--output",
        str(file),
        "--seconds",
        str(seconds),
        "--seed",
        str(seed),
    ]
    try:
        # A part ends by itself in time; what hangs on the device does not.
        ended = subprocess.run(command, check=False, timeout=seconds + 20).returncode
    except subprocess.TimeoutExpired:
        note(file, part, {"status": f"failed: not finished after {seconds + 20:.0f} s"})
        return
    if ended:
        note(file, part, {"status": f"failed: the process ended with {ended}"})


def environment() -> dict[str, Any]:
    """Card, driver, versions."""
    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    found: dict[str, Any] = {
        "python": platform.python_version(), "packages": versions, "cuda": torch.version.cuda, "cores": len(os.sched_getaffinity(0)),
    }  # fmt: skip
    try:
        found["commit"] = _line(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"])
        query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
        found["card"] = _line(query) if torch.cuda.is_available() else None
    except OSError as error:
        found["not found"] = error.filename
    if torch.cuda.is_available():
        device = torch.cuda.get_device_properties(0)
        found["gpu"] = {
            "name": device.name,
            "gib": device.total_memory / 2**30,
            "capability": f"{device.major}.{device.minor}",
        }
    return found


def _line(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    main()
