"""The preconditioners by name."""

from unweave.trace.preconditioners.adam import adam
from unweave.trace.preconditioners.base import Preconditioner
from unweave.trace.preconditioners.cg import cg
from unweave.trace.preconditioners.datainf import datainf
from unweave.trace.preconditioners.ekfac import ekfac

PRECONDITIONERS: dict[str, Preconditioner] = {"adam": adam, "datainf": datainf, "ekfac": ekfac, "cg": cg}
"""Name to preconditioner of gradients; a new one is one file and one line here. `trak` works on sketches, and `none` is nothing."""
