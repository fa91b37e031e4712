"""An asciinema cast as an animated SVG, for pages that show no player: `python -m tools.cast docs/images/*.cast`.

Only what our own recordings have: whole lines, one colour each. Without animation the picture shows the last frame.
"""

from __future__ import annotations

import json
import re
import sys
from html import escape
from pathlib import Path

LINE_PX, CHARACTER_PX, MARGIN_PX = 24, 9.7, 18
HOLD_S = 8.0
"""How long the last frame stays before the recording starts again."""
COLOURS = {"33": "#f0a830", "32": "#7fd6a4", "0": "#e6e6e6"}
_LINE = re.compile("\x1b\\[(\\d+)m(.*?)\x1b\\[0m\r\n", re.DOTALL)


def svg(cast: str) -> str:
    """The picture of a cast (version 2)."""
    head, *events = [json.loads(line) for line in cast.splitlines()]
    lines = [(at, *match.groups()) for at, _, text in events for match in _LINE.finditer(text)]
    width = round(max(len(text) for _, _, text in lines) * CHARACTER_PX + 2 * MARGIN_PX)
    height = len(lines) * LINE_PX + 2 * MARGIN_PX
    total_s = lines[-1][0] + HOLD_S
    rules, texts = [], []
    for number, (at, colour, text) in enumerate(lines):
        shown = 100 * at / total_s
        rules.append(f"@keyframes l{number}{{0%,{shown:.2f}%{{opacity:0}}{shown + 0.01:.2f}%,100%{{opacity:1}}}}")
        y = MARGIN_PX + (number + 0.75) * LINE_PX
        texts.append(
            f'<text x="{MARGIN_PX}" y="{y:g}" fill="{COLOURS[colour]}" style="animation:l{number} {total_s:.1f}s infinite">'
            f"{escape(text)}</text>"
        )
    style = "text{font:16px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;white-space:pre}"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">',
            f"<title>{escape(head['title'])}</title>",
            f"<style>{style}{''.join(rules)}</style>",
            f'<rect width="{width}" height="{height}" rx="8" fill="#1e2430"/>',
            *texts,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        path.with_suffix(".svg").write_text(svg(path.read_text()))
