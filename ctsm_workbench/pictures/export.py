"""Writing a picture: HTML that works offline, the JSON it was drawn from, PNG and SVG where there is a browser."""

from __future__ import annotations

import base64
import gzip
import html
import json
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import plotly.graph_objects as go

log = logging.getLogger(__name__)

PARTS = Path(__file__).parent / "plotly_js"
# Traces that a partial plotly.js can draw; see the README there. Anything else takes the whole library.
BUNDLES = {"cartesian": {"scatter", "bar", "heatmap"}, "gl3d": {"scatter3d", "mesh3d"}}
# The library is unpacked by the browser: 0.7 MB instead of 4.8. `color-scheme` lets the transparent picture lie on a
# dark page; a narrow window gets a narrow picture.
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><meta name="viewport" content="width=device-width">
<style>:root{{color-scheme:light dark}}body{{font:15px/1.5 {font};max-width:980px;margin:8px}}</style></head>
<body>
<div id="{name}">{title}: the picture is drawn by a browser that runs scripts (2023 or newer).</div>
{extra}
<script type="application/json" id="{name}-figure">{figure}</script>
<script type="text/plain" id="plotly-js">{library}</script>
<script>
(async () => {{
  const packed = Uint8Array.from(atob(document.getElementById("plotly-js").textContent), c => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
  const figure = JSON.parse(document.getElementById("{name}-figure").textContent);
  const place = document.getElementById("{name}");
  place.textContent = "";
  figure.layout.width = Math.max(360, Math.min(figure.layout.width || 980, document.documentElement.clientWidth - 24));
  await Plotly.newPlot(place, figure.data, figure.layout, {{displaylogo: false}});
  place.dispatchEvent(new Event("drawn"));
}})();
</script>
</body></html>
"""


def write_figure(
    figure: go.Figure, data: dict, out: Path, name: str, extra: str = ""
) -> list[Path]:
    """Write a figure as HTML that works offline, the JSON it was drawn from, and PNG and SVG where that is possible.

    Args:
        data: what the figure was drawn from.
        out, name: folder, made when missing, and the files' name without ending.
        extra: HTML below the picture, in the page only. Its script may wait for the event `drawn` of the picture's
            element, whose id is `name`.

    Returns:
        What was written. Without kaleido or Chromium that is HTML and JSON, and one logged sentence says so.
    """
    document = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for ending, text in (("html", page(figure, name, extra)), ("json", document)):
        written.append(out / f"{name}.{ending}")
        written[-1].write_text(text, encoding="utf-8")
    return written + _stills(figure, out, name)


def page(figure: go.Figure, name: str, extra: str = "") -> str:
    """The figure as one HTML page that needs no other file; the same figure gives the same bytes."""
    import plotly.io

    from ctsm_workbench.pictures.house import FONT

    description = plotly.io.to_json(figure, validate=False, engine="json")
    return _PAGE.format(
        title=html.escape(figure.layout.title.text or name),
        font=FONT,
        name=name,
        extra=extra,
        figure=description.replace("</", "<\\/"),  # a "</script>" in a text must not end the script
        library=base64.b64encode(_library(figure)).decode(),
    )


def _library(figure: go.Figure) -> bytes:
    """The smallest plotly.js that draws this figure, compressed."""
    types = {trace.type for trace in figure.data}
    for name, known in BUNDLES.items():
        if types <= known:
            return (PARTS / f"plotly-{name}.min.js.gz").read_bytes()
    import plotly.offline

    return gzip.compress(plotly.offline.get_plotlyjs().encode(), mtime=0)


def _stills(figure: go.Figure, out: Path, name: str) -> list[Path]:
    written: list[Path] = []
    size = {"width": figure.layout.width, "height": figure.layout.height}
    picture: dict[str, Any] = figure.to_dict()
    picture["layout"].pop("updatemenus", None)  # nobody can press a button of a still picture
    try:
        import kaleido

        for ending, scale in (("png", 2), ("svg", 1)):
            options = size | {"format": ending, "scale": scale}
            # MathJax would be fetched from the network. Kaleido itself looks at BROWSER_PATH for the browser.
            image = kaleido.calc_fig_sync(picture, options, kopts={"mathjax": False, "timeout": 60})
            if ending == "svg":  # plotly.js draws the six digits in these names at random
                image = re.sub(rb"\b(topdefs-|defs-|clip|legend|trace)[0-9a-f]{6}", rb"\1", image)
            (out / f"{name}.{ending}").write_bytes(image)
            written.append(out / f"{name}.{ending}")
    except Exception as error:  # whatever a browser does wrong, the picture itself is there
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        log.warning("%s has no new PNG and SVG, which need kaleido and Chromium: %s", name, reason)
    return written
