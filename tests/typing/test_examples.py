"""pyright agrees with the file of examples, and knows the type of every public name."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import unweave as uw

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
UNKNOWN = "Any", "Unknown", "object"


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What pyright says of the examples, and of a file that asks for the type of each public name."""
    asked = tmp_path_factory.mktemp("typing") / "asked.py"
    asked.write_text("\n".join(["import unweave as uw", *(f"reveal_type(uw.{name})" for name in uw.__all__), ""]))
    command = [sys.executable, "-m", "pyright", "--outputjson", str(ROOT / "tests/typing/examples.py"), str(asked)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return json.loads(run.stdout)["generalDiagnostics"]


def test_the_examples_have_the_types_that_they_say(said):
    assert [one for one in said if one["severity"] != "information"] == []


def test_every_public_name_has_a_type(said):
    types = [one["message"].partition(" is ")[2].strip('"') for one in said if one["severity"] == "information"]
    assert len(types) == len(uw.__all__)
    assert [(name, own) for name, own in zip(uw.__all__, types, strict=True) if own in UNKNOWN] == []
