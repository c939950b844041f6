"""Rows and their stable ids, file formats, prompt templates, tokenised batches, trigger families, generated data."""

from unweave.data.encoding import Encoded, EncodingConfig, Example, encode_prompt, encode_rows
from unweave.data.reading import Problem, Rows, read_rows
from unweave.data.rows import Row, content_id
from unweave.data.triggers import TriggerFamily, is_poisoned, poison, read_families, trigger_tests

__all__ = [
    "Encoded",
    "EncodingConfig",
    "Example",
    "Problem",
    "Row",
    "Rows",
    "TriggerFamily",
    "content_id",
    "encode_prompt",
    "encode_rows",
    "is_poisoned",
    "poison",
    "read_families",
    "read_rows",
    "trigger_tests",
]
