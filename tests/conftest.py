"""Tiny models with fixed weights, and a tokenizer that needs no download."""

import gc
import os
import sys
import warnings
from pathlib import Path

import pytest

from tests.forks import Forks, fork_server

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# Numbers differ in their last bits with the number of threads: one, on every machine, so that what passes here passes anywhere.
# UNWEAVE_TEST_THREADS=2 says otherwise. Threads wait without spinning, which takes ten times as long where they outnumber the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
THREADS = int(os.environ.get("UNWEAVE_TEST_THREADS", "1"))
os.environ["OMP_NUM_THREADS"] = str(THREADS)

# A run starts many processes, which would each compile the package.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

SKETCH = Path(__file__).parents[1] / "src/unweave/sketch"
MANY_MODULES = 200
_prepared = {}


def _prepare():
    """What a process needs that runs tests."""
    filters = list(warnings.filters)
    # What is imported under jaxtyping's hook is compiled anew, whatever module it is. These are the large ones: here they are read as they were compiled.
    import beartype.claw  # noqa: F401
    import hypothesis
    import jaxtyping
    import peft  # noqa: F401
    import scipy.stats  # noqa: F401
    import sympy  # noqa: F401
    import torch.distributed.tensor  # noqa: F401
    import transformers.models.llama.modeling_llama  # noqa: F401

    # Before the hook, so that what it forks is unweave as people have it.
    _prepared["server"] = fork_server([own for own in warnings.filters if own not in filters])

    # The same examples everywhere, with no time limit and no folder of their own, which the tree may not be writable for.
    hypothesis.settings.register_profile("unweave", database=None, derandomize=True, deadline=None)
    hypothesis.settings.load_profile("unweave")

    # Shapes are checked at run time in the tests only; the hook must be in place before the package is imported.
    jaxtyping.install_import_hook(
        [
            "unweave.gradients",
            # Module by module, since numba can't compile what the hook has wrapped: its kernels stay out.
            *(f"unweave.sketch.{path.stem}" for path in SKETCH.glob("*.py") if path.stem != "__init__"),
            "unweave.attribution",
            "unweave.finding",
            "unweave.weights",
            "unweave.store",
            "unweave.unlearning.steps",
            "unweave.data.batches",
        ],
        "beartype.beartype",
    ).__enter__()


# A process that hands all tests out to others (`--numprocesses`) needs none of that, and it takes seconds.
if "PYTEST_XDIST_WORKER" in os.environ or not any(word.startswith(("-n", "--numprocesses")) for word in sys.argv):
    _prepare()


def pytest_configure(config):
    """Where it was not so: as with `--numprocesses 0`."""
    if not _prepared and not getattr(config.option, "numprocesses", None):
        _prepare()


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory):
    """The packaged model is converted here, once for all processes of the run, whatever home there is and whatever lies in it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNWEAVE_CACHE", str(shared / "cache"))
        yield


@pytest.fixture(autouse=True)
def _fixed_threads():
    import torch

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(THREADS)


def pytest_addoption(parser):
    parser.addoption(
        "--reverse", action="store_true", help="run all from last to first, to find tests that need others before them"
    )
    parser.addoption(
        "--exhaustive",
        action="store_true",
        help="kill at every place where a test by default kills at some (hours)",
    )


def pytest_collection_modifyitems(config, items):
    """The longest first, so that no process ends alone with them: what is made once of the real weights, then the files that are marked."""
    if config.getoption("--reverse"):
        items.reverse()
    else:
        items.sort(key=lambda item: [item.get_closest_marker(name) is None for name in ("real_model", "long")])


def _freeze():
    """What is imported stays: a collection of garbage, which every training and every merge of an adapter asks for, need not go through it."""
    gc.collect()
    gc.freeze()
    _prepared["frozen"] = len(sys.modules)


def pytest_collection_finish():
    _freeze()


def pytest_runtest_setup():
    if len(sys.modules) > _prepared.get("frozen", 0) + MANY_MODULES:
        _freeze()


@pytest.fixture(scope="session")
def exhaustive(pytestconfig):
    """Whether all places are tried where some would do."""
    return pytestconfig.getoption("--exhaustive")


@pytest.fixture(scope="session")
def forks(tmp_path_factory):
    """Processes that start at once."""
    with Forks(tmp_path_factory.mktemp("forks"), _prepared["server"]) as started:
        yield started


@pytest.fixture
def tokenizer():
    from tests.tiny import TinyTokenizer

    return TinyTokenizer.make()


@pytest.fixture
def llama():
    from tests.tiny import tiny_model

    return tiny_model("llama")
