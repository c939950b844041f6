"""One bit of one byte, at random places of a store, a ledger and a certificate's files, one at a time: do `store check` and `request verify` notice?"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.flips import byte_flips, files_below, unnoticed
from tests.kills import build

from unweave.errors import UnweaveError
from unweave.ledger.config import VerifyConfig
from unweave.ledger.verify import verify_request
from unweave.store.maintenance import check_store
from unweave.store.store import GradientStore

FLIPS = 300


def run(folder: Path, *, seed: int) -> Iterator[dict[str, Any]]:
    """Flip.

    Args:
        folder: An empty folder.
        seed: Of the places.

    Yields:
        What was flipped, and what of that was noticed.
    """
    world = build(folder)
    world.begin("request rollback")
    store, ledger = world.world / "store", world.work / "ledger"
    journal = [path for path in files_below(ledger) if path.suffix == ".db"]
    kinds = {
        "store (`store check`)": (files_below(store), lambda: not check_store(GradientStore.open(store))),
        "journal (`request verify`)": (journal, lambda: _verified(ledger)),
        "certificate, its adapter and measurements (`request verify`)": (
            [path for path in files_below(ledger) if path not in journal],
            lambda: _verified(ledger),
        ),
        "models that the certificate names (`request verify`)": (
            files_below(world.world / "base", world.world / "adapter"),
            lambda: _verified(ledger),
        ),
    }
    found = {}
    for name, (files, is_well) in kinds.items():
        assert is_well(), f"{name}: a fault is found where nothing was changed"
        missed = unnoticed(byte_flips(files, FLIPS, seed=seed), lambda is_well=is_well: _told(is_well))
        found[name] = {"files": len(files), "flips": FLIPS, "noticed": FLIPS - len(missed), "missed": missed}
        print(name, found[name], flush=True)
    yield {"kinds": found}


def _verified(ledger: Path) -> bool:
    # What is bound is noticed by its digest; measuring the losses anew would add nothing but time.
    return bool(verify_request(VerifyConfig(request="one", ledger=ledger, metrics=False))["ok"])


def _told(is_well: Callable[[], bool]) -> bool:
    """Whether a check says that all is well; an error that it raises is a notice too."""
    try:
        return is_well()
    except UnweaveError:
        return False
