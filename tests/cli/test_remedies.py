"""Remedies name options that exist: each of some command, and those about rows of every command that reads rows."""

import ast
import re
from dataclasses import fields
from pathlib import Path

import unweave
from unweave.cli.common import Common, Overwriting, Planned
from unweave.engines.config import CacheConfig
from unweave.evaluation.config import AuditConfig
from unweave.evaluation.tofu.config import TofuConfig, TofuLogConfig
from unweave.experiments.bench.config import ForgettingBenchConfig
from unweave.experiments.case import MakeCaseConfig
from unweave.experiments.demo.config import DemoConfig
from unweave.experiments.influence.config import InfluenceAuditConfig
from unweave.jobs.config import DoctorConfig, TraceConfig
from unweave.jobs.store import DeleteRowsConfig, MergeConfig
from unweave.ledger.config import AddConfig, ListConfig, RunConfig, UndoConfig, VerifyConfig
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
OTHERS = [ListConfig, UndoConfig, VerifyConfig, TofuConfig, TofuLogConfig]
OTHERS += [ForgettingBenchConfig, DemoConfig, ReportConfig, MergeConfig, Common, Overwriting, Planned]
OF_OTHER_PROGRAMS = {"--nproc-per-node", "--upgrade", "--no-deps"}


def options(config):
    return {f"--{field.name.replace('_', '-')}" for field in fields(config)}


def named_options(path):
    """Option names in the remedies of a file; those that are put together at run time are left out."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.keyword) and node.arg == "remedy":
            parts = {
                id(part) for text in ast.walk(node.value) if isinstance(text, ast.JoinedStr) for part in text.values
            }
            for text in ast.walk(node.value):
                if id(text) in parts:
                    continue
                if isinstance(text, ast.JoinedStr):
                    whole = "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in text.values)
                elif isinstance(text, ast.Constant) and isinstance(text.value, str):
                    whole = text.value
                else:
                    continue
                for found in re.finditer(r"(?<![\w\0-])--[a-z][a-z0-9-]*(?![\w\0-])", whole):
                    yield f"{path.relative_to(SOURCE)}:{node.value.lineno}", found.group()


def test_every_option_that_a_remedy_names_is_one_of_some_command():
    known = set().union(OF_OTHER_PROGRAMS, *map(options, [*READ_ROWS, *OTHERS]))
    named = [pair for path in SOURCE.rglob("*.py") for pair in named_options(path)]
    assert len(named) > 50
    assert [pair for pair in named if pair[1] not in known] == []


def test_remedies_about_reading_rows_are_options_of_every_command_that_reads_them():
    folders, stems = ("sources", "layouts"), ("reading", "columns", "config")
    files = [path for path in (SOURCE / "data").rglob("*.py") if path.parent.name in folders or path.stem in stems]
    named = {option for path in files for _, option in named_options(path)}
    assert {"--columns", "--split", "--subset", "--on-bad-row"} <= named
    for config in READ_ROWS:
        assert named <= options(config), config.__name__


def test_errors_of_the_library_name_arguments_of_some_command():
    """On the command line each becomes its option, which an option written out by hand would not be in Python."""
    known = {field.name for config in [*READ_ROWS, *OTHERS] for field in fields(config)}
    packages = ["gradients", "engines", "sketch", "train", "models", "data", "ledger"]
    files = [path for package in packages for path in (SOURCE / package).rglob("*.py")]
    named = [
        (path.name, word)
        for path in [*files, SOURCE / "config.py", SOURCE / "ranges.py", SOURCE / "registry.py"]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.keyword) and node.arg == "where"
        for text in ast.walk(node.value)
        if isinstance(text, ast.Constant) and isinstance(text.value, str)
        for word in text.value.split(", ")
    ]
    assert {("loading.py", "device"), ("private.py", "dp_epsilon"), ("fold.py", "dimension")} <= set(named)
    assert [pair for pair in named if pair[1].startswith("--")] == []
    argument = re.compile(r"[a-z]+(_[a-z]+)+")
    assert [pair for pair in named if argument.fullmatch(pair[1]) and pair[1] not in known] == []
