"""The house style of all pictures, read from `style.toml`; notes on a picture, and its files."""

import html
import json
import logging
import re
import tomllib
from pathlib import Path
from string import Template
from typing import Any

import plotly.graph_objects as go
import plotly.io
import plotly.offline

log = logging.getLogger(__name__)

HERE = Path(__file__).parent
COLOURS: dict[str, str] = tomllib.loads((HERE / "style.toml").read_text("utf-8"))["colours"]


def fill(file: str, **values: str) -> str:
    """The text of a file of this folder, with values and colours in place of their "$names"."""
    return Template((HERE / file).read_text(encoding="utf-8")).substitute(COLOURS, **values)


STYLE = tomllib.loads(fill("style.toml"))
BLUE = COLOURS["blue"]
ORANGE = COLOURS["orange"]
INK = COLOURS["ink"]


def template() -> dict:
    """The house template: fonts, colours and transparent paper, as `layout.template` takes it."""
    return dict(STYLE["template"])


def finish(figure: go.Figure, picture: str, title: str = "", inner: float = 0) -> go.Figure:
    """Give a figure the house template, its layout of `style.toml` and the width of all pictures.

    `picture` is a table of `style.toml`; `inner` pixels lie between the margins, if data decide it.
    """
    figure.update_layout(template=template(), width=980, **STYLE[picture]["layout"])
    if inner:
        figure.layout.height = inner + figure.layout.margin.t + figure.layout.margin.b
    if title:
        figure.layout.title = {"text": title, "y": 1 - 16 / figure.layout.height, "yanchor": "top"}
    return figure


def note(
    figure: go.Figure, text: str, x: float = 0, y: Any = 0, size: int = 13, **place: Any
) -> go.Figure:
    """Add text above a point, in shares of the picture; `place` changes any option of plotly's."""
    look = STYLE["shared"]["note"] | {"font": {"size": size}} | place
    return figure.add_annotation(text=text, x=x, y=y, **look)


def data_line(figure: go.Figure, analysis: dict, choice: str) -> go.Figure:
    """Add the last line of a finished picture: `choice`, the data and the vectors."""
    parts = [choice]
    if description := analysis.get("description"):
        vectors = description["vectors"]
        kind = "" if vectors["note"] == vectors["name"] else f" ({vectors['note']})"
        parts += [f"data: {corpus(description)}", f"vectors: {vectors['name']}{kind}"]
    return _last_line(figure, parts)


def run_line(figure: go.Figure, run: dict, *remarks: str) -> go.Figure:
    """Add the last line of a picture: a run's preset, its length, its data, and remarks."""
    trained = f"preset {run['preset']}, {run['iterations']:,} iterations on {corpus(run)}"
    return _last_line(figure, [trained, *remarks])


def corpus(description: dict) -> str:
    """The name of the dialogues: the sample is never taken for the real ones."""
    return "the invented sample" if description["data"] == "sample" else "EmpatheticDialogues"


def _last_line(figure: go.Figure, parts: list[str]) -> go.Figure:
    margin = figure.layout.margin
    text = html.escape("; ".join(parts), quote=False)
    shift = {"xshift": max(0, 10 - margin.l), "yshift": 26 - margin.b}
    return note(figure, text, size=12, yanchor="top", **shift)


def menu(picture: str, method: str, choices: dict[str, list]) -> list[dict]:
    """A row of buttons for the live picture: the arguments of plotly's `method` by button."""
    buttons = [{"label": label, "method": method, "args": args} for label, args in choices.items()]
    return [STYLE["shared"]["buttons"] | STYLE[picture]["menu"] | {"buttons": buttons}]


def interval(values: list[float], rows: list[dict], color: str) -> dict:
    """Horizontal error bars from each value to the bounds `low` and `high` of its row, if any."""
    pairs = list(zip(values, rows, strict=True))
    above = [0.0 if row["high"] is None else round(row["high"] - value, 4) for value, row in pairs]
    below = [0.0 if row["low"] is None else round(value - row["low"], 4) for value, row in pairs]
    return STYLE["shared"]["interval"] | {"array": above, "arrayminus": below, "color": color}


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
    library = out / "plotly.min.js"
    newest = plotly.offline.get_plotlyjs().encode()
    if not library.is_file() or library.stat().st_size != len(newest):  # none, or an older one
        library.write_bytes(newest)
    for file, text in texts.items():
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
