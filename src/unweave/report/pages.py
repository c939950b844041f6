"""How pages are made: templates of this package, escaped, and strict about what they name."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from unweave.visible import visible


@cache
def environment() -> Any:
    """The jinja environment of the package's templates; one, so that each template is compiled once.

    Returns:
        The environment.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("unweave.report"),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _shown(value: Any) -> Any:
    """What stands in the page for a value: its hidden characters shown; figures and parts of the template are finished already."""
    from markupsafe import Markup

    return value if isinstance(value, Markup) else visible(str(value))


def before_after_table(rows: Sequence[dict[str, Any]], labels: Sequence[str]) -> list[dict[str, Any]]:
    """The main numbers of several models, as the table `before_after.html` takes them.

    Args:
        rows: From `unweave.evaluation.metrics.summary_rows`.
        labels: The models, a column each.

    Returns:
        For each row: label, a pair of value and interval a model, the paired change, and the count.
    """
    from unweave.evaluation.metrics import shown, shown_change

    return [
        {
            "label": row["label"],
            "cells": [
                (
                    shown(row["entry"][name], share=row["share"]),
                    [shown(end, share=row["share"]) for end in row["entry"][f"{name}_interval"]],
                )
                for name in labels
            ],
            "change": shown_change(row["entry"]),
            "count": row["entry"]["count"],
        }
        for row in rows
    ]
