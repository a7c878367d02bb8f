import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from capriccio.errors import ShapeError, UsageError
from capriccio.rendering.curves import Curve, Plot
from capriccio.rendering.report import Command, DataTable, Figure, Figures, Report, Section, render_report, save_report

HOSTILE = '<script>alert("x")</script>\x00&\'"> <img src=http://example.org/x onerror=x>'


def whole_report(text="hello", image=None):
    image = image or Image.new("RGB", (64, 48), (10, 20, 30))
    return Report(
        title=text, subtitle=text, cover=Figure(image=image, caption=text), facts=[(text, text)],
        sections=[
            Section(heading=text, blocks=[
                text, Figures(figures=[Figure(image=image, caption=text)]), Command(lines=[text, text]),
                DataTable(header=[text, "n"], rows=[[text, "1,000.5"], ["b", "−2 %"]], caption=text),
                Plot(curves=[Curve(name=text, points=[(0, 1), (1, 2)])], x_label=text, y_label=text, caption=text),
            ]),
            Section(heading="second", blocks=[]),
        ],
    )  # fmt: skip


class Elements(HTMLParser):
    """All start tags with their attributes, and whether every element is closed in order."""

    VOID = ("meta", "img", "line", "circle", "polyline")

    def __init__(self, document):
        super().__init__()
        self.found, self.open = [], []
        self.feed(document)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_page_is_whole_html_and_loads_nothing():
    elements = Elements(render_report(whole_report()))
    assert elements.open == []
    tags = [tag for tag, _ in elements.found]
    assert not {"script", "link", "iframe", "object", "form"} & set(tags)
    for tag, attributes in elements.found:
        for name, value in attributes.items():
            if name in ("src", "href"):
                assert value.startswith(("data:image/", "#section-")), (tag, value)
    policy = next(a["content"] for t, a in elements.found if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:")
    assert "url(" not in render_report(whole_report())


def test_every_text_is_escaped():
    tame, hostile = Elements(render_report(whole_report())), Elements(render_report(whole_report(HOSTILE)))
    assert [tag for tag, _ in tame.found] == [tag for tag, _ in hostile.found]
    assert [sorted(a) for _, a in tame.found] == [sorted(a) for _, a in hostile.found]
    assert "\x00" not in render_report(whole_report(HOSTILE))


def test_every_picture_says_in_words_what_it_shows():
    for tag, attributes in Elements(render_report(whole_report("a caption"))).found:
        if tag == "img":
            assert attributes["alt"] == "a caption"
        if tag == "svg":
            assert attributes["aria-label"] == "a caption"


def test_small_pictures_are_embedded_pixel_for_pixel():
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    document = render_report(whole_report(image=Image.fromarray(pixels)))
    data = base64.b64decode(re.search(r'src="data:image/png;base64,([^"]+)"', document)[1])
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels)


def test_files_are_embedded_as_they_are():
    file = io.BytesIO()
    frames = [Image.new("RGB", (32, 32), (i * 20, 0, 0)) for i in range(4)]
    frames[0].save(file, format="WEBP", save_all=True, append_images=frames[1:])
    document = render_report(
        Report(title="t", sections=[Section(heading="h", blocks=[Figures(figures=[Figure(image=file.getvalue())])])])
    )
    assert base64.b64decode(re.search(r"data:image/webp;base64,([^\"]+)", document)[1]) == file.getvalue()


def test_small_pictures_are_shown_enlarged_by_a_whole_factor():
    def width(figure):
        page = Report(title="t", sections=[Section(heading="h", blocks=[Figures(figures=[figure])])])
        return re.search(r'<figure style="width: (\d+)px"', render_report(page))[1]

    assert width(Figure(image=Image.new("L", (64, 64)))) == "192"
    assert width(Figure(image=Image.new("L", (64, 64)), scale=2)) == "128"
    assert width(Figure(image=Image.new("L", (256, 256)))) == "256"
    assert width(Figure(image=Image.new("L", (3000, 300)))) == "992"


def test_columns_of_numbers_are_set_flush_right():
    document = render_report(whole_report())
    assert document.count('<td class="figure-number">') == 2
    assert '<td class="figure-number">−2 %</td>' in document


def test_empty_lines_part_paragraphs():
    page = Report(title="t", sections=[Section(heading="h", blocks=["one\nstill one\n\n\n two "])])
    assert render_report(page).count("<p>") == 3  # two and the footer's


def test_bytes_that_are_no_picture_and_ragged_tables_are_refused():
    with pytest.raises(UsageError, match="no PNG, JPEG, WebP or AVIF"):
        render_report(Report(title="t", cover=Figure(image=b"<svg onload=alert(1)>")))
    with pytest.raises(ShapeError, match="2 columns, but a row has 1"):
        DataTable(header=["a", "b"], rows=[["1"]])


def test_the_page_is_saved_whole_as_utf8(tmp_path):
    path = save_report(tmp_path / "new" / "report.html", whole_report("№ 48 — «ψ» \ud800"))
    assert "№ 48 — «ψ»" in path.read_text(encoding="utf-8")
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
