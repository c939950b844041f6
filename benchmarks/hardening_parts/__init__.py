"""The parts of `benchmarks/hardening.py`, a file each."""
