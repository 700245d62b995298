"""Writing a picture: a page that works offline, its data as JSON, and PNG and SVG by a browser."""

import html
import json
import logging
import re
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import plotly.io
import plotly.offline

from ctsm_workbench.pictures.house import fill

log = logging.getLogger(__name__)


def write_figure(
    figure: go.Figure, data: dict, out: Path, name: str, extra: str = ""
) -> list[Path]:
    """Write a figure as a page, its data as JSON, and PNG and SVG; returns these files.

    Without kaleido or Chromium only HTML and JSON are written, and one logged sentence says so.
    The page reads `plotly.min.js` beside it, which all pages of a folder share. `data` is what the
    figure was drawn from, `extra` HTML below the picture in the page.
    """
    document = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    texts = {f"{name}.html": page(figure, name, extra), f"{name}.json": document}
    out.mkdir(parents=True, exist_ok=True)
    # A library that is there may be of an older plotly.
    for file, text in ({"plotly.min.js": plotly.offline.get_plotlyjs()} | texts).items():
        (out / file).write_text(text, encoding="utf-8")
    picture: dict[str, Any] = figure.to_dict()
    picture["layout"].pop("updatemenus", None)  # nobody can press a button of a still picture
    return [*(out / file for file in texts), *write_stills(picture, out, name, ("png", "svg"))]


def page(figure: go.Figure, name: str, extra: str = "") -> str:
    """A page that needs `plotly.min.js` beside it; the same figure gives the same bytes."""
    drawn: dict[str, Any] = figure.to_dict()
    drawn["layout"].pop("width", None)  # a narrow window gets a narrow picture
    usual = {"full_html": False, "include_plotlyjs": "directory", "validate": False}
    picture = plotly.io.to_html(drawn, {"displaylogo": False}, div_id=name, **usual)
    title = html.escape(figure.layout.title.text or name)
    return fill("page.html", title=title, picture=picture, extra=extra)


def write_stills(picture: dict, out: Path, name: str, endings: tuple[str, ...]) -> list[Path]:
    """Write a plotly figure, given as a dictionary, as PNG (twice the size) or SVG."""
    written: list[Path] = []
    size = {key: picture["layout"][key] for key in ("width", "height")}
    try:
        import kaleido

        for ending in endings:
            options = size | {"format": ending, "scale": 2 if ending == "png" else 1}
            # MathJax would be fetched from the network. Kaleido itself looks at BROWSER_PATH.
            image = kaleido.calc_fig_sync(picture, options, kopts={"mathjax": False, "timeout": 60})
            if ending == "svg":  # plotly.js draws the six digits in these names at random
                image = re.sub(rb"\b(topdefs-|defs-|clip|legend|trace)[0-9a-f]{6}", rb"\1", image)
            written.append(out / f"{name}.{ending}")
            written[-1].write_bytes(image)
    except Exception as error:  # whatever a browser does wrong, the picture itself is there
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        kinds = " and ".join(ending.upper() for ending in endings)
        needs = "which need kaleido and Chromium (BROWSER_PATH may name it)"
        log.warning("%s has no new %s, %s: %s", name, kinds, needs, reason)
    return written
