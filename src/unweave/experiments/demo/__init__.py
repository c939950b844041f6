"""The whole story in one run. It stands outside the pipeline and calls in."""
