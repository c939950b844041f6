"""Part 1: the Triton kernels against the plain torch reference, and the tests that need a CUDA device."""

import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import torch

from gpu_parts.session import Session, SkippedError
from unweave.sketch.hashing import offsets, signs, tensor_key
from unweave.sketch.kernels import reference
from unweave.sketch.kernels.dispatch import kernel

SHAPES = ((3, 5000, 512), (1, 2**21 + 77, 65_536), (64, 4096, 128), (8, 65_536, 65_536))
"""Examples, coordinates, bins."""
HEAD = (1, 128_256 * 1024, 65_536)
"""More blocks of coordinates than the second axis of a grid may have."""


def run(session: Session) -> None:
    """Errors relative to the reference's norm, and speed in GB of gradients a second."""
    large = session.device.type == "cuda"
    shapes = (*SHAPES, HEAD) if large else SHAPES[:1]
    for dtype in (torch.float32, torch.bfloat16):
        for shape in shapes:
            name = f"{'x'.join(map(str, shape))} {str(dtype).removeprefix('torch.')}"
            session.attempt(f"fold {name}", lambda shape=shape, dtype=dtype: _fold(session, shape, dtype))
            session.attempt(f"table {name}", lambda shape=shape, dtype=dtype: _table(session, shape, dtype))
    session.attempt("hash", lambda: _hash(session))
    session.attempt("CUDA tests", lambda: _tests(session), seconds=30)


def _piece(session: Session, shape: tuple[int, int, int], dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator(session.device).manual_seed(session.seed)
    piece = torch.randn(shape[:2], generator=generator, device=session.device).to(dtype)
    return piece, torch.rand(shape[0], generator=generator, device=session.device)


def _compared(session: Session, piece: torch.Tensor, size: int, fused: Any, plain: Any) -> dict[str, Any]:
    def made(add: Any) -> torch.Tensor:
        out = torch.zeros(len(piece), size, device=session.device)
        add(out)
        return out

    own, again, truth = made(fused), made(fused), made(plain)
    out = torch.zeros_like(truth)
    seconds = session.in_turn({"fused": lambda: fused(out), "reference": lambda: plain(out)}, rounds=5)
    volume = piece.numel() * piece.element_size() / 1e9
    return {
        "relative_error": float((own - truth).norm() / truth.norm()),
        "same_bits_twice": bool(torch.equal(own, again)),
        **{f"{name}_gb_per_second": volume / median(values) for name, values in seconds.items()},
    }


def _fold(session: Session, shape: tuple[int, int, int], dtype: torch.dtype) -> dict[str, Any]:
    piece, scale = _piece(session, shape, dtype)
    key = tensor_key(session.seed, "fold")
    shifts = offsets(key, -(-shape[1] // shape[2]), shape[2], device=session.device)
    fused = kernel("fold_add", session.device)
    return _compared(
        session, piece, shape[2],
        lambda out: fused(out, piece, scale, key, shifts), lambda out: reference.fold_add(out, piece, scale, key, shifts),
    )  # fmt: skip


def _table(session: Session, shape: tuple[int, int, int], dtype: torch.dtype) -> dict[str, Any]:
    piece, scale = _piece(session, shape, dtype)
    generator = torch.Generator(session.device).manual_seed(session.seed + 1)
    options = {"generator": generator, "device": session.device}
    bins = torch.randint(0, shape[2], (shape[1],), dtype=torch.int32, **options)
    words = torch.randint(-(2**31), 2**31 - 1, (-(-shape[1] // 32),), dtype=torch.int32, **options)
    fused = kernel("table_add", session.device)
    return _compared(
        session, piece, shape[2],
        lambda out: fused(out, piece, scale, bins, words), lambda out: reference.table_add(out, piece, scale, bins, words),
    )  # fmt: skip


def _hash(session: Session) -> dict[str, Any]:
    """The bits must be the CPU's."""
    names = [f"layer{index}" for index in range(64)]
    keys = [tensor_key(session.seed, name) for name in names]
    same = [
        torch.equal(signs(key, 0, 10_007, device=session.device).cpu(), signs(key, 0, 10_007))
        and torch.equal(offsets(key, 999, 65_536, device=session.device).cpu(), offsets(key, 999, 65_536))
        for key in keys
    ]
    return {"keys": len(keys), "same_bits": sum(same), "keys_above_2^31": sum(key >> 31 for key in keys)}


def _tests(session: Session) -> dict[str, Any]:
    """Tests marked `cuda`, in a process of their own and without the suite's set-up, which needs more than is here."""
    if session.device.type != "cuda":
        raise SkippedError("there is no CUDA device")
    root = Path(__file__).parents[2]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--noconftest",
        "-o",
        "addopts=",
        "-m",
        "cuda",
    ]
    done = subprocess.run(
        [*command, *sorted({str(path) for path in (root / "tests").rglob("test_*.py") if "mark.cuda" in path.read_text()})],
        cwd=root, capture_output=True, text=True, check=False, timeout=max(20.0, min(90.0, session.left)),
        env={**os.environ, "PYTHONPATH": f"{root / 'src'}:{root}"},
    )  # fmt: skip
    return {"exit": done.returncode, "last": done.stdout.strip().splitlines()[-12:], "errors": done.stderr[-600:]}
