"""Names in plots are written as they are: no formula, no crash, nothing hidden, no plot squeezed by them."""

import inspect
import re
import warnings
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from unweave.report import plots, value_plots

ESTIMATE = {"value": 0.5, "low": 0.4, "high": 0.6, "count": 2}
AROUND = {"before": 0.4, "before_interval": (0.3, 0.5), "after": 0.2, "after_interval": (0.1, 0.3)}
NAMES = [
    "price $5 \\frac $ x",
    "$\\undefined{$",
    "$a$ $b$",
    "_hidden",
    "\\$ \\",
    "<b>&amp;</b>",
    "\x1b[2J\u202e\x9b\u2028\ud800",
    "two\nlines",
    "日本語 שלום 😀",
    "x" * 5000,
    "",
    "%s {0}",
]
PLOTS = {
    name: own
    for module in (plots, value_plots)
    for name, own in inspect.getmembers(module, inspect.isfunction)
    if own.__module__ == module.__name__
}


def calls(name):
    """Each plot, with the name wherever a name may stand."""
    measures = {name: SimpleNamespace(title=name, kind="share")}
    entry = {"entry": name, "forget_rows": name, name: ESTIMATE}
    point = {"column": name, "share": 0.1, "rows": 3, "loss": ESTIMATE, "by_seed": [0.5, 0.6]}
    relearned = {source: {"curve": [{"step": 0, "loss_unwanted": ESTIMATE}]} for source in ("forget", "unrelated")}
    return {
        "before_after": ([{"share": True, "label": name, "entry": AROUND}],),
        "precision_recall": ({name: ([0.0, 1.0], [1.0, 0.5])},),
        "weight_histogram": ([0.5, 1.0], [1.0, 2.0]),
        "accuracy_by_task": ({name: {"before": ESTIMATE, "after": ESTIMATE}},),
        "stage_times": ({name: 1.5, "total": 2.0},),
        "relearning": ({name: {"relearn": relearned}},),
        "trade_off": (
            [entry],
            {name: {name: 0.5}},
            {end: {"measure": name, "better": "low"} for end in "xy"},
            measures,
        ),
        "break_even": ([10, 1000], [1.0, 90.0], {name: [1.0, 2.0]}),
        "histogram": ([-1.0, 0.5, 2.0],),
        "scatter": ([1.0, 2.0], [1.0, 3.0], name, name),
        "learning_curves": ([point, {**point, "share": 0.2, "rows": 6}], 0.9),
    }


def drawn(plot, name):
    more = {"label": name} if plot == "histogram" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return PLOTS[plot](*calls(name)[plot], **more)


def test_each_plot_is_tried():
    assert set(PLOTS) == set(calls("a"))


@pytest.mark.parametrize("plot", [name for name in calls("a") if name != "weight_histogram"])
def test_hostile_names_are_drawn_as_text(plot):
    for name in NAMES:
        svg = drawn(plot, name)
        texts = " ".join(
            "".join(one.itertext()) for one in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
        )
        if len(name) < 40 and name.isprintable() and name:
            assert name in texts, (plot, name)
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\u2028\ud800]", svg)


def test_names_squeeze_no_plot():
    widths = [float(re.search(r'width="([\d.]+)pt"', drawn("learning_curves", name))[1]) for name in ("a", "x" * 5000)]
    assert widths[0] == widths[1]


def test_axes_of_powers_keep_their_formulas():
    assert "10" in drawn("break_even", "$")
