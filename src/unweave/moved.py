"""Modules under the names that they had before: an import of one works for one release, with a notice that has the new name.

A name of an old module is looked up in the modules that its content went to, in their order.
"""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
import warnings
from collections.abc import Sequence
from typing import Any

MOVED: dict[str, tuple[str, ...]] = {
    "audit": ("evaluation",),
    "audit.comparisons": ("stats.comparisons",),
    "audit.estimates": ("stats.estimates",),
    "audit.influence": ("experiments.influence",),
    "audit.ledger": ("ledger",),
    "audit.retrieval": ("stats.ranking",),
    "audit.shares": ("stats.shares",),
    "audit.stage": ("jobs.audit",),
    "audit.statistics": ("stats.intervals",),
    "bench": ("experiments.bench",),
    "data.generated": ("experiments.generated", "data.case", "evaluation.measures.text"),
    "demo": ("experiments.demo",),
    "engine": ("engines",),
    "forget": ("unlearning",),
    "forget.solver": ("curvature.solver",),
    "forget.stage": ("jobs.forget",),
    "identity": ("run.identity",),
    "inputs": ("run.inputs",),
    "ledger.draws": ("ledger.sampling",),
    "runs": ("run.folder",),
    "store.care": ("store.maintenance",),
    "store.numbers": ("sketch.numbers",),
    "trace": ("attribution",),
    "trace.cache": ("attribution.caching", "attribution.adding"),
    "trace.config": ("attribution.config", "engines.config", "jobs.config", "sketch.config"),
    "trace.curvature": ("attribution.preconditioning",),
    "trace.doctor": ("jobs.doctor",),
    "trace.plan": ("jobs.cache_plan",),
    "trace.preconditioners": ("curvature",),
    "trace.rapidin_format": ("attribution.formats.rapidin",),
    "trace.sketching": ("sketch.sketcher",),
    "trace.stage": ("attribution.tracing", "attribution.result", "jobs.trace"),
    "trace.tda_format": ("attribution.formats.tda",),
    "train.rows": ("data.training_rows",),
    "unlearning.watch": ("unlearning.stopping",),
    "value": ("valuation",),
    "value.curve": ("jobs.value_curve",),
    "value.fit": ("jobs.value_fit", "stats.ranking", "valuation.fitting"),
    "value.predict": ("jobs.value_predict",),
    "value.select": ("jobs.value_select",),
    "value.stage": ("jobs.value_score", "valuation.values"),
    "weigh": ("weights", "weights.config", "weights.mapping", "jobs.weigh"),
    "weigh.rapidun": ("weights.mapping",),
    "weigh.stage": ("jobs.weigh",),
}
"""Old module to the modules that its content went to, below `unweave`; what stands below an old package is below the first of the new ones."""

ROOT = "unweave."


def new_names(name: str) -> tuple[str, ...]:
    """Where the content of an old module is.

    Args:
        name: Its old name.

    Returns:
        Names of modules; none where it has not moved.
    """
    own = name.removeprefix(ROOT)
    if not name.startswith(ROOT):
        return ()
    parts = own.split(".")
    for length in range(len(parts), 0, -1):
        if moved := MOVED.get(".".join(parts[:length])):
            rest = "".join(f".{part}" for part in parts[length:])
            return tuple(f"{ROOT}{module}{rest}" for module in (moved[:1] if rest else moved))
    return ()


class OldModule(types.ModuleType):
    """A module under its old name."""

    def __getattr__(self, name: str) -> Any:
        """The content of the new modules, each in turn.

        Args:
            name: What is looked up.

        Returns:
            The same as in the new module.

        Raises:
            AttributeError: When none of them has it.
        """
        if not name.startswith("__"):
            for module in new_names(self.__name__):
                found = importlib.import_module(module)
                if hasattr(found, name):
                    return getattr(found, name)
        raise AttributeError(f"module '{self.__name__}' has no attribute '{name}'")


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002  # the signature is importlib's
        target: types.ModuleType | None = None,  # noqa: ARG002  # the signature is importlib's
    ) -> importlib.machinery.ModuleSpec | None:
        moved = new_names(fullname)
        if not moved or importlib.util.find_spec(moved[0]) is None:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return OldModule(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        new = ", ".join(new_names(module.__name__))
        warnings.warn(
            f"{module.__name__} is now {new}; the old name goes with the next release", FutureWarning, stacklevel=2
        )


def install() -> None:
    """Let old names be found; those that exist come first."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
