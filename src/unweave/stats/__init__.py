"""Intervals, paired comparisons and ranking measures."""
