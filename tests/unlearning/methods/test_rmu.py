"""RMU (Li et al., arXiv 2403.03218, equations 1 and 2): L = E mean_t |h - c u|^2 + alpha E mean_t |h - h_before|^2, t the answers' tokens.

Squares are means over features. u is drawn from [0, 1) in each feature and brought to length 1; h stands behind `layers[l]`.
"""

import pytest
import torch

from tests.tiny import CONFIGS, one, random_examples, tiny_model
from tests.unlearning.methods.scene import Scene, balanced
from tests.unlearning.test_forget import PATHS
from unweave.data.encoding import Example
from unweave.errors import ConfigError
from unweave.gradients.loss import answer_tokens
from unweave.models.loading import Loaded
from unweave.unlearning.config import config_of, method_of
from unweave.unlearning.context import Context
from unweave.unlearning.methods.rmu import RMU, chosen_layer, trained_modules
from unweave.unlearning.trainable import trainable


def states(model, example, layer):
    """What layer `layer` of the model itself, counted from 0, puts out, [T, H]."""
    kept = []
    handle = model.get_base_model().transformer.h[layer].register_forward_hook(lambda *given: kept.append(given[2]))
    model(input_ids=torch.tensor([example.input_ids]))
    handle.remove()
    found = kept[0]
    return (found[0] if isinstance(found, tuple) else found)[0]


def distances(scene, *, steering=None, seed=0, layer=0):
    """Of the forget rows' answers from c u, and of the retain rows' from where they were; c five times each state's own length before where it is not given."""
    drawn = torch.rand(24, generator=torch.Generator().manual_seed(seed)).double()
    direction = drawn / drawn.square().sum().sqrt()
    forget, retain = [], []
    for example in scene.forget:
        places = list(example.label_positions)
        own = states(scene.model, example, layer)[places]
        lengths = states(scene.earlier, example, layer)[places].detach().norm(dim=1, keepdim=True)
        target = (5.0 * lengths if steering is None else steering) * direction
        forget.append((own - target).square().mean())
    for example in scene.retain:
        places = list(example.label_positions)
        moved = states(scene.model, example, layer)[places] - states(scene.earlier, example, layer)[places].detach()
        retain.append(moved.square().mean())
    return forget, retain


@pytest.mark.parametrize("options", [{}, {"steering": 10.0, "seed": 4, "gamma": 0.5, "alpha": 100.0, "layer": 0}])
def test_value_and_gradient(options):
    scene = Scene()
    forget, retain = distances(scene, **{name: options[name] for name in ("steering", "seed") if name in options})
    factors = {name: options[name] for name in ("gamma", "alpha") if name in options}
    # The direction is drawn in float32.
    expected = balanced(forget, retain, **factors)
    loss = scene.objective("rmu", **options).loss(scene.view("rmu"))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    slopes = scene.gradient(loss), scene.gradient(expected)
    assert (slopes[0] - slopes[1]).norm() < 1e-6 * slopes[1].norm()


def test_other_retain_parts():
    scene = Scene()
    loss = scene.objective("rmu", retain_loss="nll").loss(scene.view("rmu"))
    expected = balanced(distances(scene)[0], scene.retained())
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_an_attention_sink_counts_nothing():
    """The first token's state is enormous in many models: 27,046 against 155 in SmolLM2-135M. No loss looks at it."""
    scene = Scene()
    for model in (scene.model, scene.earlier):
        with torch.no_grad():
            model.get_base_model().transformer.wpe.weight[0] *= 1e5
    norms = states(scene.model, scene.forget[0], 0).norm(dim=1)
    assert norms[0] > 1e3 * norms[1:].max()
    expected = balanced(*distances(scene))
    loss = scene.objective("rmu").loss(scene.view("rmu"))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert loss.item() < 1e-4 * norms[0].square().item()


def test_which_tokens_a_loss_looks_at():
    """Those of all answers of a conversation, and never the first of a row, which nothing predicts."""
    (talk,) = random_examples([12])
    talk = Example("talk", talk.input_ids, 8, labelled=(3, 4, 8, 9))
    text = Example("text", talk.input_ids[:5], 0)
    assert answer_tokens(one(talk)).nonzero()[:, 1].tolist() == [3, 4, 8, 9]
    assert answer_tokens(one(text)).nonzero()[:, 1].tolist() == [1, 2, 3, 4]


@pytest.fixture(scope="module")
def deep():
    patch = pytest.MonkeyPatch()
    patch.setitem(CONFIGS, "llama", {**CONFIGS["llama"], "num_hidden_layers": 16})
    model = tiny_model("llama", lora=True)
    patch.undo()
    return model


def test_down_proj_of_three_layers_is_trained(deep):
    assert chosen_layer(RMU(), deep) == 7
    assert trained_modules(RMU(), deep, "down_proj") == [
        f"base_model.model.model.layers.{n}.mlp.down_proj" for n in (5, 6, 7)
    ]
    assert len(trained_modules(RMU(layer=1), deep, "up_proj,down_proj")) == 4
    with pytest.raises(ConfigError, match="has 16 layers") as raised:
        chosen_layer(RMU(layer=15), deep)
    assert raised.value.remedy == "give 0 to 14"
    with pytest.raises(ConfigError, match="is called c_proj"):
        trained_modules(RMU(), deep, "c_proj")


def test_of_an_adapter_that_is_there_no_more_is_trained(deep):
    config = config_of("rmu")(**PATHS, adapter_mode="continue")
    context = Context(Loaded(deep, None, "tiny", "own"), (), config)
    method_of(config).prepare(context)
    moved = {name.split(".lora_")[0] for name, own in deep.named_parameters() if own.requires_grad}
    assert moved == set(trained_modules(config, deep, "down_proj"))
    with pytest.raises(ConfigError, match="nothing to train on the modules"):
        trainable(context, modules=lambda _: ["elsewhere"])


def test_a_fresh_adapter_is_on_these_modules_only(tmp_path):
    model = tiny_model("llama")
    config = config_of("rmu")(forget=tmp_path, retain=tmp_path, output_dir=tmp_path)
    context = method_of(config).prepare(Context(Loaded(model, None, "tiny", None), (), config))
    moved = {name.split(".lora_")[0] for name, own in context.loaded.model.named_parameters() if own.requires_grad}
    assert moved == {"base_model.model.model.layers.0.mlp.down_proj"}
