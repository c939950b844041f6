"""Pairs of `text` and `labels`, as some unlearning benchmarks have them; numbers and lists are no answer."""

from unweave.data.layouts.base import Layout, pair_reader

LABELS = Layout(
    name="text/labels",
    required=("text", "labels"),
    read=pair_reader("text", "labels"),
    prompt="`text`",
    learned="`labels`, where they are text",
    fits=lambda record: isinstance(record.get("labels"), str),
)
