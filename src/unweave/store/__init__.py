"""The gradient store on disk: write, resume, scan, check."""

from unweave.store.format import StoreSpec
from unweave.store.store import Block, GradientStore, decode_numbers

__all__ = ["Block", "GradientStore", "StoreSpec", "decode_numbers"]
