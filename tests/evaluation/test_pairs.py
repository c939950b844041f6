"""An audit that could measure its models and not compare them is refused before anything is measured."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from unweave.cli.main import main
from unweave.errors import DataError
from unweave.evaluation.evidence import require_pairs


@dataclass
class Sizes:
    """A case of which only the numbers of its rows are asked."""

    sizes: dict[str, int]
    folder: Path = Path("case")

    def rows(self, name):
        return [None] * self.sizes.get(name, 9)


@pytest.mark.parametrize("name", ["forget", "unwanted", "test_seen", "test_clean", "test_ood"])
@pytest.mark.parametrize("count", [0, 1])
def test_a_single_row_is_no_comparison(name, count):
    require_pairs(Sizes({}))
    with pytest.raises(DataError, match=rf"{count} row\(s\) of '{name.removeprefix('test_')}'") as raised:
        require_pairs(Sizes({name: count}))
    assert "--test-rows" in raised.value.remedy


@pytest.mark.parametrize("option", ["--margin-share", "--margin-forget", "--margin-clean"])
def test_a_margin_of_nothing_is_refused_by_name(tmp_path, capsys, option):
    call = ["audit", "--case", "c", "--before", "b", "--after", "a", "--output-dir", str(tmp_path / "o"), option, "0"]
    assert main(call) == 2
    assert option in capsys.readouterr().err
