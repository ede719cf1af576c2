"""Every figure has a twin in text, says how its numbers were obtained, and escapes what it shows."""

import json
from html.parser import HTMLParser

import pandas as pd
import pytest

from sparse_mla.errors import InputError
from sparse_mla.plot.figure import Figure
from sparse_mla.plot.style import CARD, INK, KINDS, SERIES, canvas


def drawn(**change: object) -> Figure:
    with canvas(3, 2) as (fig, axis):
        axis.plot([1, 2, 4])
    given = {"title": "A <b>title", "finding": "It rises & rises.", "kind": "emulated", "source": "base kernel"}
    return Figure(fig, **(given | change), table=pd.DataFrame({"x": [1, 2], "<s>": [3.5, 4]}))  # type: ignore[arg-type]


def test_mime_bundle_has_picture_html_and_text() -> None:
    data, metadata = drawn()._repr_mimebundle_()
    assert set(data) == {"text/html", "text/plain", "image/png"}
    assert metadata["image/png"]["alt"] == "A <b>title. It rises & rises."
    json.dumps(data)
    for part in ("A <b>title", "emulated: base kernel", "It rises & rises.", "3.5"):
        assert part in data["text/plain"]


def test_html_is_a_figure_with_alt_text_and_nothing_unescaped() -> None:
    seen: list[tuple[str, dict[str, str | None]]] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            seen.append((tag, dict(attrs)))

    Reader().feed(drawn(source="a <i>source", finding="It <u>rises.")._repr_html_())
    # One b round the title and one in the badge; none out of the title, no i, u or s out of source, finding and table.
    assert sorted(tag for tag, _ in seen) == ["b", "b", "br", "details", "figcaption", "figure", "img", "pre", "span", "summary"]
    image = dict(seen)["img"]
    assert image["alt"] == "A <b>title. It <u>rises."
    assert str(image["src"]).startswith("data:image/png;base64,")


def test_the_same_figure_has_the_same_bytes() -> None:
    assert drawn().png == drawn().png


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_a_badge_that_reads_without_colour(kind: str) -> None:
    assert f"<b>{kind}</b>" in drawn(kind=kind)._repr_html_()


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(InputError, match="measured, emulated, modelled, published"):
        drawn(kind="guessed")


def luminance(colour: str) -> float:
    """Relative luminance by WCAG 2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_text_and_marks_stand_out() -> None:
    assert contrast(INK, CARD) > 7
    for look in KINDS.values():
        assert contrast(look.ink, look.paper) > 4.5
    for colour in SERIES[:3]:
        assert contrast(colour, CARD) > 3
