"""The attacks by name, in the order in which they run: those that change the model come last."""

from unweave.audit.attacks.base import Attack
from unweave.audit.attacks.lens import lens
from unweave.audit.attacks.prompts import prompts
from unweave.audit.attacks.quantise import quantise
from unweave.audit.attacks.relearn import relearn
from unweave.audit.attacks.sampling import sampling

ATTACKS: dict[str, Attack] = {
    "lens": lens,
    "sampling": sampling,
    "prompts": prompts,
    "relearn": relearn,
    "quantise": quantise,
}
