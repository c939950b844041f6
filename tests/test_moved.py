"""Modules under their old names: the same things, with a notice."""

import importlib.util
import sys
import warnings

import pytest

from unweave.moved import MOVED, new_names


def old(name):
    sys.modules.pop(name, None)
    return importlib.import_module(name)


@pytest.mark.parametrize(
    ("module", "name", "new"),
    [
        ("unweave.forget.stage", "forget_rows", "unweave.jobs.forget"),
        ("unweave.forget.methods.rapidun", "RapidUnConfig", "unweave.unlearning.methods.rapidun"),
        ("unweave.trace.config", "CacheConfig", "unweave.engines.config"),
        ("unweave.audit.ledger.states", "CARRIED_OUT", "unweave.ledger.states"),
    ],
)
def test_an_old_name_gives_what_the_new_one_gives(module, name, new):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = old(module)
    assert any(f"{module} is now" in str(one.message) and new in str(one.message) for one in said)
    assert getattr(found, name) is getattr(importlib.import_module(new), name)
    with pytest.raises(AttributeError, match=module):
        _ = found.nothing_of_the_kind


def test_what_has_not_moved_and_what_never_was():
    assert new_names("unweave.data.rows") == new_names("json.decoder") == ()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Run once more, beside the module that is there: a reload would give every later test a second class of rows.
        spec = importlib.util.find_spec("unweave.data.rows")
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("unweave.forget.never_was")


def test_every_new_name_is_there_and_no_old_one():
    for module, new in MOVED.items():
        assert all(importlib.util.find_spec(f"unweave.{name}") for name in new), module
