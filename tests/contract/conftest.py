"""A tiny model with its rows, for parts that a test brings itself."""

import pytest

from tests.folders import ROWS, save_model, write_rows
from unweave.cli.main import main


class Place:
    """A folder with a model and rows, and the command line in it."""

    def __init__(self, folder):
        self.folder = folder
        self.model = save_model(folder / "base")
        self.rows = write_rows(folder / "rows.jsonl", [{"id": f"r{i}", **row} for i, row in enumerate(ROWS)])

    def run(self, command, **options):
        """A command whose options are arguments."""
        words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", *as_words(value))]
        return main([*command.split(), *words])

    def replay(self, command, **options):
        """The same command from a YAML file."""
        path = self.folder / f"{command.replace(' ', '-')}.yaml"
        lines = [f"{name}: {value}" for name, value in {"command": command, **options}.items()]
        path.write_text("\n".join(lines) + "\n")
        return main([*command.split(), "--config", str(path)])


def as_words(value):
    return [str(one) for one in value] if isinstance(value, list | tuple) else [str(value)]


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.fixture
def helped(capsys):
    """What `--help` of a command says."""

    def text(command):
        with pytest.raises(SystemExit):
            main([*command.split(), "--help"])
        return " ".join(capsys.readouterr().out.split())

    return text
