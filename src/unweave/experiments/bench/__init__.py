"""Comparisons of methods on equal terms."""
