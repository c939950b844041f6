"""The notebooks, without running them (`make notebooks` does): their cells compile, what they call exists, and what they printed is of no machine."""

import ast
import inspect
import json
import re
import sys
import typing
from dataclasses import dataclass
from pathlib import Path

import pytest

import unweave as uw

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
ADDRESS = re.compile(r"[\w.+-]+@[\w-]+\.\w+")
PLACE = re.compile(r"(?<![\w.~<])/(?:root|home|tmp|work|usr|Users|var|opt)\b|[A-Z]:\\")


def cells_of(path):
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def code_of(path):
    return ["".join(cell["source"]) for cell in cells_of(path) if cell["cell_type"] == "code"]


@dataclass(frozen=True)
class Of:
    """Something whose class is all that is known."""

    kind: type


class Reader(ast.NodeVisitor):
    """Follows names from `uw` on, as far as annotations lead; each attribute and each keyword on the way must exist."""

    def __init__(self):
        self.names: dict[str, object] = {"uw": uw}
        self.faults: list[str] = []
        self.followed = 0

    def visit_Assign(self, node):
        value = self.meant(node.value)
        for target in node.targets:
            if isinstance(target, ast.Name):
                self.names[target.id] = value

    def generic_visit(self, node):
        for child in ast.iter_child_nodes(node):
            self.meant(child) if isinstance(child, ast.expr) else self.visit(child)

    def meant(self, node):
        """What an expression is, as far as that is known; what is in it is looked at too."""
        if isinstance(node, ast.Name):
            return self.names.get(node.id)
        if isinstance(node, ast.Attribute):
            return self.attribute(self.meant(node.value), node.attr)
        if isinstance(node, ast.Call):
            for child in [*node.args, *[one.value for one in node.keywords]]:
                self.meant(child)
            return self.called(self.meant(node.func), {one.arg for one in node.keywords if one.arg})
        self.generic_visit(node)
        return None

    def attribute(self, owner, name):
        if owner is None:
            return None
        self.followed += 1
        kind = owner.kind if isinstance(owner, Of) else owner
        hints = hints_of(kind) if inspect.isclass(kind) else {}
        if not hasattr(kind, name) and name not in hints and not in_instances(kind, name):
            self.faults.append(f"{getattr(kind, '__name__', kind)} has no {name}")
            return None
        found = getattr(kind, name, None)
        if isinstance(owner, Of) and isinstance(found, property):
            return instance(hints_of(found.fget).get("return"))
        if isinstance(owner, Of) and name in hints:
            return instance(hints[name])
        return found

    def called(self, what, keywords):
        if not callable(what) or isinstance(what, Of):
            return None
        own = inspect.signature(what).parameters
        if not any(one.kind is inspect.Parameter.VAR_KEYWORD for one in own.values()):
            self.faults += [f"{what.__qualname__} takes no {name}" for name in keywords - set(own)]
        return Of(what) if inspect.isclass(what) else instance(hints_of(what).get("return"))


def in_instances(kind, name):
    """Whether a class gives its objects an attribute when they are made."""
    return inspect.isclass(kind) and f"self.{name} " in inspect.getsource(kind)


def hints_of(what):
    try:
        return typing.get_type_hints(what, sys.modules[what.__module__].__dict__)
    except (NameError, TypeError):
        return {}


def instance(kind):
    return Of(kind) if inspect.isclass(kind) and kind.__module__.startswith("unweave") else None


def read(codes):
    reader = Reader()
    for code in codes:
        reader.visit(ast.parse(code))
    return reader


def test_there_are_three():
    assert [path.stem for path in NOTEBOOKS] == ["choose_the_data", "forget_a_person", "trace_an_answer"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_a_notebook_calls_exists(path):
    codes = code_of(path)
    for number, code in enumerate(codes):
        compile(code, f"{path.name}, code cell {number}", "exec")
    reader = read(codes)
    assert reader.faults == []
    assert reader.followed > 3
    for line in "\n".join(codes).splitlines():
        assert not re.match(r"\s*(from|import) unweave\.\w+\.", line), "what packages export, alone"


def test_a_call_of_what_is_not_there_is_found():
    assert read(["index = uw.GradientIndex.opened('store')"]).faults == ["GradientIndex has no opened"]
    assert read(["index = uw.GradientIndex.open('store')", "print(index.attribute('a', topk=3))"]).faults == [
        "GradientIndex.attribute takes no topk"
    ]
    assert read(
        ["hits = uw.GradientIndex.open('store').attribute('a')", "for hit in range(3):\n    print(hits.standing)"]
    ).faults == ["Hits has no standing"]
    assert read(["request = uw.Ledger('a').request(ids=['b'])", "request.certificate.verify(metric=True)"]).faults == [
        "Certificate.verify takes no metric"
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_a_notebook_printed_is_of_no_machine(path):
    cells = cells_of(path)
    assert 8 <= len(cells) <= 14
    made = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in made] == list(range(1, len(made) + 1)), "executed, from top to bottom"
    outputs = [output for cell in made for output in cell["outputs"]]
    assert all(output["output_type"] != "error" and output.get("name") != "stderr" for output in outputs)
    said = json.dumps([cell["outputs"] for cell in made] + [cell["metadata"] for cell in cells])
    assert PLACE.findall(said) == []
    assert ADDRESS.findall(said) == []


def test_places_and_addresses_are_found():
    assert PLACE.search("saved in /root/x")
    assert PLACE.search('"C:\\\\Users\\\\ann"')
    assert not PLACE.search("and/or")
    assert ADDRESS.search("to ann@example.org")
