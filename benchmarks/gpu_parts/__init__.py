"""The parts of `benchmarks/gpu.py`, a file each: a function of a `Session` that notes each figure as soon as it is there."""
