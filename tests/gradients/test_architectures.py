"""Per-sample gradients of many architectures and adapters: equal to the loop of torch.autograd.grad in float64, or refused by name, and never wrong."""

import pytest

from tests.architectures import ARCHITECTURES
from tests.verdicts import ADAPTERS, verdict


@pytest.mark.parametrize("kind", ["all", "linear", "lora"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture(name, kind):
    found = verdict(name, kind)
    # PEFT does not adapt the projections of state space models.
    expected = "not offered" if kind == "lora" and name in ("mamba", "mamba2") else "equal"
    assert found.outcome == expected, found


@pytest.mark.parametrize("kind", ADAPTERS)
def test_every_adapter(kind):
    found = verdict("llama", kind)
    assert found.outcome == ("refused" if kind in ("prompt", "prefix") else "equal"), found
    if found.outcome == "refused":
        assert kind.upper() in found.detail
