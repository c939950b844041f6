"""Part 3: one query against all sketches of a training set, in the GPU's memory, from the CPU's through the GPU, and by unweave's own scan on the CPU."""

from typing import Any

import torch

from gpu_parts.session import Session, SkippedError

BLOCK = 2048


def run(session: Session) -> None:
    """Seconds and GB a second, and how far the scores are from float64's."""
    sizes = session.sizes
    generator = torch.Generator(session.device).manual_seed(session.seed)
    query = torch.randn(sizes.dimension, generator=generator, device=session.device)
    block = torch.randn(BLOCK, sizes.dimension, generator=generator, device=session.device).half()
    truth = block[:256].double() @ query.double()
    session.attempt(
        "GPU memory" if session.device.type == "cuda" else "device memory", lambda: _held(session, block, query, truth)
    )
    session.attempt("CPU memory, product on the GPU", lambda: _streamed(session, block, query, truth), seconds=20)
    session.attempt("CPU memory, unweave's scan", lambda: _scan(session, block, query, truth), seconds=20)


def _rows(session: Session, block: torch.Tensor, **options: Any) -> torch.Tensor:
    """As many rows as the training set has; a few thousand different ones, over and over, since the numbers do not matter here."""
    rows = torch.empty(session.sizes.stored, session.sizes.dimension, dtype=torch.float16, **options)
    for start in range(0, len(rows), BLOCK):
        rows[start : start + BLOCK] = block[: len(rows[start : start + BLOCK])]
    return rows


def _product(rows: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
    """Block by block, each sum in float32."""
    # With a scale the scores, of some hundreds, keep within float16's range.
    half = (query / 64).half()
    return torch.cat([(rows[start : start + BLOCK] @ half).float() * 64 for start in range(0, len(rows), BLOCK)])


def _told(session: Session, seconds: list[float], scores: torch.Tensor, truth: torch.Tensor) -> dict[str, Any]:
    size = session.sizes.stored * session.sizes.dimension * 2 / 1e9
    middle = sorted(seconds)[len(seconds) // 2]
    error = (scores[: len(truth)].double().cpu() - truth.cpu()).norm() / truth.cpu().norm()
    return {
        "rows": session.sizes.stored,
        "seconds": middle,
        "gb_per_second": size / middle,
        "relative_error": float(error),
    }


def _held(session: Session, block: torch.Tensor, query: torch.Tensor, truth: torch.Tensor) -> dict[str, Any]:
    rows = _rows(session, block, device=session.device)
    scores = _product(rows, query)
    seconds = session.in_turn({"scan": lambda: _product(rows, query)}, rounds=5)["scan"]
    return _told(session, seconds, scores, truth)


def _streamed(session: Session, block: torch.Tensor, query: torch.Tensor, truth: torch.Tensor) -> dict[str, Any]:
    """Rows stay in the CPU's memory, pinned; the next block is on its way while the last is multiplied."""
    if session.device.type != "cuda":
        raise SkippedError("there is no CUDA device")
    count = min(session.sizes.stored, 16_384)
    rows = torch.empty(count, session.sizes.dimension, dtype=torch.float16, pin_memory=True)
    own = block.cpu()
    for start in range(0, count, BLOCK):
        rows[start : start + BLOCK] = own[: len(rows[start : start + BLOCK])]
    copying = torch.cuda.Stream()

    def scan() -> torch.Tensor:
        found = []
        for start in range(0, count, BLOCK):
            with torch.cuda.stream(copying):
                there = rows[start : start + BLOCK].to(session.device, non_blocking=True)
            torch.cuda.current_stream().wait_stream(copying)
            there.record_stream(torch.cuda.current_stream())
            found.append(_product(there, query))
        return torch.cat(found)

    scores = scan()
    seconds = session.in_turn({"scan": scan}, rounds=3)["scan"]
    told = _told(session, seconds, scores, truth)
    return told | {"rows": count, "gb_per_second": count * session.sizes.dimension * 2 / 1e9 / told["seconds"]}


def _scan(session: Session, block: torch.Tensor, query: torch.Tensor, truth: torch.Tensor) -> dict[str, Any]:
    try:
        import numkong  # noqa: F401

        from unweave.attribution.scan import scan
        from unweave.store.format import StoreSpec
        from unweave.store.memory import MemoryStore
    except ImportError as error:
        raise SkippedError(f"{error.name} is not installed") from error
    spec = StoreSpec(
        model="random", adapter=None, model_fingerprint="", tokenizer_fingerprint="", encoding={}, parameters="lora", parameter_names="", sketch="fold",
        dimension=session.sizes.dimension, sketch_seed=42, normalize="tensor", reduction="mean", number_format="float16",
    )  # fmt: skip
    store, own = MemoryStore(spec), block.cpu()
    for unit, start in enumerate(range(0, session.sizes.stored, BLOCK)):
        count = min(BLOCK, session.sizes.stored - start)
        ones = torch.ones(count)
        tensors = {"sketches": own[:count], "scales": ones, "lengths": ones, "norms": ones, "losses": ones}
        store.write_shard(unit, tuple(f"r{start + index}" for index in range(count)), tensors)
    queries = query.cpu()[None]
    scores = torch.cat([found.scores[0] for found in scan(store, queries)])
    seconds = session.in_turn({"scan": lambda: list(scan(store, queries))}, rounds=3)["scan"]
    return _told(session, seconds, scores, truth) | {"threads": torch.get_num_threads()}
