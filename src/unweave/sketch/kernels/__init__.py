"""Fused kernels of the sketches: numba on the CPU, Triton on CUDA, and a plain torch reference that both must equal."""
