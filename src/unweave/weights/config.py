"""Options of the weights, readable without torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict

from unweave.data.config import ReadingConfig

InfluenceMethod = Literal["rapidun", "rapidun-dense", "signed"]
PositiveMethod = Literal["rapidun", "rapidun-dense", "uniform", "random", "loreun"]
WeightMethod = Literal["rapidun", "rapidun-dense", "signed", "uniform", "random", "loreun"]
Direction = Literal["easy-low", "easy-high"]
WEIGHTS: dict[WeightMethod, str] = {
    "rapidun": "RapidUn's mapping from influence to weights, bit-exact",
    "rapidun-dense": "RapidUn's mapping without truncation",
    "signed": "retain rows that belong to the forget rows by their influence are unlearned with them",
    "uniform": "a control: every row counts the same",
    "random": "a control: the values of another method, permuted among the rows",
    "loreun": "from the losses of the rows",
}
"""Name to what it is."""


@dataclass(frozen=True, kw_only=True)
class MappingConfig:
    """RapidUn's mapping from influence to weights (arXiv 2512.04457; names as in its code), and that of `signed`.

    Example:
        >>> import unweave as uw
        >>> uw.weights.MappingConfig(topk=None).tau_f
        0.7

    Attributes:
        topk: Values kept of each query's helpful list; rows not kept count 0. `None` keeps all.
        rank: Score kept rows by k, k-1, ... in place of their values.
        per_test_robust: Scale each query's list by its median and MAD first (values only).
        use_harmful: Subtract the harmful lists too.
        alpha: Weight of FF, queries F on rows F.
        beta: Weight of FR, queries R on rows F.
        gamma: Weight of RR, queries R on rows R.
        delta: Weight of RF, queries F on rows R.
        alpha_harm: Weight of FF's harmful list.
        beta_harm: Weight of FR's harmful list.
        gamma_harm: Weight of RR's harmful list.
        delta_harm: Weight of RF's harmful list.
        tau_f: Temperature of the forget weights.
        tau_r: Temperature of the retain weights.
        wmin_f: Lower clip of the forget weights, before they are divided by their mean.
        wmax_f: Upper clip.
        wmin_r: Lower clip of the retain weights.
        wmax_r: Upper clip.
        signed_ridge: Ridge of the regression that separates forget rows from retain rows, in a kernel with a unit diagonal.
        signed_precision: Least estimated share of rows that belong to the forget rows among those that change sides.
    """

    topk: int | None = 40
    rank: bool = False
    per_test_robust: bool = False
    use_harmful: bool = False
    alpha: float = 1.0
    beta: float = 1.0
    gamma: float = 1.0
    delta: float = 1.0
    alpha_harm: float = 1.0
    beta_harm: float = 1.0
    gamma_harm: float = 1.0
    delta_harm: float = 1.0
    tau_f: float = 0.7
    tau_r: float = 1.2
    wmin_f: float = 0.2
    wmax_f: float = 3.0
    wmin_r: float = 0.2
    wmax_r: float = 3.0
    signed_ridge: float = 1.0
    signed_precision: float = 0.7


class MappingOptions(TypedDict, total=False):
    """The fields of `MappingConfig`, as keyword arguments."""

    topk: int | None
    rank: bool
    per_test_robust: bool
    use_harmful: bool
    alpha: float
    beta: float
    gamma: float
    delta: float
    alpha_harm: float
    beta_harm: float
    gamma_harm: float
    delta_harm: float
    tau_f: float
    tau_r: float
    wmin_f: float
    wmax_f: float
    wmin_r: float
    wmax_r: float
    signed_ridge: float
    signed_precision: float


@dataclass(frozen=True, kw_only=True)
class WeightConfig(MappingConfig):
    """Options of all kinds of weights.

    Example:
        >>> import unweave as uw
        >>> options = uw.weights.WeightConfig(random_of="signed", seed=1)
        >>> uw.weights.from_index(uw.GradientIndex.build(model, rows, dimension=4096), forget, retain, method="random", config=options).retain.shape
        (6,)

    Attributes:
        seed: Of `random`.
        random_of: Whose values `random` permutes.
        loreun_tau: Temperature of `loreun`.
        loreun_wmin: Its lower clip.
        loreun_wmax: Its upper clip.
        loreun_direction: `easy-low` gives small losses, which are hard to forget, large weights (the paper); `easy-high` the opposite (RapidUn's code).
    """

    seed: int = 0
    random_of: InfluenceMethod = "rapidun"
    loreun_tau: float = 0.8
    loreun_wmin: float = 0.5
    loreun_wmax: float = 3.0
    loreun_direction: Direction = "easy-low"


class WeightOptions(MappingOptions, total=False):
    """The fields of `WeightConfig`, as keyword arguments."""

    seed: int
    random_of: InfluenceMethod
    loreun_tau: float
    loreun_wmin: float
    loreun_wmax: float
    loreun_direction: Direction


@dataclass(frozen=True, kw_only=True)
class WeighConfig(WeightConfig, ReadingConfig):
    """Turn influence into a weight for each forget and retain row.

    The influence comes from four RapidIn result files, or from a gradient store and the two files of rows.

    Attributes:
        method: `rapidun` (bit-exact), `rapidun-dense` (no truncation), `signed` (retain rows that belong to the forget rows by their influence are
            unlearned with them), `uniform`, `random` (the values of `random_of` permuted among the rows), or `loreun` (from the losses in the store).
        f2f: Influence file: queries F on rows F.
        f2r: Influence file: queries R on rows F.
        r2f: Influence file: queries F on rows R.
        r2r: Influence file: queries R on rows R.
        n_forget: Number of forget rows; by default as many as the files name.
        n_retain: Number of retain rows.
        store: A gradient store that holds the forget and the retain rows.
        forget: The forget rows.
        retain: The retain rows.
        output_forget: Where the forget weights go, a JSON line a row.
        output_retain: Where the retain weights go.
    """

    method: WeightMethod = "rapidun"
    f2f: Path | None = None
    f2r: Path | None = None
    r2f: Path | None = None
    r2r: Path | None = None
    n_forget: int | None = None
    n_retain: int | None = None
    store: Path | None = None
    forget: Path | None = None
    retain: Path | None = None
    output_forget: Path = Path("forget_weights.jsonl")
    output_retain: Path = Path("retain_weights.jsonl")
