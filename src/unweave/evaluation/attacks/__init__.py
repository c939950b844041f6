"""Attacks on a model that claims to have forgotten: one file each."""
