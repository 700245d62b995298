"""Make a web book of the solved lessons that works without a network.

Run `make book`, then open `build/book/index.html`.

nbconvert turns each solved notebook into a page. This module adds the parts of a book: a local
copy of plotly.js, formulas as MathML, which browsers can draw by themselves, a list of lessons,
links to the previous and the next page, and a search over all pages.
"""

from __future__ import annotations

import argparse
import html
import json
import re
from pathlib import Path

import nbformat
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbformat import NotebookNode

HERE = Path(__file__).resolve().parent
SOLVED = HERE / "solutions"
PLOTLY = "application/vnd.plotly.v1+json"
MATH = re.compile(
    r"(?<!\\)\$\$(.+?)\$\$|(?<![\\$\w])\$(?!\s)([^$\n]+?)(?<!\s)\$(?![\w$])", re.DOTALL
)
CODE = re.compile(r"(```.*?```|`[^`\n]*`)", re.DOTALL)

STYLE = """
:root {
  color-scheme: light dark; --ink: #24292f; --ground: #fff; --pale: #f3f4f6; --line: #d0d4da;
  --link: #1f6bc8;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #d7dce2; --ground: #0d1117; --pale: #1a2029; --line: #333b46; --link: #6cb0ff;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; color: var(--ink); background: var(--ground);
  font: 16px/1.6 system-ui, "Segoe UI", Arial, sans-serif;
}
a { color: var(--link); }
nav.top {
  position: sticky; top: 0; z-index: 2; display: flex; gap: 1.2em; align-items: center;
  flex-wrap: wrap; padding: .5em 1em; background: var(--pale);
  border-bottom: 1px solid var(--line);
}
nav.top .space { flex: 1; }
main { max-width: 940px; margin: 0 auto; padding: 1em 1em 5em; overflow-wrap: break-word; }
pre {
  overflow-x: auto; padding: .7em .9em; background: var(--pale); border-radius: 6px;
  font-size: 14px; line-height: 1.45;
}
.output pre { background: none; border-left: 3px solid var(--line); border-radius: 0; }
code {
  font-family: ui-monospace, Menlo, Consolas, "Liberation Mono", monospace; font-size: .92em;
}
table { border-collapse: collapse; display: block; overflow-x: auto; margin: 1em 0; }
td, th { border: 1px solid var(--line); padding: .25em .7em; text-align: left; }
blockquote {
  margin: 1em 0; padding: .1em 1em; border-left: 4px solid #c45f0a; background: var(--pale);
}
details {
  margin: .6em 0; padding: .3em .8em; border: 1px solid var(--line); border-radius: 6px;
}
img, svg { max-width: 100%; height: auto; }
.plot { width: 100%; overflow-x: auto; }
math[display="block"] { margin: .8em 0; font-size: 1.1em; overflow-x: auto; }
#found { list-style: none; padding: 0; } #found small { display: block; opacity: .8; }
.k, .kn, .kc, .ow { color: #0a62c4; }
.s1, .s2, .sd, .sa { color: #a04a00; }
.c1 { color: #6a737d; font-style: italic; }
.mi, .mf { color: #7a3ea8; }
.nf, .nc { font-weight: 600; }
@media (prefers-color-scheme: dark) {
  .k, .kn, .kc, .ow { color: #7cb7ff; }
  .s1, .s2, .sd, .sa { color: #f0a868; }
  .mi, .mf { color: #d0a3f5; }
  .c1 { color: #98a2ae; }
}
"""

SEARCH = """
const box = document.getElementById("search"), list = document.getElementById("found");
box.addEventListener("input", () => {
  const words = box.value.toLowerCase().split(/\\s+/).filter(w => w.length > 1);
  list.replaceChildren();
  if (!words.length) return;
  for (const part of PARTS) {
    const text = part.text.toLowerCase();
    if (!words.every(w => text.includes(w))) continue;
    const item = document.createElement("li"), link = document.createElement("a");
    const around = document.createElement("small");
    link.href = part.page; link.textContent = part.title + " · " + part.heading;
    const at = Math.max(text.indexOf(words[0]) - 60, 0);
    around.textContent = "... " + part.text.slice(at, at + 180) + " ...";
    item.append(link, around); list.append(item);
    if (list.children.length >= 20) break;
  }
  if (!list.children.length) list.textContent = "Nothing found.";
});
"""


def script_safe(value: object) -> str:
    """JSON for a script element. It cannot contain the end tag of that element."""
    return json.dumps(value).replace("</", "<\\/")


def typeset(markdown: str) -> str:
    """Replace formulas between dollar signs by MathML. Code is not changed."""

    def formula(found: re.Match) -> str:
        text, display = (found[1], "block") if found[1] is not None else (found[2], "inline")
        return convert(text.strip().replace("\n", " "), display=display)

    parts = CODE.split(markdown)
    return "".join(
        part if number % 2 else MATH.sub(formula, part) for number, part in enumerate(parts)
    )


def page_ready(notebook: NotebookNode) -> NotebookNode:
    """Replace formulas and plotly figures by HTML that needs no other program."""
    count = 0
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = typeset(cell.source)
        for output in cell.get("outputs", []):
            if (figure := output.get("data", {}).get(PLOTLY)) is None:
                continue
            count += 1
            layout = figure["layout"]
            alt = html.escape((layout.get("meta") or {}).get("alt", "figure"), quote=True)
            drawing = script_safe([figure["data"], layout])
            output["data"] = nbformat.from_dict({"text/html": (
                f'<div class="plot" id="plot-{count}" role="img" aria-label="{alt}"></div>'
                f'<script>{{const [data, layout] = {drawing}; '
                f'Plotly.newPlot("plot-{count}", data, layout, {{displaylogo: false}});}}'
                "</script>"
            )})  # fmt: skip
    return notebook


def title_of(notebook: NotebookNode) -> str:
    """The text of the first heading."""
    for cell in notebook.cells:
        if found := re.search(r"^# (.+)$", cell.source, re.MULTILINE):
            return found[1]
    return "A lesson"


def parts_of(notebook: NotebookNode, page: str, title: str) -> list[dict]:
    """The text below each heading of a page, for the search."""
    parts = [{"page": page, "title": title, "heading": "", "text": ""}]
    for cell in notebook.cells:
        if cell.cell_type != "markdown":
            continue
        for line in cell.source.splitlines():
            if found := re.match(r"#{2,4} (.+)", line):
                parts.append(
                    {"page": page, "title": title, "heading": found[1], "text": found[1] + " "}
                )
            else:
                parts[-1]["text"] += re.sub(r"<[^>]+>|[*`|]", " ", line) + " "
    return [part for part in parts if part["text"].strip()]


def frame(title: str, body: str, before: str = "", after: str = "", plots: bool = True) -> str:
    """The HTML of a whole page."""
    script = '<script src="plotly.min.js"></script>' if plots else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f'<title>{html.escape(title)}</title><link rel="icon" href="data:,">'
        f'<link rel="stylesheet" href="book.css">{script}</head><body><nav class="top">'
        f'<a href="index.html">ctsm-lab</a><span class="space"></span>{before}{after}</nav>'
        f"<main>\n{body}\n</main></body></html>\n"
    )


def build(out: Path, solved: Path = SOLVED) -> list[Path]:
    """Write all pages and return their paths.

    Raises:
        SystemExit: there are no solved notebooks.
    """
    from plotly.offline import get_plotlyjs

    paths = sorted(solved.glob("[0-9]*.ipynb"))
    if not paths:
        raise SystemExit(f"There are no solved notebooks in {solved}. Run: make notebooks")
    out.mkdir(parents=True, exist_ok=True)
    (out / "plotly.min.js").write_text(get_plotlyjs(), encoding="utf-8")
    (out / "book.css").write_text(STYLE, encoding="utf-8")
    exporter = HTMLExporter(
        template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True
    )
    exporter.exclude_anchor_links = True
    notebooks = [nbformat.read(path, as_version=4) for path in paths]
    names = [
        (f"{path.stem}.html", title_of(notebook))
        for path, notebook in zip(paths, notebooks, strict=True)
    ]
    parts, written = [], []
    for i, notebook in enumerate(notebooks):
        page, title = names[i]
        parts += parts_of(notebook, page, title)
        body, _ = exporter.from_notebook_node(page_ready(notebook))
        before = (
            f'<a href="{names[i - 1][0]}">← {html.escape(names[i - 1][1])}</a>' if i else ""
        )
        after = (
            f'<a href="{names[i + 1][0]}">{html.escape(names[i + 1][1])} →</a>'
            if i + 1 < len(names)
            else ""
        )
        (out / page).write_text(frame(title, body, before, after), encoding="utf-8")
        written.append(out / page)
    items = "\n".join(
        f'<li><a href="{page}">{html.escape(title)}</a></li>' for page, title in names
    )
    search = f"const PARTS = {script_safe(parts)};{SEARCH}"
    picture = (HERE.parent / "figures" / "fig2.svg").read_text(encoding="utf-8")
    body = (
        "<h1>The emotions in conversation, equation by equation</h1>"
        "<p>Twelve lessons that build CTSM (LREC-COLING 2024), with solutions. They were run "
        f"on an invented sample.</p>{picture}"
        f'<ul style="list-style:none;padding:0">{items}</ul>'
        '<h2><label for="search">Search</label></h2>'
        '<input id="search" type="search" placeholder="soft labels" '
        'style="width:100%;font-size:1.1em;padding:.4em">'
        f'<ul id="found"></ul><script>{search}</script>'
    )
    (out / "index.html").write_text(frame("ctsm-lab", body, plots=False), encoding="utf-8")
    return [out / "index.html", *written]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "--out", type=Path, default=HERE.parent / "build" / "book", help="default: build/book"
    )
    pages = build(parser.parse_args().out)
    print(f"{len(pages)} pages written. Open {pages[0]}")


if __name__ == "__main__":
    main()
