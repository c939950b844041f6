"""Options of the audit of influence, readable without torch."""

from collections import ChainMap
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from unweave.attribution.registry import PRECONDITIONERS, SCORERS
from unweave.data.config import ReadingConfig
from unweave.registry import OneOf
from unweave.weights.config import WeightMethod

Part = Literal["sketch", "gauss-newton", "retraining", "controls"]


@dataclass(frozen=True, kw_only=True)
class InfluenceAuditConfig(ReadingConfig):
    """Do influence scores mean anything here?

    Attributes:
        store: The gradient store whose scores are judged.
        output_dir: Where `influence.json` goes; a rerun of the same folder goes on.
        parts: `sketch`: sketched scores against exact inner products of the same gradients. `gauss-newton`: against scores that take curvature
            into account. `retraining`: against models retrained without some rows (leave-k-out; the linear datamodelling score, LDS). `controls`:
            does unlearning with influence weights beat uniform and random ones, over sizes and imbalances of the forget set?
        queries: A file of rows, prompts with answers, whose influence is asked for; by default the case's unwanted answers.
        case: A case folder, for `controls` and for the default queries.
        max_queries: At most so many queries.
        max_rows: At most so many rows of the store for `sketch` and `gauss-newton`, whose gradients are computed anew.
        curvature: What `gauss-newton` compares with: `ekfac`, `datainf`, or `cg`, conjugate gradients on the Gauss-Newton product itself, which is the
            truth but takes hundreds of passes: for small models.
        damping: Of curvatures, relative as in `unweave trace`; by default each one's own. What is added, and what that is of the mean eigenvalue, stands beside
            the result: agreement depends on it.
        fit_rows: Rows of the store that curvature is fitted on.
        recipe: For `retraining`: config.yaml of the training run; by default the one beside the store's adapter.
        subsets: For `retraining`: how many models.
        leave_out: What each of them is trained without: a share of the rows when below 1, a number of rows from 1 (1 is leave-one-out).
        scorers: For `retraining`: what to judge beside the store's own scores.
        forget_config: For `controls`: config.yaml of an unlearning run; its method and options are used, on other rows.
        forget_sizes: For `controls`: rows to be forgotten.
        imbalance: For `controls`: retain rows for each of them; as many as the training rows allow.
        steps: For `controls`: unlearning steps of every run, whatever the sizes.
        weights: For `controls`: the first is judged against each of the others.
        test_rows: For `controls`: prompts of each test.
        seeds: For `controls`: of rows, sampling and random weights.
        seed: Of everything else.
        dtype: As for the model.
        device: As for the model.
    """

    store: Path
    output_dir: Path
    parts: tuple[Part, ...] = ("sketch", "gauss-newton")
    queries: Path | None = None
    case: Path | None = None
    max_queries: int = 8
    max_rows: int = 200
    curvature: Annotated[str, OneOf(PRECONDITIONERS)] = "ekfac"
    damping: float | None = None
    fit_rows: int = 64
    recipe: Path | None = None
    subsets: int = 20
    leave_out: float = 0.5
    scorers: tuple[Annotated[str, OneOf(ChainMap(SCORERS, PRECONDITIONERS), others=("trak",))], ...] = (
        "bm25",
        "gradnorm",
        "random",
    )
    forget_config: Path | None = None
    forget_sizes: tuple[int, ...] = (10, 40, 160)
    imbalance: tuple[int, ...] = (3, 10, 30)
    steps: int = 20
    weights: tuple[WeightMethod, ...] = ("rapidun", "uniform", "random")
    test_rows: int = 24
    seeds: tuple[int, ...] = (0, 1, 2)
    seed: int = 0
    dtype: Literal["auto", "float32", "bfloat16", "float16", "float64"] = "auto"
    device: str = "auto"
