"""The examples of docs/auditing.md on rows alone run as they stand."""

import re
from pathlib import Path

import unweave as uw
from tests.notebook import in_memory, write_files

PAGE = (Path(__file__).parents[2] / "docs" / "auditing.md").read_text()


def test_the_examples_of_the_page(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(write_files(tmp_path))
    own = in_memory(tmp_path)
    names = {"uw": uw, "unlearned": own["model"], "tuned": own["model"], "retrained": own["model"]}
    names |= {"rows": own["forget"], "held_out": own["like"], "others": own["retain"]}
    examples = [text for text in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "uw.evaluate(" in text]
    assert len(examples) == 2
    for text in examples:
        exec(text, names)
    assert (tmp_path / "audit.html").is_file()
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed] == ["own", "paraphrase", "first_words"]
