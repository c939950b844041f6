"""A notebook shows the pages of hits and of an evaluation, in a frame that can do nothing."""

import html
import re

from tests.finding.planted import index_of, planted_rows
from unweave.report.notebook import framed

FRAME = re.compile(r'<iframe sandbox srcdoc="([^"]*)" style="[^"]*" title="unweave"></iframe>')


def test_a_frame_holds_a_page_and_nothing_of_it_is_the_notebooks():
    page = '<p title="a">"\'<script>alert(1)</script>&amp;</p>'
    found = FRAME.fullmatch(framed(page))
    assert html.unescape(found[1]) == page
    assert "<" not in found[1]


def test_hits_show_their_page(tmp_path):
    hits = index_of(planted_rows(planted=4, others=20)).attribute("what is", completion='teapots "><b> moon', top_k=2)
    inside = html.unescape(FRAME.fullmatch(hits._repr_html_())[1])
    assert inside == hits.save_html(tmp_path / "page.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;" in inside
