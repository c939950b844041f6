"""The README's numbers are those of the result files, and its links lead somewhere."""

import re
import runpy
import sys
from pathlib import Path

import pytest

from tests.notebook import in_memory, write_files
from unweave import load_model
from unweave.explorer.config import ServeConfig
from unweave.explorer.sample import with_something_to_open

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
NUMBER = r"\b\d\.\d\d\b"


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


@pytest.mark.real_model
@pytest.mark.timeout(1800)  # a minute or two of one core, on a machine that others use
def test_the_python_example_of_the_readme_prints_what_it_says(tmp_path, monkeypatch, capsys):
    """On the small run that comes with the package. Texts are the same everywhere; a number may differ in its last digit."""
    code, said = re.search(r"```python\n(.*?)```.*?```text\n(.*?)```", README, flags=re.DOTALL).groups()
    monkeypatch.chdir(tmp_path)
    with_something_to_open(ServeConfig())
    capsys.readouterr()
    exec(compile(code, "README.md", "exec"), {})
    printed, shown = capsys.readouterr().out.splitlines(), said.splitlines()
    assert [re.sub(NUMBER, "N", line) for line in printed] == [re.sub(NUMBER, "N", line) for line in shown]
    numbers = [[float(number) for line in lines for number in re.findall(NUMBER, line)] for lines in (printed, shown)]
    assert numbers[0] == pytest.approx(numbers[1], abs=0.011)
    assert load_model("unlearned").adapter == "unlearned"


def test_the_readme_is_short_and_has_one_table_of_six_rows():
    assert len(README.splitlines()) <= 120
    assert len(re.findall(r"^!\[", README, flags=re.MULTILINE)) == 1
    tables = re.findall(r"<!-- table:(\w+) -->\n(.*?)<!-- /table -->", README, flags=re.DOTALL)
    assert [name for name, _ in tables] == ["readme"]
    rows = [line for line in tables[0][1].splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 6
    assert all("±" in row for row in rows)


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
