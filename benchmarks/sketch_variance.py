"""Sketches at full size: variance against theory, and time against the published shuffles.

    python benchmarks/sketch_variance.py        benchmarks/results/sketch_variance.json

One vector of D = 2^24 coordinates, K = 65,536. Time: the median of five runs; the published procedure is 40 permutations of a reshaped vector, random
signs and a sum over neighbours, timed in torch as its authors run it (tables made beforehand). Floors are one pass over the vector: summing it, and
multiplying by a stored sign and adding up. Variance: |sketch|^2 / |v|^2 over 40 seeds, for dense, block-concentrated and column-concentrated vectors,
with the standard deviation that theory gives to fold.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from figures import spread
from unweave.files import write_json
from unweave.run.folder import environment
from unweave.sketch.fold import Fold
from unweave.sketch.hashing import offsets, tensor_key
from unweave.sketch.kernels import reference
from unweave.sketch.rapidgrad import LAMBDA, ORIGINAL_SEED, RapidGrad, prime_factors

D, K, SEEDS = 2**24, 65_536, 40


def median_seconds(work: Callable[[], object], *, runs: int = 5) -> dict[str, float]:
    """Median, minimum and maximum wall seconds after one warm-up."""
    work()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return spread(times)


def published_tables() -> tuple[torch.Tensor, list[tuple[int, torch.Tensor]]]:
    """Signs and permutations as the published code draws them."""
    rng = np.random.RandomState(ORIGINAL_SEED)
    signs = rng.randint(0, 2, (D,), dtype=np.int8)
    signs[signs == 0] = -1
    factors = prime_factors(D)
    permutations = []
    for _ in range(2 * LAMBDA):
        taken = rng.randint(len(factors) // 4, len(factors) // 2 + 1)
        rng.shuffle(factors)
        size = int(np.prod(factors[:taken], dtype=np.int64))
        permutations.append((size, torch.from_numpy(rng.permutation(size))))
    return torch.from_numpy(signs).float(), permutations


def shuffled_sketch(
    vector: torch.Tensor, signs: torch.Tensor, permutations: list[tuple[int, torch.Tensor]]
) -> torch.Tensor:
    """The published procedure on one vector."""
    for turn, (size, order) in enumerate(permutations):
        vector = vector.reshape(size, -1)[order] if turn % 2 == 0 else vector.reshape(-1, size)[:, order]
        vector = vector.reshape(-1)
    return (vector * signs).reshape(K, -1).sum(dim=1)


def vectors() -> dict[str, torch.Tensor]:
    """Dense, and two kinds of concentration."""
    generator = torch.Generator().manual_seed(0)
    dense = torch.randn(D, generator=generator)
    block, column = dense * 0.001, dense * 0.001
    block[: D // 256] = dense[: D // 256]
    column[::256] = dense[::256]
    return {"dense": dense, "block": block, "column": column}


def fold_deviation(vector: torch.Tensor) -> float:
    """The standard deviation of |sketch|^2 / |v|^2 in theory: pairs of different chunks, 2/K of their squared products."""
    squares = vector.double().square().reshape(-1, K)
    total = squares.sum()
    # Of all pairs leave out those within one chunk.
    apart = total.square() - squares.sum(dim=1).square().sum()
    return float((2 * apart / K).sqrt() / total)


def ratio_spread(sketch_of: Callable[[int, torch.Tensor], torch.Tensor], vector: torch.Tensor) -> dict[str, float]:
    """Mean and standard deviation of |sketch|^2 / |v|^2 over seeds."""
    norm = vector.double().square().sum()
    values = [float(sketch_of(seed, vector).double().square().sum() / norm) for seed in range(SEEDS)]
    return {"mean": statistics.fmean(values), "sd": statistics.stdev(values)}


def fold(seed: int, vector: torch.Tensor) -> torch.Tensor:
    """One fold sketch."""
    out = torch.zeros(1, K)
    Fold(K, seed).add(out, "v", vector[None], torch.ones(1))
    return out[0]


def fold_without_kernel(vector: torch.Tensor) -> torch.Tensor:
    """One fold sketch by the torch reference."""
    out, key = torch.zeros(1, K), tensor_key(0, "v")
    reference.fold_add(out, vector[None], torch.ones(1), key, offsets(key, D // K, K))
    return out[0]


def main() -> None:
    """Measure, and write the result file."""
    torch.set_num_threads(2)
    data = vectors()
    vector = data["dense"]
    signs, permutations = published_tables()
    replayed = RapidGrad.for_sizes({"v": D}, dimension=K)

    def replay_once() -> torch.Tensor:
        out = torch.zeros(1, K)
        replayed.add(out, "v", vector[None], torch.ones(1))
        return out[0]

    difference = float((replay_once() - shuffled_sketch(vector, signs, permutations)).norm() / replay_once().norm())
    seconds = {
        "floor: v * s, summed over chunks": median_seconds(lambda: (vector * signs).reshape(-1, K).sum(dim=0)),
        "floor: sum of all entries": median_seconds(lambda: vector.sum()),
        "fold": median_seconds(lambda: fold(0, vector)),
        "fold, torch reference": median_seconds(lambda: fold_without_kernel(vector)),
        "rapidgrad, exact replay": median_seconds(replay_once),
        "rapidgrad, published shuffles": median_seconds(lambda: shuffled_sketch(vector, signs, permutations)),
    }
    ratios = {name: {"fold": ratio_spread(fold, v), "fold, theory sd": fold_deviation(v)} for name, v in data.items()}
    slow = seconds["rapidgrad, published shuffles"]["median"]
    result = {
        "command": "python benchmarks/sketch_variance.py",
        "environment": environment(),
        "D": D,
        "K": K,
        "seeds": SEEDS,
        "replay_relative_difference": difference,
        "seconds": seconds,
        "times_faster_than_published": {name: slow / value["median"] for name, value in seconds.items()},
        "norm_ratio": ratios,
    }
    path = Path(__file__).parent / "results" / "sketch_variance.json"
    write_json(path, result)
    for name, value in seconds.items():
        print(f"{name:<36} {value['median'] * 1000:9.1f} ms   {slow / value['median']:6.1f} x")
    for name, value in ratios.items():
        print(f"{name:<8} sd of |s|^2/|v|^2: {value['fold']['sd']:.5f}, theory {value['fold, theory sd']:.5f}")
    print(f"replay differs from the shuffles by {difference:.1e}; written: {path}")


if __name__ == "__main__":
    main()
