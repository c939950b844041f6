"""Measures of memory and forgetting: small pure functions, each with its source."""
