"""Each promise of SECURITY.md names a test that keeps it, and these tests exist."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def promises():
    """The rows of the table of promises: what is promised, and what keeps it."""
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    lines = text.split("## What holds")[1].split("\n## ")[0].splitlines()
    return [
        line.strip("| ").split(" | ") for line in lines if line.startswith("| ") and not line.startswith("| promise")
    ]


def names_in(path):
    """The names of a file's tests, those in classes too."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def test_every_promise_names_a_test_that_exists():
    found = promises()
    assert len(found) > 20
    for promise, kept_by in found:
        named = TEST.findall(kept_by)
        assert named, promise
        for path, name in named:
            assert (ROOT / path).is_file(), f"{promise}: {path}"
            assert name in names_in(path), f"{promise}: {path} has no {name}"


def test_what_does_not_hold_is_said():
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    for word in (
        "## Who is trusted with what",
        "## What does not hold",
        "## How to report",
        "hash chain",
        "snapshots",
        "backups",
    ):
        assert word in text
