"""What a release says of itself is the same everywhere, and continuous integration runs what everybody runs."""

import re
import tomllib
from pathlib import Path

import yaml

import unweave

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_version_is_the_same_in_all_files():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert PROJECT["version"] == unweave.__version__ == citation["version"]
    assert f"## {PROJECT['version']} " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_workflow_runs_what_everybody_runs_on_every_python():
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))["jobs"]
    supported = [one.rpartition(" ")[2] for one in PROJECT["classifiers"] if re.search(r"Python :: 3\.\d+$", one)]
    assert jobs["test"]["strategy"]["matrix"]["python"] == supported
    assert jobs["test"]["steps"][-1] == {"run": ".ci/run"}
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    for run in (step["run"] for job in jobs.values() for step in job["steps"] if "run" in step):
        assert run == ".ci/run" or run.removeprefix("make ") in targets


def test_forms_of_issues_are_read_as_forms():
    for name in ("bug", "idea"):
        form = yaml.safe_load((ROOT / f".github/ISSUE_TEMPLATE/{name}.yml").read_text(encoding="utf-8"))
        assert {"name", "description", "body"} <= set(form)
        assert all(part["type"] in ("markdown", "textarea", "input") for part in form["body"])


def test_every_extra_that_an_error_names_exists():
    named = set()
    for path in (ROOT / "src").rglob("*.py"):
        named |= set(re.findall(r"unweave\[([a-z]+)\]", path.read_text(encoding="utf-8")))
    assert named <= set(PROJECT["optional-dependencies"])
