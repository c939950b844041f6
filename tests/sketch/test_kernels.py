"""The fused kernels against the plain torch reference: same bins, same signs, same sums."""

import os
import subprocess
import sys

import pytest
import torch

from unweave.sketch.hashing import offsets
from unweave.sketch.kernels import cpu, reference
from unweave.sketch.kernels.compiled import _say_once, compiled

KEY = 0x9ABCDEF1


def random(shape, dtype, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("rows", "width", "size"), [(1, 64, 64), (3, 1000, 96), (5, 31, 64), (1, 2**21 + 77, 4096)])
def test_fold_equals_the_reference(dtype, rows, width, size):
    piece, scale = random((rows, width), dtype), random(rows, torch.float32, seed=1)
    shifts = offsets(KEY, -(-width // size), size)
    fused, plain = random((rows, size), torch.float32, seed=2), random((rows, size), torch.float32, seed=2)
    cpu.fold_add(fused, piece, scale, KEY, shifts)
    reference.fold_add(plain, piece, scale, KEY, shifts)
    assert plain.abs().max() > 1
    torch.testing.assert_close(fused, plain, rtol=1e-4, atol=1e-4)
    many = cpu.fold_many(piece, KEY, shifts, size)
    torch.testing.assert_close(many, reference.fold_many(piece, KEY, shifts, size), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("rows", "width"), [(3, 1000), (1, 2**21 + 77)])
@pytest.mark.parametrize("bin_type", [torch.uint16, torch.int32])
def test_tables_equal_the_reference(dtype, rows, width, bin_type):
    piece, scale = random((rows, width), dtype), random(rows, torch.float32, seed=1)
    generator = torch.Generator().manual_seed(3)
    bins = torch.randint(0, 512, (width,), generator=generator).to(bin_type)
    plus = torch.randint(-(2**31), 2**31, (-(-width // 32),), generator=generator).to(torch.int32)
    fused, plain = torch.zeros(rows, 512), torch.zeros(rows, 512)
    cpu.table_add(fused, piece, scale, bins, plus)
    reference.table_add(plain, piece, scale, bins.to(torch.int32), plus)
    torch.testing.assert_close(fused, plain, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_outer_products_norms_and_sums_equal_the_reference(dtype):
    piece, scale = random((3, 12 * 20), dtype), random(3, torch.float32, seed=1)
    generator = torch.Generator().manual_seed(3)
    bins = [torch.randint(0, 64, (size,), generator=generator) for size in (12, 20)]
    flips = [torch.randint(0, 2, (size,), generator=generator) * 2.0 - 1 for size in (12, 20)]
    fused, plain = torch.zeros(3, 64), torch.zeros(3, 64)
    cpu.outer_add(fused, piece, scale, tuple(bins), tuple(flips))
    reference.outer_add(plain, piece, scale, tuple(bins), tuple(flips))
    torch.testing.assert_close(fused, plain, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(cpu.row_squares(piece), reference.row_squares(piece), rtol=1e-5, atol=1e-5)
    first, second = torch.ones(3, 300), torch.ones(3, 300)
    cpu.scaled_add(first, 40, piece, scale)
    reference.scaled_add(second, 40, piece, scale)
    torch.testing.assert_close(first, second)


def test_threads_do_not_change_a_bit():
    piece, scale = random((1, 2**21 + 77), torch.float32), torch.ones(1)
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        out = torch.zeros(1, 4096)
        cpu.fold_add(out, piece, scale, KEY, offsets(KEY, -(-piece.shape[1] // 4096), 4096))
        results.append(out)
    assert torch.equal(*results)


@pytest.mark.parametrize("threads", [1, 3])
def test_torch_keeps_its_threads_when_numba_starts(threads):
    """Numba's first launch would give torch the two threads that are numba's own here; what the environment gives torch depends on the machine."""
    program = f"""
import torch
from unweave.sketch.kernels import cpu
torch.set_num_threads({threads})
before = torch.get_num_threads()
cpu.scaled_add(torch.zeros(1, 300), 0, torch.ones(1, 300), torch.ones(1))
print(before, torch.get_num_threads())
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "NUMBA_NUM_THREADS": "2"},
    )
    assert done.stdout.split() == [str(threads)] * 2


def test_kernels_need_no_folder_to_be_kept_in(monkeypatch, capsys):
    """As for a user who may write neither the package's folder nor a home: numba finds no place for its cache."""
    monkeypatch.setattr("numba.core.caching.CacheImpl._locator_classes", [])
    _say_once.cache_clear()
    double = compiled(nogil=True)(lambda number: 2 * number)
    compiled(nogil=True)(lambda number: number)
    assert double(3) == 6
    assert capsys.readouterr().err.count("NUMBA_CACHE_DIR") == 1


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_triton_equals_the_reference(dtype):
    from unweave.sketch.kernels import cuda

    piece, scale = random((3, 5000), dtype).cuda(), random(3, torch.float32, seed=1).cuda()
    shifts = offsets(KEY, -(-5000 // 512), 512)
    fused, plain = torch.zeros(3, 512, device="cuda"), torch.zeros(3, 512, device="cuda")
    cuda.fold_add(fused, piece, scale, KEY, shifts)
    reference.fold_add(plain, piece, scale, KEY, shifts)
    torch.testing.assert_close(fused, plain, rtol=1e-4, atol=1e-4)
    generator = torch.Generator().manual_seed(3)
    bins = torch.randint(0, 512, (5000,), generator=generator).to(torch.int32).cuda()
    plus = torch.randint(-(2**31), 2**31, (157,), generator=generator).to(torch.int32).cuda()
    fused.zero_(), plain.zero_()
    cuda.table_add(fused, piece, scale, bins, plus)
    reference.table_add(plain, piece, scale, bins, plus)
    torch.testing.assert_close(fused, plain, rtol=1e-4, atol=1e-3)
