"""Every value on a page is shown and escaped, by the one environment that makes all pages."""

import pytest
from markupsafe import Markup

from unweave.report.pages import environment

PAGE = "<p title=\"{{ value }}\">{{ value }}{% for one in values %}{{ one|join(', ') }}{% endfor %}</p>{{ figure }}"


@pytest.mark.parametrize("hidden", ["\x1b", "\x9b", "\u202e", "\u2028", "\ud800", "\u200b", "\U000e0041"])
def test_no_hidden_character_reaches_a_page(hidden):
    value = f'a{hidden}"<b>'
    page = environment().from_string(PAGE).render(value=value, values=[[value]], figure=Markup("<svg></svg>"))
    shown = f"a⟨U+{ord(hidden):04X}⟩&#34;&lt;b&gt;"
    assert page == f'<p title="{shown}">{shown}{shown}</p><svg></svg>'


def test_numbers_and_figures_stay():
    page = environment().from_string("{{ 1.5 }} {{ none }} {{ [1] }} {{ figure }}").render(figure=Markup("<b>\t</b>"))
    assert page == "1.5 None [1] <b>\t</b>"
