"""The unlearning methods: one file each, one line each in the registry."""

from unweave.errors import ConfigError, nearest
from unweave.unlearning.methods import (
    dp2,
    fast_ntk,
    fisher,
    ga,
    graddiff,
    idk,
    ihl,
    llmeraser,
    loreun,
    npo,
    rapidun,
    reglu,
    retrain,
    rmu,
    simnpo,
    ssd,
    stable,
    undial,
    wga,
)
from unweave.unlearning.methods.base import Method

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        rapidun.METHOD,
        rapidun.PUBLISHED,
        ga.METHOD,
        graddiff.METHOD,
        npo.METHOD,
        simnpo.METHOD,
        idk.METHOD,
        wga.METHOD,
        undial.METHOD,
        rmu.METHOD,
        ihl.METHOD,
        loreun.METHOD,
        fisher.METHOD,
        ssd.METHOD,
        llmeraser.METHOD,
        fast_ntk.METHOD,
        stable.METHOD,
        reglu.METHOD,
        dp2.METHOD,
        retrain.METHOD,
    )
}


def get_method(name: str) -> Method:
    """A method by name.

    Args:
        name: The name.

    Returns:
        The method.

    Raises:
        ConfigError: When there is none of that name.
    """
    if name not in METHODS:
        raise ConfigError(f"Unknown unlearning method '{name}'.", where="--method", remedy=nearest(name, METHODS))
    return METHODS[name]
