"""The evaluation suite of attribution: every estimator and baseline, by every measure, in one table."""
