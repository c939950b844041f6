"""RapidUn's mapping in plain Python, from the formulas (arXiv 2512.04457, section 4) and the format of RapidIn's files: lists of (row, influence) a query.

Nothing of it is shared with the library, so that the two are compared bit by bit.
"""

import math
import statistics


def lists_of(matrix):
    """Each query's lists as RapidIn writes them from a whole matrix: most helpful first, most harmful first, equal values in the order of the rows."""
    return [
        {
            "helpful": sorted(enumerate(row), key=lambda pair: -pair[1]),
            "harmful": sorted(enumerate(row), key=lambda pair: pair[1]),
        }
        for row in matrix
    ]


def scaled(values):
    middle = statistics.median(values)
    deviation = statistics.median([abs(value - middle) for value in values])
    return [(value - middle) / max(1.4826 * deviation, 1e-3) for value in values]


def scores(queries, kind, rows, options):
    lines = []
    for query in queries:
        pairs = query[kind]
        if not pairs:
            continue
        if options["per_test_robust"] and not options["rank"]:
            pairs = list(zip([row for row, _ in pairs], scaled([value for _, value in pairs]), strict=True))
        pairs = sorted(pairs, key=lambda pair: -pair[1])[: options["topk"]]
        line = [0.0] * rows
        for place, (row, value) in enumerate(pairs):
            if row < rows:
                line[row] += len(pairs) - place if options["rank"] else value
        lines.append(line)
    return [statistics.median(column) for column in zip(*lines, strict=True)] if lines else [0.0] * rows


def weights(own, other, options, *, rows, own_factor, other_factor, own_harm, other_harm, tau, low, high):
    """One side's weights: S = a OWN - b OTHER, less the harmful lists where they count."""

    def score(queries, kind):
        return scores(queries, kind, rows, options)

    total = [
        own_factor * a - other_factor * b for a, b in zip(score(own, "helpful"), score(other, "helpful"), strict=True)
    ]
    if options["use_harmful"]:
        harm = zip(score(own, "harmful"), score(other, "harmful"), strict=True)
        total = [value - (own_harm * a + other_harm * b) for value, (a, b) in zip(total, harm, strict=True)]
    z = scaled(total) if max(total) > min(total) else [0.0] * rows
    raw = [math.exp(max(math.log(low), min(math.log(high), value / tau))) for value in z]
    mean = sum(raw) / rows
    return [value / mean for value in raw]


def rapidun(ff, fr, rf, rr, n_forget, n_retain, **changes):
    """Forget and retain weights from lists."""
    options = {"topk": 40, "rank": False, "per_test_robust": False, "use_harmful": False, **changes}
    forget = weights(
        ff, fr, options, rows=n_forget, own_factor=options.get("alpha", 1.0), other_factor=options.get("beta", 1.0),
        own_harm=options.get("alpha_harm", 1.0), other_harm=options.get("beta_harm", 1.0), tau=0.7, low=0.2, high=3.0,
    )  # fmt: skip
    retain = weights(
        rr, rf, options, rows=n_retain, own_factor=options.get("gamma", 1.0), other_factor=options.get("delta", 1.0),
        own_harm=options.get("gamma_harm", 1.0), other_harm=options.get("delta_harm", 1.0), tau=1.2, low=0.2, high=3.0,
    )  # fmt: skip
    return forget, retain
