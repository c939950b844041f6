"""Every public name of the library has an example in its docstring that runs and prints what it says."""

import doctest
import inspect

import pytest

import unweave as uw
from tests.notebook import in_memory, write_files

JOBS = {
    "audit_models", "cache_rows", "fine_tune", "forget_rows", "load", "read_rows", "trace_answers", "trace_rows", "weigh_rows",
}  # fmt: skip
"""They take the config of a command, whose page in the docs shows them; `read_rows` is the name that `load_rows` had."""

NAMES = {name: getattr(uw, name) for name in uw.__all__ if name not in JOBS}
NAMES |= {
    f"{module}.{name}": getattr(own, name)
    for module, own in NAMES.items()
    if inspect.ismodule(own)
    for name in own.__all__
}
PUBLIC = {name: own for name, own in NAMES.items() if not inspect.ismodule(own)}


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("docs"))


def examples_of(name):
    found = doctest.DocTestFinder().find(PUBLIC[name], name, module=False)
    return [test for test in found if test.examples]


@pytest.mark.parametrize("name", PUBLIC)
def test_example(name, folder, monkeypatch, capsys):
    tests = examples_of(name)
    assert tests, f"the docstring of {name} has no example"
    monkeypatch.chdir(folder)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for test in tests:
        test.globs = {"uw": uw, **in_memory(folder)}
        assert runner.run(test).failed == 0, capsys.readouterr().out


def test_an_output_that_differs_fails():
    test = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, 0)
    assert doctest.DocTestRunner(verbose=False).run(test, out=lambda _: None).failed == 1
