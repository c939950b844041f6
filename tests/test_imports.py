"""A package imports only what stands before it: no circle, and nothing of the jobs or the command line in the library."""

import ast
from pathlib import Path

import unweave

ORDER = (
    "data models run gradients train sketch store curvature attribution weights valuation unlearning evaluation finding report engines jobs ledger "
    "fixing experiments explorer cli"
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


def imports_at_run_time(path):
    """What a file imports when it runs, in functions too; what it imports for the names of types alone is left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    guards = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)]
    typed = {id(node) for guard in guards for node in ast.walk(guard)}
    for node in ast.walk(tree):
        if id(node) in typed:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def circles(source):
    """Modules below a folder that import each other, directly or through others: each circle sorted."""
    named = {
        ".".join(["unweave", *path.relative_to(source).with_suffix("").parts]).removesuffix(".__init__"): path
        for path in source.rglob("*.py")
    }
    # The top of the package gives public names of every package when they are first used.
    top = named.pop("unweave", None)
    assert top is None or top == source / "__init__.py"
    edges = {
        name: {
            own
            for one in imports_at_run_time(path)
            if (own := one if one in named else one.rpartition(".")[0]) in named and own != name
        }
        for name, path in named.items()
    }
    behind = {name: reached(name, edges) for name in edges}
    return sorted(
        {
            tuple(sorted(other for other in behind[name] if name in behind[other]))
            for name in edges
            if name in behind[name]
        }
    )


def reached(name, edges):
    """What a module leads to; itself where it is in a circle."""
    found, left = set(), [name]
    while left:
        new = edges[left.pop()] - found
        found |= new
        left += new
    return found


def test_no_modules_import_each_other():
    assert circles(SOURCE) == []


def test_a_circle_is_found(tmp_path):
    (tmp_path / "data").mkdir()
    files = {
        "__init__.py": "from unweave.data import rows\n",
        "data/__init__.py": "",
        "data/rows.py": "def late():\n    from unweave.data import turns\n",
        "data/turns.py": "from unweave.data.shapes import Shape\n",
        "data/shapes.py": "import unweave.data.rows\n",
        "data/files.py": "from unweave.data import rows\nif TYPE_CHECKING:\n    from unweave.data.pages import Page\n",
        "data/pages.py": "from unweave.data.files import read\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert circles(tmp_path) == [("unweave.data.rows", "unweave.data.shapes", "unweave.data.turns")]
