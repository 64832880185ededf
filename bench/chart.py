"""A horizontal bar chart on a log scale as SVG, for light and dark pages, from text alone."""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple
from xml.sax.saxutils import escape

__all__ = ["Bar", "draw"]

WIDTH: Final = 880
LABEL_LETTER: Final = 8.2
NOTE_LETTER: Final = 6.9
"""Widths of letters, as the wider of the usual typefaces have them."""
RIGHT: Final = 90
"""Room for the figure behind the longest bar."""
TOP: Final = 84
ROW: Final = 46
THICK: Final = 20
BOTTOM: Final = 44

QUOTES: Final = {'"': "&quot;"}
SVG: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
    'width="{width}" height="{height}" role="img" aria-label="{title}">'
)

# The picture brings its own background, so it can be read on a page of either kind.
STYLE: Final = """\
text { font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", Helvetica, sans-serif; }
.card { fill: #ffffff; stroke: #d0d7de; }
.title { fill: #1f2328; font-size: 17px; font-weight: 600; }
.label, .value { fill: #1f2328; font-size: 14px; }
.value { font-weight: 600; }
.note { fill: #59636e; font-size: 12px; }
.grid { stroke: #d8dee4; }
.origin { stroke: #59636e; }
.bar { fill: #1f6feb; }
.target { stroke: #bc4c00; stroke-width: 2.5; }
@media (prefers-color-scheme: dark) {
  .card { fill: #0d1117; stroke: #3d444d; }
  .title, .label, .value { fill: #f0f6fc; }
  .note { fill: #9198a1; }
  .grid { stroke: #2a313c; }
  .origin { stroke: #9198a1; }
  .bar { fill: #4493f8; }
  .target { stroke: #f0883e; }
}"""


class Bar(NamedTuple):
    """One bar: what was measured, how many times, a smaller line below, and what was aimed at."""

    label: str
    value: float
    shown: str
    note: str = ""
    target: float | None = None


def draw(title: str, subtitle: str, bars: Sequence[Bar]) -> str:
    """Return the picture. Bars begin at 1; one below 1 points to the left."""
    values = [value for bar in bars for value in (bar.value, bar.target) if value]
    scale = _Scale.over(values, _left(bars))
    bottom = TOP + ROW * len(bars)
    height = bottom + BOTTOM
    described = "; ".join(f"{bar.label}: {bar.shown}" for bar in bars)
    parts = [
        SVG.format(width=WIDTH, height=height, title=escape(title, QUOTES)),
        f"<title>{escape(title)}</title>",
        f"<desc>{escape(described)}</desc>",
        f"<style>{STYLE}</style>",
        _rectangle("card", 0.5, 0.5, WIDTH - 1, height - 1),
        _text(24, 34, "title", title),
        _text(24, 56, "note", subtitle),
        *_axis(scale, bottom),
        *(part for place, bar in enumerate(bars) for part in _bar(scale, place, bar)),
    ]
    if any(bar.target for bar in bars):
        parts += _legend()
    return "\n".join([*parts, "</svg>", ""])


class _Scale(NamedTuple):
    """A log scale over whole decades, and where it begins, behind the labels."""

    left: int
    low: int
    high: int

    @classmethod
    def over(cls, values: Sequence[float], left: int) -> "_Scale":
        exponents = [math.log10(value) for value in values]
        low = math.floor(min([0.0, *exponents]))
        return cls(left, low, max(low + 1, math.ceil(max([1.0, *exponents]))))

    def place(self, value: float) -> float:
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return self.left + share * (WIDTH - self.left - RIGHT)

    @property
    def ticks(self) -> list[float]:
        return [10.0**exponent for exponent in range(self.low, self.high + 1)]


def _left(bars: Sequence[Bar]) -> int:
    letters = [len(bar.label) * LABEL_LETTER for bar in bars]
    notes = [len(bar.note) * NOTE_LETTER for bar in bars]
    return 42 + round(max([0, *letters, *notes]))


def _axis(scale: _Scale, bottom: int) -> list[str]:
    parts = []
    for tick in scale.ticks:
        x = scale.place(tick)
        kind = "origin" if tick == 1 else "grid"
        parts.append(_line(x, TOP - 6, bottom, kind))
        parts.append(_text(x, bottom + 20, "note", f"{tick:,.4g}×", "middle"))
    return parts


def _bar(scale: _Scale, place: int, bar: Bar) -> list[str]:
    top = TOP + ROW * place
    middle = top + ROW / 2
    start, end = sorted((scale.place(1), scale.place(bar.value)))
    parts = [
        _text(scale.left - 18, middle - (2 if bar.note else -5), "label", bar.label, "end"),
        _rectangle("bar", start, middle - THICK / 2, max(end - start, 1), THICK),
    ]
    if bar.note:
        parts.append(_text(scale.left - 18, middle + 15, "note", bar.note, "end"))
    behind = end
    if bar.target:
        x = scale.place(bar.target)
        parts.append(_line(x, middle - THICK / 2 - 5, middle + THICK / 2 + 5, "target"))
        # The figure does not lie on the mark.
        if end - 4 < x < end + 70:
            behind = x
    parts.append(_text(behind + 9, middle + 5, "value", bar.shown))
    return parts


def _legend() -> list[str]:
    x = WIDTH - 24
    return [_text(x, 56, "note", "target", "end"), _line(x - 46, 45, 59, "target")]


def _text(x: float, y: float, kind: str, text: str, anchor: str = "start") -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
    )


def _line(x: float, top: float, bottom: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x:.1f}" y1="{top:.1f}" x2="{x:.1f}" y2="{bottom:.1f}"/>'


def _rectangle(kind: str, x: float, y: float, width: float, height: float) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect class="{kind}" {place} rx="2"/>'
