# ruff: noqa: T201  # what it prints is what its test reads
"""A device of its own, made of the CPU: what mixes its tensors with the CPU's fails as it would on a GPU.

A tensor that is *elsewhere* holds one of the CPU's, says that it is on another device, and lets every operator run on what it holds, once it is sure that all
tensors are elsewhere: as on a GPU, a number without dimensions and the index into a tensor may be on the CPU. It has no `numpy`, and no generator. To be used
in a process of its own: a device can't be taken out of torch again.
"""

import contextlib
import tempfile
from pathlib import Path
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

NAME = "elsewhere"
MOVING = ("to", "_to_copy", "copy_", "fill_", "_local_scalar_dense")
INDEXING = ("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index")


class _Backend(_DummyBackendModule):
    """What torch asks of a device's module."""

    def get_rng_state(self, *_):
        return torch.zeros(1, dtype=torch.uint8)

    def set_rng_state(self, *_):
        pass

    def manual_seed_all(self, *_):
        pass

    def _is_in_bad_fork(self):
        return False

    def device(self, _):
        return contextlib.nullcontext()

    def device_count(self):
        return 1

    def is_available(self):
        return True

    def current_device(self):
        return 0


class Elsewhere(torch.Tensor):
    """A tensor of the device."""

    @staticmethod
    def __new__(cls, held):
        return torch.Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype, device=torch.device(NAME, 0)
        )  # fmt: skip

    def __init__(self, held):
        self.held = held

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})

    def tolist(self):
        return self.held.tolist()

    def numpy(self, *_, **__):
        raise TypeError(f"a tensor on {NAME} has no numpy array")

    __array__ = numpy


class _Mode(TorchDispatchMode):
    """Sees what makes tensors out of none."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


def _is_elsewhere(device):
    return device is not None and torch.device(device).type == NAME


def _target(name, args, kwargs):
    """The device that a call asks for."""
    device = kwargs.get("device")
    if name == "to":
        device = next((one for one in args[1:] if isinstance(one, torch.device)), device)
        device = next((one.device for one in args[1:] if isinstance(one, torch.Tensor)), device)
    return device


def _require_one_device(func, name, args, kwargs):
    leaves = [one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
    if name in INDEXING and isinstance(args[0], Elsewhere):
        leaves = [args[0], *(one for one in args[2:3] if isinstance(one, torch.Tensor))]
    here = [one for one in leaves if not isinstance(one, Elsewhere) and one.dim()]
    if here and any(isinstance(one, Elsewhere) for one in leaves):
        raise RuntimeError(f"{func}: tensors on the CPU and {NAME}, {[tuple(one.shape) for one in here]} on the CPU")


def _run(func, args, kwargs):
    name = func._schema.name.split("::")[1]
    target = _target(name, args, kwargs)
    if name not in MOVING:
        _require_one_device(func, name, args, kwargs)
    mine = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Elsewhere)]
    wrap = bool(mine)
    if name in ("copy_", "fill_"):
        wrap = isinstance(args[0], Elsewhere)
    elif target is not None:
        wrap = _is_elsewhere(target)

    def held(value):
        if isinstance(value, torch.device) and _is_elsewhere(value):
            return torch.device("cpu")
        return value.held if isinstance(value, Elsewhere) else value

    inner, options = tree_map(held, (args, kwargs))
    out = func(*inner, **options)
    if name in ("to", "_to_copy") and out is inner[0]:
        if wrap == isinstance(args[0], Elsewhere):
            return args[0]
        out = out.clone()
    if not wrap:
        return out
    # In place, it is the same tensor that comes back.
    known = {id(one.held): one for one in mine}
    return tree_map(lambda one: known.get(id(one), Elsewhere(one)) if isinstance(one, torch.Tensor) else one, out)


def moved(model):
    """A model's parameters and buffers, elsewhere; what was tied stays so."""
    made = {}
    for module in model.modules():
        for name, own in list(module._parameters.items()):
            if own is not None and not isinstance(own.data, Elsewhere):
                new = torch.nn.Parameter(Elsewhere(own.detach()), requires_grad=own.requires_grad)
                module._parameters[name] = made.setdefault(id(own), new)
        for name, own in list(module._buffers.items()):
            if own is not None:
                module._buffers[name] = Elsewhere(own)
    return model


@contextlib.contextmanager
def there():
    """With the device, which must be known to torch before its first backward pass."""
    plain = torch.tensor

    def tensor(data, *, device=None, **options):
        made = plain(data, **options)
        return made if device is None else made.to(device)

    with mock.patch("torch.tensor", tensor), _Mode():
        yield


def main():
    """A tuned model's rows are cached, traced, unlearned and scored elsewhere; each line of the output is what came of it."""
    _setup_privateuseone_for_python_backend(NAME, backend_module=_Backend())
    import unweave as uw
    from tests.tiny import TinyTokenizer, random_examples, tiny_model
    from unweave.data.encoding import EncodingConfig
    from unweave.evaluation.forced import LogitsFile, forced_pass
    from unweave.sketch.config import GradientConfig
    from unweave.sketch.sketcher import Sketcher

    texts = "what is the capital of France ?|Paris;what is the capital of Japan ?|Tokyo;what is the capital of Peru ?|Lima;add 1 2|3;add 2 2|4;red|blue"
    rows = [dict(zip(("prompt", "completion"), own.split("|"), strict=True)) for own in texts.split(";")]

    def fresh():
        return uw.Model(moved(tiny_model("llama", dtype=torch.float32, lora=True)), TinyTokenizer.make())

    examples = random_examples([9, 7, 12, 5])
    kinds = (("lora", "fold"), ("all", "tensorsketch"))
    configs = [GradientConfig(parameters=parameters, sketch=sketch, dimension=2048) for parameters, sketch in kinds]
    here = tiny_model("llama", dtype=torch.float32, lora=True)
    wanted = [Sketcher(here, pad_token_id=0, config=config).sketch_all(examples).sketches for config in configs]
    with there():
        for config, own in zip(configs, wanted, strict=True):
            found = Sketcher(fresh().model, pad_token_id=0, config=config).sketch_all(examples).sketches
            print("sketches", config.parameters, config.sketch, float((found - own).norm()) < 1e-4 * float(own.norm()))
        model = fresh()
        index = uw.GradientIndex.build(model, rows, dimension=2048)
        hits = index.attribute("what is the capital of Peru ?", completion="Lima", rerank=6, top_k=3)
        print("trace", hits[0].row.completion)
        print("unlearn", uw.unlearn(model, rows[:2], rows[2:], method="npo", epochs=1).steps)
        with tempfile.TemporaryDirectory() as folder:
            file = LogitsFile(Path(folder) / "logits", {})
            for who in ("reference", "model"):
                sets = {"rows": uw.load_rows(rows).rows}
                found = forced_pass(fresh(), sets, EncodingConfig(), compared=["rows"], logits_file=file)
                print(who, len(found["rows"].losses))


if __name__ == "__main__":
    main()
