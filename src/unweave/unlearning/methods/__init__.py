"""The unlearning methods: one file each, one line each in the registry.

A method is a frozen dataclass of its own options: `NPO(beta=0.1)`. `available()` names all, and a plug-in's is one more entry of `METHODS`.
"""

from typing import TYPE_CHECKING, Any

from unweave.lazy import lazy_names
from unweave.registry import entry
from unweave.unlearning.methods.base import Edit, Objective
from unweave.unlearning.methods.retrain import Retrain

if TYPE_CHECKING:
    from unweave.unlearning.methods.distill import Distill as Distill
    from unweave.unlearning.methods.dp2 import DP2 as DP2
    from unweave.unlearning.methods.fast_ntk import FastNTK as FastNTK
    from unweave.unlearning.methods.fisher import Fisher as Fisher
    from unweave.unlearning.methods.ga import GA as GA
    from unweave.unlearning.methods.graddiff import GradDiff as GradDiff
    from unweave.unlearning.methods.idk import IDK as IDK
    from unweave.unlearning.methods.ihl import IHL as IHL
    from unweave.unlearning.methods.llmeraser import LLMEraser as LLMEraser
    from unweave.unlearning.methods.loreun import LoReUn as LoReUn
    from unweave.unlearning.methods.npo import NPO as NPO
    from unweave.unlearning.methods.rapidun import RapidUn as RapidUn
    from unweave.unlearning.methods.rapidun import RapidUnPublished as RapidUnPublished
    from unweave.unlearning.methods.reglu import ReGLU as ReGLU
    from unweave.unlearning.methods.rmu import RMU as RMU
    from unweave.unlearning.methods.simnpo import SimNPO as SimNPO
    from unweave.unlearning.methods.ssd import SSD as SSD
    from unweave.unlearning.methods.stable import Stable as Stable
    from unweave.unlearning.methods.undial import UNDIAL as UNDIAL
    from unweave.unlearning.methods.wga import WGA as WGA

Method = Objective | Edit | Retrain

METHODS: dict[str, Any] = {
    "rapidun": "unweave.unlearning.methods.rapidun:RapidUn",
    "rapidun-published": "unweave.unlearning.methods.rapidun:RapidUnPublished",
    "ga": "unweave.unlearning.methods.ga:GA",
    "graddiff": "unweave.unlearning.methods.graddiff:GradDiff",
    "npo": "unweave.unlearning.methods.npo:NPO",
    "simnpo": "unweave.unlearning.methods.simnpo:SimNPO",
    "idk": "unweave.unlearning.methods.idk:IDK",
    "wga": "unweave.unlearning.methods.wga:WGA",
    "undial": "unweave.unlearning.methods.undial:UNDIAL",
    "distill": "unweave.unlearning.methods.distill:Distill",
    "rmu": "unweave.unlearning.methods.rmu:RMU",
    "ihl": "unweave.unlearning.methods.ihl:IHL",
    "loreun": "unweave.unlearning.methods.loreun:LoReUn",
    "fisher": "unweave.unlearning.methods.fisher:Fisher",
    "ssd": "unweave.unlearning.methods.ssd:SSD",
    "llmeraser": "unweave.unlearning.methods.llmeraser:LLMEraser",
    "fast-ntk": "unweave.unlearning.methods.fast_ntk:FastNTK",
    "stable": "unweave.unlearning.methods.stable:Stable",
    "reglu": "unweave.unlearning.methods.reglu:ReGLU",
    "dp2": "unweave.unlearning.methods.dp2:DP2",
    "retrain": "unweave.unlearning.methods.retrain:Retrain",
}
"""Name to class, or to where it is."""

__getattr__, __dir__, __all__ = lazy_names(
    __name__, {place.partition(":")[2]: place.partition(":")[0] for place in METHODS.values()}
)


def get_method(name: str) -> "type[Method]":
    """A method by name.

    Args:
        name: The name.

    Returns:
        Its class.
    """
    return entry(METHODS, name, option="method")


def available() -> "dict[str, type[Method]]":
    """All methods.

    Returns:
        Name to class.
    """
    return {name: get_method(name) for name in METHODS}
