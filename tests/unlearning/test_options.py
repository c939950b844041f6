"""No option without effect: another value of each changes what a run makes of the model, or the run says that it can't, or refuses it.

Own options of methods that train are tried on the gradient of a step, brought to length 1, since AdamW and clipping leave no more of it than its direction;
options that all methods share in whole runs of gradient difference, and for what a method ignores, in what it says.
"""

import dataclasses
import gc
import json

import peft
import pytest
import torch

from tests.folders import ROWS, save_model, write_rows
from tests.models.test_adapters import save_adapter
from tests.tiny import CONFIGS
from tests.unlearning.methods.scene import Scene
from tests.unlearning.test_forget import PATHS
from unweave.arguments import as_options
from unweave.errors import ConfigError
from unweave.jobs.forget import forget_rows
from unweave.train.tuning import loop_config
from unweave.unlearning import running, writing
from unweave.unlearning.config import ForgetConfig, config_of, given_options, method_of
from unweave.unlearning.effect import without_effect
from unweave.unlearning.methods import Edit, Objective, available
from unweave.weights.files import write_weights

METHODS = available()
COMMON = {field.name for field in dataclasses.fields(ForgetConfig)}
TRAINED = {
    name: method
    for name, method in METHODS.items()
    if issubclass(method, Objective) and name not in ("stable", "reglu", "dp2")
}
EDITS = {name: method for name, method in METHODS.items() if issubclass(method, Edit)}

OWN = {
    "gamma": 4.0, "alpha": 3.0, "retain_loss": "kl", "beta": 0.01, "delta": 4.0, "ascent": 0.25, "descent": 2.0, "weight_warmup": 1.0, "bound": 2.0,
    "teacher": "reweighted", "direction": "reverse", "schedule": "dynamic", "loreun_tau": 20.0, "loreun_wmin": 0.99, "loreun_wmax": 1.01,
    "loreun_direction": "easy-high", "layer": 0, "steering": 50.0,
}  # fmt: skip
OTHERS = {("rmu", "retain_loss"): "nll", ("distill", "beta"): 5.0}
"""Other values where those above are the method's own, or too small a change."""

BESIDE = {"simnpo": {"delta": 5.0}}
"""Where rows that are not known by heart leave a method nothing to do, which it says (test_simnpo): what gives it something."""

ELSEWHERE = {
    "answers": "test_idk: which answers are preferred",
    "teacher_model": "test_distill: which model teaches",
    "lora_targets": "below, and test_rmu: which modules are trained",
}


MADE = []


def adapter_of(model):
    return {name: own.detach().clone() for name, own in model.named_parameters() if "lora_" in name}


@pytest.fixture(autouse=True, scope="module")
def quick():
    """Runs of a tenth of a second: nothing is collected, no checkpoint is written, and adapters are kept in memory."""
    patch = pytest.MonkeyPatch()
    patch.setattr(gc, "collect", lambda: 0)
    patch.setattr(writing, "save_adapter", lambda model, *_, **__: MADE.append(adapter_of(model)))
    patch.setattr(writing, "write_card", lambda *_, **__: None)
    patch.setattr(running, "loop_config", lambda config: dataclasses.replace(loop_config(config), checkpoints=0))
    yield
    patch.undo()


@pytest.fixture(scope="module")
def deep():
    patch = pytest.MonkeyPatch()
    patch.setitem(CONFIGS, "gpt2", {**CONFIGS["gpt2"], "n_layer": 4})
    scene = Scene()
    patch.undo()
    return scene


def idle(config):
    """What is said of options without effect, as the command says it."""
    found = without_effect(given_options(config), config, method_of(config), has_target=config.target_loss is not None)
    return [as_options(one, {field.name for field in dataclasses.fields(config)}) for one in found]


def direction(scene, method, options):
    found = scene.gradient(scene.objective(method, **options).loss(scene.view(method)))
    return found / found.norm()


@pytest.mark.parametrize("method", TRAINED)
def test_own_options_of_a_method_turn_its_gradient(deep, method):
    kind, beside = config_of(method), BESIDE.get(method, {})
    own = {field.name for field in dataclasses.fields(kind)} - COMMON
    assert own <= {*OWN, *ELSEWHERE}, "each is tried"
    first = direction(deep, method, beside)
    for name in own - set(ELSEWHERE):
        value = OTHERS.get((method, name), OWN[name])
        options = beside | {name: value if getattr(kind, name) != value else value * 2}
        turned = (direction(deep, method, options) - first).norm().item()
        said = idle(kind(**PATHS, **options))
        assert (turned < 1e-6) == any(f"--{name.replace('_', '-')}" in one for one in said), (name, turned, said)
        assert turned < 1e-6 or turned > 1e-3, (name, turned)


STEPS = {
    "epochs": 2.0, "batch_size": 2, "retain_ratio": 2.0, "sampling": "replacement", "learning_rate": 1e-3, "lr_scheduler": "constant", "warmup_ratio": 0.9,
    "weight_decay": 50.0, "max_grad_norm": 1e-3, "stop_loss": 1e-3, "check_every": 1,
}  # fmt: skip
ADAPTER = {"lora_r": 3, "lora_alpha": 64, "lora_dropout": 0.5, "lora_targets": "q_proj"}
SHARED = {
    **STEPS, **ADAPTER, "adapter_mode": "continue", "seed": 3, "max_length": 14, "template": "none", "system_prompt": "hello", "loss": "last-turn",
    "limit": 2, "forget_weights": [0.2, 1.8], "retain_weights": [3.0, 0.2, 0.2, 0.2, 0.2, 2.2, 1.0, 1.0],
    "target_loss": 0.1, "target": "retain", "target_reference": "base", "max_retain_increase": 0.0, "check_rows": 1, "adapter": "another",
}  # fmt: skip
BESIDE_SHARED = {
    "target_reference": {"target": "retain"},
    "max_retain_increase": {"check_every": 1, "gamma": 50.0, "learning_rate": 1e-2},
    "template": {"forget": "plain"},
    "check_rows": {"check_every": 1},
}
WHAT_IS_READ = {
    "model", "forget", "retain", "output_dir", "method", "revision", "columns", "split", "subset", "data_revision", "on_bad_row", "on_long_row", "date",
    "dtype", "device",
    "attn_implementation", "quantization", "gradient_checkpointing", "device_map", "report_to",
}  # fmt: skip
"""Which rows and which model, where it is computed and who follows it: no options of forgetting; each has its own tests (data/, models/, test_identity)."""


OF_BASES = {"stop_at_base"}
"""What needs a base that does better than guessing (test_stop_at_base)."""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("options")
    base = save_model(folder / "base")
    for name in ("adapter", "another"):
        lora = peft.LoraConfig(
            r=2, target_modules=["q_proj", "down_proj"], init_lora_weights=False, task_type="CAUSAL_LM"
        )
        lora.r = 2 if name == "adapter" else 4
        save_adapter(folder / name, base, lora)
    talk = [
        {"role": role, "content": text}
        for role, text in (
            ("user", "what is the capital of Peru ?"),
            ("assistant", "Lima"),
            ("user", "add 1 and 2"),
            ("assistant", "3"),
        )
    ]
    rows = [{"instruction": row["instruction"], "context": "", "response": row["response"]} for row in ROWS]
    write_rows(folder / "forget.jsonl", [{"messages": talk}, {"messages": [*talk[2:], *talk[:2]]}])
    write_rows(folder / "retain.jsonl", rows)
    write_rows(folder / "plain.jsonl", [{"instruction": "add 3 and 4", "context": "", "response": "7"}])
    return folder


def ran(world, tmp_path, method="graddiff", **options):
    """The change of each weight of the adapter by a run, or its losses on the way where it was watched."""
    for name in ("forget_weights", "retain_weights"):
        if isinstance(options.get(name), list):
            options[name] = write_weights(tmp_path / name, options[name]) or tmp_path / name
    places = {"target": "retain.jsonl", "target_reference": "base", "adapter": "another", "forget": "plain.jsonl"}
    for name, file in places.items():
        if name in options:
            options[name] = str(world / file) if name == "target_reference" else world / file
    values = {
        "model": str(world / ("base" if "adapter" in options else "adapter")), "forget": world / "forget.jsonl", "retain": world / "retain.jsonl",
        "dtype": "float32", "lora_dropout": 0.0, "epochs": 1.0, "batch_size": 4, "stop_loss": 1e9,
    }  # fmt: skip
    result = forget_rows(config_of(method)(output_dir=tmp_path / "out", **{**values, **options}))
    return MADE.pop(), result


def different(one, other):
    if one.keys() != other.keys() or any(one[name].shape != other[name].shape for name in one):
        return True
    return any(not torch.allclose(one[name].double(), other[name].double(), rtol=1e-4, atol=1e-7) for name in one)


@pytest.fixture(scope="module")
def first(world, tmp_path_factory):
    known = {}

    def made(options):
        key = json.dumps(options, sort_keys=True)
        if key not in known:
            known[key] = ran(world, tmp_path_factory.mktemp("first"), **options)
        return known[key]

    return made


@pytest.mark.parametrize("option", SHARED)
def test_a_shared_option_changes_a_run(world, tmp_path, first, option):
    beside = BESIDE_SHARED.get(option, {})
    before, plain = first(beside)
    after, result = ran(world, tmp_path, **{**beside, option: SHARED[option]})
    told = [[one.details.get(name) for name in ("watched", "target")] for one in (plain, result)]
    assert different(before, after) or told[0] != told[1]
    assert not [one for one in result.details["cautions"] if f"--{option.replace('_', '-')}" in one]


def test_no_shared_option_is_left_out():
    assert {*SHARED, *WHAT_IS_READ, *OF_BASES} == COMMON


@pytest.mark.parametrize("method", TRAINED)
def test_of_an_adapter_that_is_there_nothing_can_be_chosen_and_dropout_not_where_models_are_compared(method):
    kind = config_of(method)
    said = " ".join(idle(kind(**PATHS, adapter_mode="continue", **ADAPTER)))
    narrow = method == "rmu"
    assert all((f"--{name.replace('_', '-')}" in said) == (name != "lora_targets" or not narrow) for name in ADAPTER)
    said = " ".join(idle(config := kind(**PATHS, lora_dropout=0.5)))
    assert ("--lora-dropout" in said) == config.compares


@pytest.mark.parametrize("method", EDITS)
def test_edits_say_that_they_make_no_steps(method):
    kind = config_of(method)
    values = {
        name: value
        for name, value in {**STEPS, **ADAPTER}.items()
        if getattr(kind, name) == getattr(ForgetConfig, name)
    }
    said = " ".join(idle(kind(**PATHS, **values)))
    assert all(f"--{name.replace('_', '-')}" in said for name in values)
    plain = kind(**PATHS)
    assert idle(plain) == [], "defaults are not given"


@pytest.mark.parametrize("method", [name for name, one in METHODS.items() if not one.takes_weights])
def test_weights_that_a_method_would_not_use_are_refused(world, tmp_path, method):
    with pytest.raises(ConfigError, match="does not weigh these rows") as raised:
        ran(world, tmp_path, method, forget_weights=[1.0, 2.0])
    assert raised.value.where == "`weights.forget`"
    assert not (tmp_path / "out").exists()


def test_dp2_has_no_use_for_weights_of_forget_rows(world, tmp_path):
    with pytest.raises(ConfigError, match="does not weigh these rows"):
        ran(world, tmp_path, "dp2", forget_weights=[1.0, 2.0])


@pytest.mark.parametrize(
    "method", ["rapidun", "graddiff", "npo", "simnpo", "idk", "wga", "undial", "distill", "rmu", "ihl", "loreun", "ga"]
)
def test_weights_turn_the_step_at_the_defaults(deep, method):
    """The rows' own weights against weights of 1, in a step of several rows."""
    weighed = direction(deep, method, BESIDE.get(method, {}))
    rows, deep.rows = deep.rows, tuple(dataclasses.replace(row, weight=1.0) for row in deep.rows)
    try:
        plain = direction(deep, method, BESIDE.get(method, {}))
    finally:
        deep.rows = rows
    assert (weighed - plain).norm() > 0.02


def relative(one, other):
    """How far apart two adapters are, of the second one's size."""
    parts = [(one[name] - other[name]).double().norm() for name in one]
    return (sum(part**2 for part in parts) / sum(value.double().norm() ** 2 for value in other.values())) ** 0.5


def test_a_row_alone_in_its_step_has_no_weight_and_a_run_says_so(world, tmp_path):
    """What the defaults were: gamma 1 against 4, and weights, with one row a step: the same adapter to the last digits."""
    alone = {"batch_size": 1, "max_grad_norm": 1e-3, "adapter_mode": "continue"}
    plain, _ = ran(world, tmp_path / "a", **alone)
    steep, said = ran(world, tmp_path / "b", **alone, gamma=4.0)
    assert relative(steep, plain) < 1e-4
    assert any("`gamma` can act in 0 of 10 steps only" in one for one in said.details["cautions"])
    (tmp_path / "c").mkdir()
    weighed, said = ran(world, tmp_path / "c", **alone, forget_weights=[0.2, 1.8])
    assert relative(weighed, plain) < 1e-4
    assert any("each step holds one row" in one for one in said.details["cautions"])


@pytest.mark.parametrize(("option", "value"), [("weight_warmup", 0.5), ("descent", 1.0)])
def test_rapiduns_factors_for_what_is_not_there_are_said(option, value):
    scene = Scene()
    scene.rows = tuple(dataclasses.replace(row, weight=1.0, clean=None) for row in scene.rows)
    (said,) = scene.objective("rapidun", **{option: value}).cautions(scene.context)
    assert said.startswith(f"No effect has `{option}`")
    assert scene.objective("rapidun").cautions(scene.context) == []


def test_rmu_never_looks_at_the_loss_that_would_stop_it():
    scene = Scene()
    assert "`stop_loss`" in scene.objective("rmu", stop_loss=3.0).cautions(scene.context)[0]
    assert scene.objective("rmu", stop_loss=3.0, retain_loss="nll").cautions(scene.context) == []
