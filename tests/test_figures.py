"""Pictures: the drawing, its legibility, and files that are repeatable and need no network."""

from __future__ import annotations

import json
import logging
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ctsm_lib.corpus import EMOTIONS
from ctsm_workbench import pictures as figures
from ctsm_workbench.pictures import (
    FIGURES,
    fig3,
    sensitivity,
    template,
    training_curve,
    write_figure,
)
from ctsm_workbench.pictures import words as drawing
from ctsm_workbench.pictures.house import page
from ctsm_workbench.study.polarity import Words, analyse


@pytest.fixture(scope="module")
def analysis() -> dict[str, Any]:
    """The 32 emotion words and some others; "anticipating" is unrated, "trusting" has no vector."""
    random = np.random.default_rng(0)
    words = [*EMOTIONS, *(f"word{i}" for i in range(60))]
    vad = np.round(random.random((len(words), 3)), 3)
    rated = random.random(len(words)) < 0.8
    rated[: len(EMOTIONS)] = True
    rated[EMOTIONS.index("anticipating")] = False
    vad[~rated] = [0.5, 0.0, 0.5]
    vectors = random.normal(size=(len(words), 4))
    vectors[:, 0] += 2 * vad[:, 0] - 1
    kind = np.zeros(len(words), dtype=int)
    kind[EMOTIONS.index("trusting")] = -1
    counts = random.integers(1, 9, len(words))
    data = Words(words=words, vad=vad, rated=rated, vectors=vectors, kind=kind, counts=counts)
    result = analyse(data, draws=10)
    vectors_note = {"name": "stub.npz", "note": "approximate vectors"}
    return {"description": {"data": "stub", "vectors": vectors_note}} | result


def by_name(figure: Any) -> dict[str, Any]:
    return {trace.name: trace for trace in figure.data if trace.name}


def luminance(color: str) -> float:
    channels = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("color", [figures.INK, figures.BLUE, figures.ORANGE])
def test_colours_are_legible_on_light_and_on_dark(color: str) -> None:
    own = luminance(color) + 0.05
    assert 1.05 / own >= 4
    assert own / (luminance("#0d1117") + 0.05) >= 4


def test_the_template_is_transparent_and_large_enough() -> None:
    layout = template()["layout"]
    assert (
        layout["paper_bgcolor"]
        == layout["plot_bgcolor"]
        == layout["scene"]["bgcolor"]
        == "rgba(0,0,0,0)"
    )
    assert layout["font"]["size"] >= 13


def test_fig3_draws_each_word_where_it_is_and_moves_the_state_that_differs(analysis: dict) -> None:
    figure = fig3(analysis)
    rows = analysis["labels"]
    traces = by_name(figure)
    assert list(traces) == ["Trait", "State", "differs: trait", "differs: state"]
    same = [row for row in rows if not row["differ"]]
    differ = [row for row in rows if row["differ"]]
    assert differ, "the stub has words that differ"
    assert list(traces["Trait"].x) == [row["valence"] for row in same]
    with_state = [row for row in same if row["state"] is not None]
    assert list(traces["State"].y) == [row["arousal"] for row in with_state], (
        "agreeing marks lie on each other"
    )
    assert list(traces["differs: trait"].z) == [row["dominance"] for row in differ]
    assert (
        traces["differs: trait"].marker.color
        == traces["differs: state"].marker.color
        == figures.BLUE
    )
    for row, x in zip(differ, traces["differs: state"].x, strict=True):
        assert np.sign(x - row["valence"]) == (1 if row["state"] else -1), (
            "towards its own polarity"
        )
    axes = figure.layout.scene
    assert [axes.xaxis.title.text, axes.yaxis.title.text, axes.zaxis.title.text] == [
        "Valence",
        "Arousal",
        "Dominance",
    ]
    assert axes.camera.projection.type == "orthographic"
    assert f"{len(differ)} differ" in figure.layout.title.text
    assert "approximate vectors" in figure.layout.annotations[0].text


def test_fig3_hover_has_every_value(analysis: dict) -> None:
    rows = {row["word"]: row for row in analysis["labels"]}
    texts = [text for trace in by_name(fig3(analysis)).values() for text in trace.hovertext]
    sad = next(text for text in texts if "<b>sad</b>" in text)
    for name in ("valence", "arousal", "dominance", "cos_positive", "cos_negative"):
        assert f"{rows['sad'][name]:.3f}" in sad
    assert "not in the lexicon" in next(text for text in texts if "<b>anticipating</b>" in text)
    assert "none (no vector)" in next(text for text in texts if "<b>trusting</b>" in text)


def test_fig3_labels_every_word_and_few_overlap(analysis: dict) -> None:
    annotations = [note for note in fig3(analysis).layout.scene.annotations if note.showarrow]
    assert [note.text.removesuffix(" (unrated)") for note in annotations] == list(EMOTIONS)
    rows = analysis["labels"]
    for note, row in zip(annotations, rows, strict=True):
        assert (note.x, note.y, note.z) == (row["valence"], row["arousal"], row["dominance"])
        assert (note.font.color == figures.BLUE) == bool(row["differ"])
    view = -drawing._EYE / np.linalg.norm(drawing._EYE)
    right = np.cross(view, [0, 0, 1]) / np.linalg.norm(np.cross(view, [0, 0, 1]))
    screen = (
        drawing._ASPECT[:, None]
        * np.stack([right, -np.cross(right, view)], axis=1)
        * drawing._PIXELS
    )
    points = np.array([[note.x, note.y, note.z] for note in annotations])
    middles = points @ screen + [[note.ax, note.ay] for note in annotations]
    half = np.array([[3.8 * len(note.text), 8] for note in annotations])
    away = np.abs(middles[:, None] - middles) >= half[:, None] + half
    overlapping = (~away.any(axis=2)).sum() - len(annotations)
    assert overlapping <= 2, "at most one pair"


def test_fig3_of_labels_without_arousal_is_empty_but_drawn() -> None:
    words = ["good", "bad"]
    data = Words(
        words=words,
        vad=np.array([[0.9, np.nan, np.nan], [0.1, np.nan, np.nan]]),
        rated=np.ones(2, dtype=bool),
        vectors=np.eye(2),
        kind=np.zeros(2, dtype=int),
        counts=np.ones(2),
    )
    analysis = analyse(data, labels=words, draws=1)
    assert "0 emotion words" in fig3(analysis).layout.title.text


def test_sensitivity_shows_every_choice_with_its_interval_and_the_paper_s_line(
    analysis: dict,
) -> None:
    figure = sensitivity(analysis)
    drawn = {label: (x, low, high) for trace in figure.data for label, x, low, high in zip(
        trace.y, trace.x, trace.error_x.arrayminus, trace.error_x.array, strict=True
    )}  # fmt: skip
    assert len(drawn) == sum(len(trace.x) for trace in figure.data), "no label stands for two rows"
    assert set(figure.layout.yaxis.categoryarray) == set(drawn)
    bounds = [row["label"] for row in analysis["choices"] if row["label"] not in drawn]
    assert set(bounds) <= {
        f"exact vectors, other words {fate}" for fate in ("negative", "agree", "disagree")
    }
    for row in analysis["choices"]:
        if row["label"] in bounds:
            continue
        x, low, high = drawn[row["label"]]
        assert x == row["share"]
        assert x - low == pytest.approx(row["low"], abs=1e-3)
        assert x + high == pytest.approx(row["high"], abs=1e-3)
    assert {trace.marker.symbol for trace in figure.data} == {"diamond", "circle", "x"}, (
        "shape tells, not only colour"
    )
    rated = by_name(figure)["rated words"]
    assert "rated words only" in rated.y
    assert "the paper's rule" not in rated.y
    assert sum(label.startswith("chance: ") for label in drawn) == 3
    assert figure.layout.shapes[0].x0 == figure.layout.shapes[0].x1 == 48.75
    assert any(note.text == "the paper: 48.75 %" for note in figure.layout.annotations)


def test_a_choice_without_a_share_is_left_out(analysis: dict) -> None:
    choices = [dict(row) for row in analysis["choices"]]
    choices[1] |= {"share": None, "low": None, "high": None}
    labels = [
        label for trace in sensitivity(analysis | {"choices": choices}).data for label in trace.y
    ]
    assert "rated words only" not in labels
    assert "the paper's rule" in labels


def test_training_curve_takes_what_a_log_has() -> None:
    records = [
        {"iteration": 20, "ppl": 900.0, "acc": 3.0, "generation": 6.8, "lr": 0.1},
        {"iteration": 40, "ppl": 300.0, "acc": 6.0},
        {"iteration": 40, "dev_ppl_token": 250.0, "dev_ppl_peer": 210.0, "dev_acc": 5.0},
    ]
    figure = training_curve(records)
    assert [tuple(trace.y) for trace in figure.data] == [(900, 300), (250,), (210,), (3, 6), (5,)]
    assert [tuple(trace.x) for trace in figure.data] == [(20, 40), (40,), (40,), (20, 40), (40,)]
    assert figure.layout.yaxis.type == "log"
    assert len(training_curve(records[:1]).data) == 2
    assert len(training_curve([]).data) == 0


@pytest.fixture
def no_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    """kaleido is there, Chromium is not."""
    monkeypatch.setenv("BROWSER_PATH", "/no/such/chromium")


@pytest.mark.parametrize("name", list(FIGURES))
def test_html_is_the_same_byte_for_byte_and_needs_no_network(
    analysis: dict, tmp_path: Path, no_browser: None, name: str
) -> None:
    pages = []
    for folder in ("one", "two"):
        write_figure(FIGURES[name](analysis), analysis, tmp_path / "new" / folder, name)
        pages.append((tmp_path / "new" / folder / f"{name}.html").read_bytes())
    assert pages[0] == pages[1]
    page = pages[0].decode()
    sources = [
        source
        for tag in re.findall(r"<(?:script|link|img|iframe)\b[^>]*>", page)
        for source in re.findall(r"""(?:src|href)=["']([^"']*)""", tag)
    ]
    assert sources == ["plotly.min.js"], "everything else is inside"
    library = (tmp_path / "new" / "one" / "plotly.min.js").read_text(encoding="utf-8")
    assert library.startswith("/**\n* plotly.js v") and "Plotly" in library
    assert len(page) < 200_000, "the library is beside the page, once for all pages"
    assert f'id="{name}"' in page
    assert "color-scheme:light dark" in page
    assert [trace["type"] for trace in drawn(page)["data"]] == [
        t.type for t in FIGURES[name](analysis).data
    ]
    data = json.loads((tmp_path / "new" / "one" / f"{name}.json").read_text(encoding="utf-8"))
    assert data == analysis


def drawn(page: str) -> dict:
    """The data and layout in the page's call of `Plotly.newPlot`."""
    rest = page[page.index("Plotly.newPlot(") :]
    data, end = json.JSONDecoder().raw_decode(rest, rest.index("["))
    layout, _ = json.JSONDecoder().raw_decode(rest, rest.index("{", end))
    return {"data": data, "layout": layout}


def test_a_page_is_as_wide_as_its_window_and_text_cannot_leave_its_script() -> None:
    import plotly.graph_objects as go

    text = "</script><script>alert(1)</script>"
    figure = go.Figure(go.Bar(x=[1], y=[1], hovertext=text), {"width": 980, "height": 400})
    bars = page(figure, "bars", extra="<p>a note</p>")
    assert "</script><script>alert" not in bars
    assert drawn(bars)["data"][0]["hovertext"] == text
    assert "width" not in drawn(bars)["layout"] and '"responsive": true' in bars
    assert "<p>a note</p>" in bars


def test_a_library_of_another_plotly_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from plotly.offline import get_plotlyjs

    monkeypatch.setitem(sys.modules, "kaleido", None)
    (tmp_path / "plotly.min.js").write_text("older", encoding="utf-8")
    write_figure(training_curve([]), {"records": []}, tmp_path, "empty")
    script = (tmp_path / "plotly.min.js").read_text(encoding="utf-8")
    assert script == get_plotlyjs() and len(script) > 4_000_000


def test_fig3_filters_words_in_the_page_only(
    analysis: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure, drawn = fig3(analysis), []
    buttons = figure.layout.updatemenus[0].buttons
    count = sum(bool(row["differ"]) for row in analysis["labels"])
    notes = [len(button.args[1]["scene.annotations"]) for button in buttons]
    assert notes == [33, 1 + count, 33 - count]
    hidden = [
        trace.name
        for trace, on in zip(figure.data, buttons[1].args[0]["visible"], strict=True)
        if not on
    ]
    assert hidden == ["Trait", "State"]

    def draw(picture: dict, options: dict, kopts: dict) -> bytes:
        drawn.append(picture)
        return b""

    monkeypatch.setitem(sys.modules, "kaleido", SimpleNamespace(calc_fig_sync=draw))
    write_figure(figure, analysis, tmp_path, "fig3")
    assert all("updatemenus" not in picture["layout"] for picture in drawn)
    assert figure.layout.updatemenus, "the figure itself keeps them"


def test_without_a_browser_there_is_html_and_one_sentence(
    analysis: dict, tmp_path: Path, no_browser: None, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("kaleido")
    with caplog.at_level(logging.WARNING, logger="ctsm_workbench"):
        written = write_figure(sensitivity(analysis), analysis, tmp_path, "sensitivity")
    assert [path.name for path in written] == ["sensitivity.html", "sensitivity.json"]
    (message,) = [
        record.getMessage() for record in caplog.records if record.name.startswith("ctsm_workbench")
    ]
    assert "sensitivity has no new PNG and SVG" in message
    assert "/no/such/chromium" in message
    assert "\n" not in message


def test_without_kaleido_there_is_html_and_one_sentence(
    analysis: dict,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setitem(sys.modules, "kaleido", None)
    written = write_figure(training_curve([]), {"records": []}, tmp_path, "empty")
    assert [path.name for path in written] == ["empty.html", "empty.json"]
    assert "need kaleido and Chromium" in caplog.text


def test_stills_are_written_where_there_is_a_browser(
    analysis: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, hangs = [], True

    def draw(figure: dict, options: dict, kopts: dict) -> bytes:
        calls.append((options, kopts))
        if hangs and options["format"] == "svg":
            raise TimeoutError("the browser\nhangs")
        return (
            b'<clipPath id="clip0a1b2cxy"/><g class="trace scatter trace4e4e4b"/><p d="M0a1b2c"/>'
        )

    monkeypatch.setitem(sys.modules, "kaleido", SimpleNamespace(calc_fig_sync=draw))
    written = write_figure(fig3(analysis), analysis, tmp_path, "fig3")
    assert [path.name for path in written] == ["fig3.html", "fig3.json", "fig3.png"]
    assert b"clip0a1b2cxy" in (tmp_path / "fig3.png").read_bytes(), (
        "only names in an SVG are made the same"
    )
    assert calls[0] == (
        {"width": 980, "height": 820, "format": "png", "scale": 2},
        {"mathjax": False, "timeout": 60},
    )
    hangs = False
    assert write_figure(fig3(analysis), analysis, tmp_path, "fig3")[-1].name == "fig3.svg"
    svg = b'<clipPath id="clipxy"/><g class="trace scatter trace"/><p d="M0a1b2c"/>'
    assert (tmp_path / "fig3.svg").read_bytes() == svg


def test_data_that_json_cannot_hold_leaves_no_half_written_picture(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_figure(training_curve([]), {"share": float("nan")}, tmp_path / "out", "bad")
    assert not (tmp_path / "out").exists()
