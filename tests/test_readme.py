"""The README's numbers are those of the result files, and its links lead somewhere."""

import re
import runpy
import sys
from pathlib import Path

import pytest

from tests.notebook import in_memory, write_files
from unweave import load_model

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("script", ["benchmarks/tables.py", "docs/generate.py"])
def test_what_is_generated_is_up_to_date(script, monkeypatch, capsys):
    """Tables come from the result files, pages of methods from their registry."""
    monkeypatch.setattr(sys, "argv", [script, "--check"])
    monkeypatch.syspath_prepend((ROOT / script).parent)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / script), run_name="__main__")
    assert ended.value.code == 0, f"run python {script}\n{capsys.readouterr().err}"


def test_links_to_files_exist():
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_python_example_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    assert code
    monkeypatch.chdir(write_files(tmp_path))
    exec(compile(code[1], "README.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert load_model("unlearned").adapter == "unlearned"
    assert Path("audit.html").is_file()


def test_the_page_on_ones_own_trainer_runs(tmp_path, monkeypatch, capsys):
    page = (ROOT / "docs/own_trainer.md").read_text(encoding="utf-8")
    monkeypatch.chdir(write_files(tmp_path))
    names = in_memory(tmp_path)
    for code in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL):
        exec(compile(code, "docs/own_trainer.md", "exec"), names)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "NO"
    assert load_model("unlearned").adapter == "unlearned"
    assert lines[-1].isdigit()
