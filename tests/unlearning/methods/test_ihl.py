"""Inverted hinge loss (Cha et al., arXiv 2408.06621, equation 3): L = 1 + p(y_t) - max over v other than y_t of p(v), averaged over the answer's tokens."""

from tests.unlearning.methods.scene import Scene, balanced


def test_value_and_gradient():
    scene, forget = Scene(), []
    for example in scene.forget:
        logits, targets = scene.logits(example)
        chances, values = logits.softmax(dim=-1), []
        for place, target in enumerate(targets.tolist()):
            others = [chances[place, token] for token in range(chances.shape[1]) if token != target]
            values.append(1 + chances[place, target] - max(others))
        forget.append(sum(values) / len(values))
    scene.check("ihl", balanced(forget, scene.retained()))
