"""A package imports only what stands before it: no circle, and nothing of the jobs or the command line in the library."""

import ast
from pathlib import Path

import unweave

ORDER = (
    "data models run gradients train sketch store curvature attribution weights valuation unlearning evaluation report engines jobs ledger experiments cli"
).split()
"""The packages, each before those that may import it. Modules that are in none of them, and `stats`, stand before all."""

SOURCE = Path(unweave.__file__).parent
MODULES = sorted(SOURCE.rglob("*.py"))


def rank(module):
    parts = module.split(".")
    return ORDER.index(parts[1]) + 1 if len(parts) > 1 and parts[1] in ORDER else 0


def imported(path):
    """The modules of unweave that a file imports, wherever in it, with the lines."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names if alias.name.split(".")[0] == "unweave")
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: a relative import"
            if node.module == "unweave":
                yield from ((f"unweave.{alias.name}", node.lineno) for alias in node.names)
            elif node.module and node.module.startswith("unweave."):
                yield node.module, node.lineno


def name_of(path):
    return ".".join(["unweave", *path.relative_to(SOURCE).with_suffix("").parts]).removesuffix(".__init__")


def upward(path):
    own = rank(name_of(path))
    return [f"line {line} imports {module}" for module, line in imported(path) if rank(module) > own]


def test_every_package_has_its_place():
    packages = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    assert packages == {*ORDER, "stats"}


def test_no_import_goes_upward():
    # The top of the package exports public names of every package: they are imported when first used.
    found = {name_of(path): upward(path) for path in MODULES if path != SOURCE / "__init__.py"}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_an_upward_import_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.test_imports.SOURCE", tmp_path)
    path = tmp_path / "data" / "rows.py"
    path.parent.mkdir()
    path.write_text("def late():\n    from unweave.jobs.trace import trace_answers\n    from unweave import ledger\n")
    assert upward(path) == ["line 2 imports unweave.jobs.trace", "line 3 imports unweave.ledger"]
