"""A plot as SVG inside of a page: needs nothing else, runs nothing, and every text in it is inert."""

from __future__ import annotations

from typing import Final

from secops.output.plot import Plot, clock
from secops.output.safe import html_text
from secops.output.severity import level as severity_level

_WIDTH, _HEIGHT = 760, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 150, 44, 64
_INNER_WIDTH: Final = _WIDTH - _LEFT - _RIGHT
_INNER_HEIGHT: Final = _HEIGHT - _TOP - _BOTTOM
_APART: Final = 14.0
_LINE: Final = 110
_COLOURS: Final = {
    "critical": "var(--critical, #b00020)",
    "high": "var(--high, #c62828)",
    "medium": "var(--medium, #8a5a00)",
    "low": "var(--low, #00687a)",
    "": "currentColor",
}


def svg(plot: Plot) -> str:
    """Draw a plot as one ``svg`` element.

    Colours are the page's: those of its text, and of its severities where it has them.
    """
    told = html_text(f"{plot.verdict.upper()}: {plot.summary}" if plot.verdict else plot.title)
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="system-ui, sans-serif" font-size="12" '
        f'fill="currentColor" style="max-width:100%;height:auto">'
    )
    parts = [
        opening,
        f"<title>{html_text(plot.title)}</title>",
        f"<desc>{told}</desc>",
        _text(_LEFT, 20, plot.title, size=15, weight=600),
        *_axis(plot),
        *_levels(plot),
        *_dots(plot),
        *_verdict(plot),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _y(plot: Plot, value: float) -> float:
    return _TOP + _INNER_HEIGHT * (1 - min(max(value / plot.top, 0.0), 1.0))


def _axis(plot: Plot) -> list[str]:
    parts = []
    for value in plot.ticks(4):
        y = _y(plot, value)
        parts.append(
            f'<line x1="{_LEFT}" x2="{_LEFT + _INNER_WIDTH}" y1="{y:.1f}" y2="{y:.1f}" '
            f'stroke="currentColor" stroke-opacity="0.12"/>'
        )
        parts.append(_text(_LEFT - 8, y + 4, plot.written(value), anchor="end"))
    if plot.dots:
        first, last = plot.dots[0].at, plot.dots[-1].at
        moments = [first] if first == last else [first, first + (last - first) / 2, last]
        anchors = ("start", "middle", "end")
        for number, label in enumerate(clock(moments)):
            x = _LEFT + _INNER_WIDTH * number / max(len(moments) - 1, 1)
            zone = " UTC" if number == len(moments) - 1 else ""
            parts.append(_text(x, _TOP + _INNER_HEIGHT + 18, label + zone, anchor=anchors[number]))
    return parts


def _levels(plot: Plot) -> list[str]:
    parts = []
    written = -1e9
    # From the top down, and no label on another.
    for level in sorted(plot.levels, key=lambda each: -each.value):
        y = _y(plot, level.value)
        dash = "" if level.strict else ' stroke-dasharray="5 4"'
        colour = _COLOURS["high"] if level.strict else "currentColor"
        parts.append(
            f'<line x1="{_LEFT}" x2="{_LEFT + _INNER_WIDTH}" y1="{y:.1f}" y2="{y:.1f}" '
            f'stroke="{colour}" stroke-opacity="0.8"{dash}/>'
        )
        written = max(y + 4, written + _APART)
        label = f"{level.label} {plot.written(level.value)}"
        parts.append(_text(_LEFT + _INNER_WIDTH + 8, written, label))
    return parts


def _dots(plot: Plot) -> list[str]:
    found = plot.drawn
    if not found:
        middle = (_LEFT + _INNER_WIDTH / 2, _TOP + _INNER_HEIGHT / 2)
        return [_text(*middle, "Nothing was measured.", anchor="middle")]
    first, last = plot.dots[0].at, plot.dots[-1].at
    span = (last - first).total_seconds() or 1.0
    places = [
        (_LEFT + _INNER_WIDTH * (dot.at - first).total_seconds() / span, _y(plot, value), dot.full)
        for dot, value in found
    ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in places)
    parts = [f'<polyline points="{path}" fill="none" stroke="currentColor" stroke-opacity="0.35"/>']
    for (x, y, full), (dot, value) in zip(places, found, strict=True):
        fill = "currentColor" if full else "var(--paper, #fff)"
        when = f"{dot.at:%Y-%m-%d %H:%M:%S}"
        note = html_text(f"{when}: {plot.written(value)}" + ("" if full else f" ({plot.hollow})"))
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{fill}" stroke="currentColor">'
            f"<title>{note}</title></circle>"
        )
    return parts


def _verdict(plot: Plot) -> list[str]:
    if not plot.verdict:
        return []
    words = f"{plot.verdict.upper()}: {plot.summary}".split()
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) >= _LINE:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    colour = _COLOURS[severity_level(plot.severity)]
    return [
        _text(_LEFT, _HEIGHT - 24 + 15 * number, line, weight=600, colour=colour)
        for number, line in enumerate(lines[:2])
    ]


def _text(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    size: int = 12,
    weight: int = 400,
    colour: str = "currentColor",
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
        f'font-weight="{weight}" fill="{colour}">{html_text(text)}</text>'
    )
