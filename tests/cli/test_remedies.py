"""Messages name arguments that exist: each of some command, and those about rows of every command that reads rows."""

import ast
import re
from dataclasses import fields
from pathlib import Path

import unweave
from unweave.cli.common import Common, Overwriting, Planned
from unweave.engines.config import CacheConfig
from unweave.evaluation.config import AuditConfig
from unweave.evaluation.tofu.config import TofuConfig, TofuLogConfig
from unweave.experiments.attribution.config import AttributionBenchConfig
from unweave.experiments.bench.config import ForgettingBenchConfig
from unweave.experiments.case import MakeCaseConfig
from unweave.experiments.demo.config import DemoConfig
from unweave.experiments.influence.config import InfluenceAuditConfig
from unweave.explorer.config import ServeConfig
from unweave.fixing.config import FixConfig
from unweave.jobs.config import DoctorConfig, TraceConfig
from unweave.jobs.store import DeleteRowsConfig, MergeConfig
from unweave.ledger.config import (
    AddConfig,
    ExportConfig,
    KeyConfig,
    ListConfig,
    RunConfig,
    SignConfig,
    UndoConfig,
    VerifyConfig,
)
from unweave.report.report import ReportConfig
from unweave.train.config import TrainConfig
from unweave.unlearning.config import config_of
from unweave.unlearning.methods import METHODS, get_method
from unweave.valuation.config import CurveConfig, FitConfig, PredictConfig, ScoreConfig, SelectConfig, ValueReportConfig
from unweave.weights.config import WeighConfig

SOURCE = Path(unweave.__file__).parent
READ_ROWS = [
    TrainConfig, CacheConfig, DoctorConfig, TraceConfig, WeighConfig, ScoreConfig, FitConfig, PredictConfig, SelectConfig, CurveConfig, ValueReportConfig,
    AuditConfig, InfluenceAuditConfig, AddConfig, RunConfig, DeleteRowsConfig, MakeCaseConfig, *(config_of(get_method(name)) for name in METHODS),
]  # fmt: skip
"""The options of every command that reads rows that unweave did not write itself."""
OTHERS = [
    ExportConfig,
    FixConfig,
    KeyConfig,
    ListConfig,
    ServeConfig,
    SignConfig,
    UndoConfig,
    VerifyConfig,
    TofuConfig,
    TofuLogConfig,
]
OTHERS += [
    AttributionBenchConfig,
    ForgettingBenchConfig,
    DemoConfig,
    ReportConfig,
    MergeConfig,
    Common,
    Overwriting,
    Planned,
]
ARGUMENT = re.compile(r"`([a-z][a-z0-9_.]*)`")
OPTION = re.compile(r"(?<![\w-])--[a-z\0]")
COMMAND_LINE = re.compile(r"`(unweave|pip|torchrun) [^`]*`")
"""A command line within a sentence, which is one for Python's users too."""

WRITTEN_OUT = {
    "arguments.py": "makes options of arguments, for the command line",
    "errors.py": "install lines",
    "models/adapters.py": "an install line",
    "models/packaged.py": "an install line",
    "jobs/listing.py": "command lines, as the list of names shows them",
    "experiments/demo/plan.py": "the command lines that the demo's page shows",
    "experiments/demo/stages.py": "the command lines that the demo's page shows",
    "fixing/job.py": "the command line that goes on with edited decisions",
    "ledger/certificate.py": "the command lines by which a certificate is verified and replayed",
}
"""Files that make command lines: the only ones where an option is written out, and why."""


def texts(path):
    """The strings of a file that are no docstrings, each with its line; what an f-string fills in is a NUL."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {id(part) for text in ast.walk(tree) if isinstance(text, ast.JoinedStr) for part in text.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            inside.add(id(node.value))
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values)
            yield node.lineno, "".join(parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.lineno, node.value


def options_written_out(source):
    """The strings below a folder, but for the command line's own, that name an option as it is typed."""
    files = [path for path in source.rglob("*.py") if path.relative_to(source).parts[0] != "cli"]
    return [
        (path.relative_to(source).as_posix(), line, text)
        for path in files
        for line, text in texts(path)
        if OPTION.search(COMMAND_LINE.sub("", text)) or text == "--"
    ]


def test_what_the_library_says_names_arguments_and_no_options():
    """Options are what the command line makes of arguments: one that is written out would be none in Python."""
    found = options_written_out(SOURCE)
    assert [one for one in found if one[0] not in WRITTEN_OUT and not one[0].startswith("report/")] == []
    assert set(WRITTEN_OUT) - {one[0] for one in found} == set(), "no file is left out that need not be"


def test_an_option_that_is_written_out_is_found(tmp_path):
    lines = [
        '"""Docstrings may: `--help`."""',
        'raise ConfigError("No.", where="--rows", remedy=f"give --{kind}-rows, or `unweave run --help`")',
        'say("use --dtype float32" " and more")',
        'fine = "see `unweave train --snapshots 0.06`, a well--known line --- and `rows`"',
    ]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "new.py").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "cli").mkdir()
    (tmp_path / "cli" / "own.py").write_text('say("use --json")', encoding="utf-8")
    assert sorted(line for _, line, _ in options_written_out(tmp_path)) == [2, 2, 3]


def options(config):
    return {field.name for field in fields(config)}


def named_arguments(path, *keywords):
    """The arguments that errors of a file name, each with its line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.keyword) and node.arg in keywords:
            for text in ast.walk(node.value):
                if isinstance(text, ast.Constant) and isinstance(text.value, str):
                    for found in ARGUMENT.finditer(text.value):
                        yield f"{path.relative_to(SOURCE)}:{node.value.lineno}", found[1]


OF_PYTHON_ALONE = {
    "args", "args.gradient_accumulation_steps", "at", "base", "candidates", "in_place", "losses", "n", "options", "processes", "rows", "seeds",
    "signals", "stable", "table", "trained", "trigger_families", "weights.retain", "without",
}  # fmt: skip
"""Arguments of the library, and a key of a file, that no command has as an option by this name."""


def test_every_argument_that_an_error_names_is_one():
    known = set().union(OF_PYTHON_ALONE, *map(options, [*READ_ROWS, *OTHERS]))
    named = [pair for path in SOURCE.rglob("*.py") for pair in named_arguments(path, "where", "remedy")]
    assert len(named) > 200
    assert [pair for pair in named if pair[1] not in known] == []


def test_remedies_about_reading_rows_are_options_of_every_command_that_reads_them():
    folders, stems = ("sources", "layouts"), ("reading", "columns", "config")
    files = [path for path in (SOURCE / "data").rglob("*.py") if path.parent.name in folders or path.stem in stems]
    named = {argument for path in files for _, argument in named_arguments(path, "remedy")}
    assert {"columns", "split", "subset", "on_bad_row"} <= named
    for config in READ_ROWS:
        assert named <= options(config), config.__name__


def test_the_place_of_an_error_is_an_argument_in_backticks_or_a_file():
    """A file may be called like an argument, so a name alone is never one."""
    bare = re.compile(r"[a-z][a-z0-9_.]*(, [a-z][a-z0-9_.]*)*")
    named = [
        (path.relative_to(SOURCE).as_posix(), node.value.value)
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.keyword)
        and node.arg == "where"
        and isinstance(node.value, ast.Constant)
        and node.value.value
    ]
    assert ("models/loading.py", "`device`") in named
    assert [pair for pair in named if bare.fullmatch(pair[1])] == [("report/plots.py", "post")]
