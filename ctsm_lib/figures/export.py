"""Writing a picture: HTML that works offline, the JSON it was drawn from, PNG and SVG where there is a browser."""

from __future__ import annotations

import html
import json
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import plotly.graph_objects as go

log = logging.getLogger(__name__)


def write_figure(figure: go.Figure, data: dict, out: Path, name: str) -> list[Path]:
    """Write a figure as HTML that works offline, the JSON it was drawn from, and PNG and SVG where that is possible.

    Args:
        data: what the figure was drawn from.
        out, name: folder, made when missing, and the files' name without ending.

    Returns:
        What was written. Without kaleido or Chromium that is HTML and JSON, and one logged sentence says so.
    """
    document = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for ending, text in (("html", _page(figure, name)), ("json", document)):
        written.append(out / f"{name}.{ending}")
        written[-1].write_text(text, encoding="utf-8")
    return written + _stills(figure, out, name)


def _page(figure: go.Figure, name: str) -> str:
    # A fixed id keeps the file the same byte for byte; `color-scheme` lets the transparent picture lie on a dark page.
    body = figure.to_html(full_html=False, include_plotlyjs=True, div_id=name, config={"displaylogo": False})
    title = html.escape(figure.layout.title.text or name)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width"><style>:root{color-scheme:light dark}</style></head>'
        f"<body>\n{body}\n</body></html>\n"
    )


def _stills(figure: go.Figure, out: Path, name: str) -> list[Path]:
    written: list[Path] = []
    size = {"width": figure.layout.width, "height": figure.layout.height}
    try:
        import kaleido

        for ending, scale in (("png", 2), ("svg", 1)):
            options = size | {"format": ending, "scale": scale}
            # MathJax would be fetched from the network. Kaleido itself looks at BROWSER_PATH for the browser.
            image = kaleido.calc_fig_sync(figure.to_dict(), options, kopts={"mathjax": False, "timeout": 60})
            if ending == "svg":  # plotly.js draws the six digits in these names at random
                image = re.sub(rb"\b(topdefs-|defs-|clip|legend|trace)[0-9a-f]{6}", rb"\1", image)
            (out / f"{name}.{ending}").write_bytes(image)
            written.append(out / f"{name}.{ending}")
    except Exception as error:  # whatever a browser does wrong, the picture itself is there
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        log.warning("%s has no new PNG and SVG, which need kaleido and Chromium: %s", name, reason)
    return written
