"""Pictures of words: Figure 1, the map, words that differ, states from contexts, and their data."""

from __future__ import annotations

import copy
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctsm_lib.corpus import EMOTIONS, SPECIALS
from ctsm_lib.errors import ConfigError
from ctsm_lib.prepare import Prepared
from ctsm_lib.runs import load_run
from ctsm_workbench import pictures as figures
from ctsm_workbench.pictures import (
    contextual_figure,
    discrepant_figure,
    fig1,
    house,
    search_box,
    word_map_figure,
)
from ctsm_workbench.study import sentence
from ctsm_workbench.study.contexts import analyse_contexts
from ctsm_workbench.study.contexts.reading import word_in_contexts
from ctsm_workbench.study.polarity import analyse_prepared, discrepant_words, word_map
from ctsm_workbench.study.polarity.frequent import quotation


@pytest.fixture(scope="module")
def excited(tiny_run: Any) -> dict:
    return word_in_contexts(
        load_run(tiny_run), "dog", ["My dog is happy.", "Our dog is <gone> & a dog is sad."]
    )


def traces(figure: Any, name: str) -> Any:
    (trace,) = [trace for trace in figure.data if trace.name == name]
    return trace


def texts(figure: Any) -> str:
    return "\n".join(note.text for note in figure.layout.annotations)


def test_fig1_shows_every_occurrence_over_the_32_emotions_from_negative_to_positive(
    excited: dict,
) -> None:
    figure = fig1(excited)
    order = np.argsort(excited["label_valence"], kind="stable")
    heat, predicted = traces(figure, "V_cos"), traces(figure, "predicted")
    assert list(heat.x) == list(predicted.x) == [EMOTIONS[i] for i in order]
    assert list(heat.y) == ["A", "B1", "B2"]
    for shown, row in zip(heat.z, excited["rows"], strict=True):
        np.testing.assert_allclose(shown, np.array(row["V_cos"])[order])
    assert list(predicted.y) == ["A", "B"]
    np.testing.assert_allclose(predicted.z[1], 100 * np.array(excited["rows"][1]["heard"])[order])
    assert (
        heat.zmax
        == -heat.zmin
        == max(abs(value) for row in excited["rows"] for value in row["V_cos"])
    )
    assert figure.layout.yaxis2.autorange == figure.layout.yaxis3.autorange == "reversed", (
        "A stands above B"
    )


def test_fig1_has_the_trait_and_quotes_the_contexts(excited: dict) -> None:
    figure = fig1(excited)
    trait = traces(figure, "trait")
    assert list(trait.y) == ["valence", "arousal", "dominance"]
    assert list(trait.x) == list(excited["trait"].values())
    said = texts(figure)
    assert said.count("dog</b>") == 3, "the word is marked wherever it stands"
    assert "&lt;gone&gt; &amp;" in said, "text of users is no markup"
    assert "preset sample" in said
    unrated = fig1(excited | {"trait": None})
    assert list(traces(unrated, "trait").text) == ["not in the lexicon"] * 3


def test_fig1_parts_do_not_overlap_however_many_contexts(tiny_run: Any) -> None:
    run = load_run(tiny_run)
    for count in (1, 5, 30):
        figure = fig1(word_in_contexts(run, "dog", ["My dog is happy."] * count))
        spans = [
            axis.domain
            for axis in (figure.layout.yaxis, figure.layout.yaxis2, figure.layout.yaxis3)
        ]
        assert (
            0
            <= spans[2][0]
            < spans[2][1]
            < spans[1][0]
            < spans[1][1]
            < spans[0][0]
            < spans[0][1]
            == pytest.approx(1)
        )
        assert (
            len(traces(figure, "predicted").y) == len(set(traces(figure, "predicted").y)) == count
        )


def columns(prepared: Prepared) -> dict:
    """A map without UMAP: the words on a line."""
    words = prepared.corpus.vocabulary.words[len(SPECIALS) : len(SPECIALS) + 60]
    n = len(words)
    return {
        "description": prepared.description, "note": sentence("map", "note"),
        "settings": {"neighbours": 5, "seed": 0}, "word": words,
        "x": list(range(n)), "y": [0.0] * n, "count": list(range(n)),
        "trait": [[1, 0, None][i % 3] for i in range(n)], "state": [i % 2 for i in range(n)],
    }  # fmt: skip


def test_the_map_shows_each_word_once_in_every_view(tiny_prepared: Prepared) -> None:
    data = columns(tiny_prepared)
    figure = word_map_figure(data)
    (menu,) = figure.layout.updatemenus
    for number, button in enumerate(menu.buttons):
        shown = [
            trace for trace, yes in zip(figure.data, button.args[0]["visible"], strict=True) if yes
        ]
        assert sorted(x for trace in shown for x in trace.x) == data["x"], (
            "no word is lost, none is there twice"
        )
        if number == 0:
            assert [bool(trace.visible) for trace in figure.data] == list(button.args[0]["visible"])
    differ = traces(figure, "trait and state differ")
    assert list(differ.x) == [
        i for i in data["x"] if data["trait"][i] not in (None, data["state"][i])
    ]
    assert differ.marker.color == figures.BLUE
    large = dict(zip(differ.x, differ.marker.size, strict=True))
    assert large[max(large)] > large[min(large)], "frequent words are larger"
    assert "mean nothing" in texts(figure)


def test_the_map_s_search_knows_every_word_and_breaks_out_of_nothing(
    tiny_prepared: Prepared,
) -> None:
    data = columns(tiny_prepared)
    data["word"][0] = "</script><b>"
    box = search_box(data)
    assert box.count("</script>") == 2, "only its own"
    table = re.search(r'id="words">(.*?)</script>', box, re.DOTALL)
    assert table and json.loads(table[1])["word"] == data["word"]
    assert "another seed gives another map" in box
    page = house.page(word_map_figure(data), "map", box)
    assert 'id="map"' in page and 'getElementById("map")' in page
    assert re.findall(r"<script[^>]*\ssrc\s*=\s*([^>]*)>", page) == ['"plotly.min.js"']


@pytest.mark.slow
def test_the_map_of_a_vocabulary_is_seeded_cached_and_keeps_neighbours(
    tiny_prepared: Prepared,
) -> None:
    pytest.importorskip("umap")
    data = word_map(tiny_prepared, words=150, neighbours=5)
    assert len(data["word"]) == len(set(data["word"])) >= 150
    assert set(EMOTIONS) & set(tiny_prepared.corpus.vocabulary.words) <= set(data["word"]) | {
        word
        for word in EMOTIONS
        if not tiny_prepared.vectors.found[tiny_prepared.corpus.vocabulary.index[word]]
    }
    state = {
        row["word"]: row["state_rated_only"]
        for row in analyse_prepared(tiny_prepared, draws=0)["labels"]
    }
    for word, side, trait in zip(data["word"], data["state"], data["trait"], strict=True):
        rated = word in tiny_prepared.lexicon.ratings
        assert trait == (int(tiny_prepared.lexicon.ratings[word][0] > 0.5) if rated else None)
        if rated and word in state:
            assert side == state[word]
    assert word_map(tiny_prepared, words=150, neighbours=5) == data
    assert word_map(tiny_prepared, words=150, neighbours=5, seed=1)["x"] != data["x"]


def test_a_map_needs_umap_and_enough_words(
    tiny_prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="too few for a map"):
        word_map(tiny_prepared, words=150, neighbours=10**6)
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ConfigError, match=r"needs umap-learn: pip install 'ctsm-lab\[analysis\]'"):
        word_map(tiny_prepared, words=150)


def test_discrepant_words_are_the_most_frequent_that_differ(tiny_prepared: Prepared) -> None:
    data = discrepant_words(tiny_prepared, words=7)
    assert json.loads(json.dumps(data)) == data
    analysis = analyse_prepared(tiny_prepared, draws=0)
    for part, row in zip(data["rules"].values(), analysis["choices"][:2], strict=True):
        assert (part["of"], part["differ"]) == (row["words"], row["differ"])
        counts = [word["count"] for word in part["words"]]
        assert counts == sorted(counts, reverse=True)
        assert all(word["trait"] != word["state"] for word in part["words"])
    assert all(word["rated"] for word in data["rules"]["rated words only"]["words"])


def test_a_quotation_is_of_the_word_and_short(tiny_prepared: Prepared) -> None:
    corpus = tiny_prepared.corpus
    split, train = corpus.splits["train"], []
    for begin, end in zip(split.turn_offsets, split.turn_offsets[1:], strict=False):
        train.append(" ".join(corpus.vocabulary.decode(split.tokens[begin:end].tolist())))
    for word in ("dog", "the", "."):
        before, after = quotation(corpus, corpus.vocabulary.index[word])
        words = f"{before} {word} {after}".split()
        assert len(words) <= 2 * 4 + 1 + 2
        said = " ".join(words[before.startswith("...") : len(words) - after.endswith("...")])
        assert any(said in turn for turn in train)
    unsaid = next(i for i in range(len(SPECIALS), len(corpus.vocabulary)) if corpus.counts[i] == 0)
    assert quotation(corpus, unsaid) == ["", ""]


def test_discrepant_words_are_drawn_with_their_sides_and_quotations(
    tiny_prepared: Prepared,
) -> None:
    data = discrepant_words(tiny_prepared, words=4)
    figure = discrepant_figure(data)
    said = texts(figure)
    for trace, part in zip(figure.data, data["rules"].values(), strict=True):
        assert list(trace.x) == [row["count"] for row in part["words"]]
        for row, color in zip(part["words"], trace.marker.color, strict=True):
            assert color == (figures.ORANGE if row["trait"] else figures.BLUE)
        assert f"{part['differ']:,} of {part['of']:,} differ" in said
    assert said.count(" → ") == 1 + sum(len(part["words"]) for part in data["rules"].values())
    empty = copy.deepcopy(data)
    empty["rules"]["rated words only"]["words"] = []
    assert len(discrepant_figure(empty).data) == 1


@pytest.fixture(scope="module")
def contexts(tiny_run: Any, tiny_prepared: Prepared) -> dict:
    return analyse_contexts(load_run(tiny_run), tiny_prepared, draws=5, progress=False)


def test_contextual_shows_every_word_the_null_and_both_models(contexts: dict) -> None:
    figure = contextual_figure(contexts)
    words = traces(figure, "a word")
    assert list(words.x) == contexts["words"]["count"]
    assert list(words.y) == contexts["words"]["H_s"]["dependence"]
    for model in ("trained", "untrained"):
        row = next(
            row for row in contexts[model]["within_words"] if row["dialogues_of"] == "held out"
        )
        drawn = traces(figure, model)
        assert list(drawn.x) == [
            row[key]["value"] for key in ("V_cos", "V_cos, fitted", "H_s", "H_s, fitted")
        ]
        np.testing.assert_allclose(np.array(drawn.x) - drawn.error_x.arrayminus, [
            row[key]["low"] for key in ("V_cos", "V_cos, fitted", "H_s", "H_s, fitted")
        ], atol=1e-4)  # fmt: skip
    assert traces(figure, "trained").marker.symbol != traces(figure, "untrained").marker.symbol
    speaker = traces(figure, "speaker and place")
    assert speaker.x[1] == pytest.approx(100, abs=1e-3), (
        "V_cos is a function of word, speaker and place"
    )
    named = [
        row["word"] for kind in ("most", "least") for row in contexts["trained"][kind]["H_s"][:8]
    ]
    assert set(named) <= set(texts(figure).split("\n"))


def test_contextual_without_control_and_of_few_words(contexts: dict) -> None:
    alone = {key: value for key, value in contexts.items() if key != "untrained"}
    assert "untrained" not in [trace.name for trace in contextual_figure(alone).data]
    bare = copy.deepcopy(alone)
    bare["trained"]["explained"] = {"pairs": 0, "V_cos": None, "H_s": None}
    bare["trained"]["bands"] = []
    for row in bare["trained"]["within_words"]:
        row |= {
            key: {"value": None, "low": None, "high": None}
            for key in row
            if key not in ("dialogues_of", "words")
        }
    assert len(traces(contextual_figure(bare), "trained").x) == 0


def test_pages_are_the_same_byte_for_byte(
    excited: dict, contexts: dict, tiny_prepared: Prepared
) -> None:
    differ = discrepant_words(tiny_prepared)
    for name, draw in (
        ("fig1", lambda: fig1(excited)), ("contextual", lambda: contextual_figure(contexts)),
        ("discrepant", lambda: discrepant_figure(differ)),
    ):  # fmt: skip
        page = house.page(draw(), name)
        assert page == house.page(draw(), name)
        assert len(page) < 1_500_000
        assert "http" not in page


def test_committed_pictures_hold_few_ratings() -> None:
    """The lexicon's licence: of no more words than the 32 labels and a handful of examples."""
    folder = Path(__file__).resolve().parent.parent / "figures"
    for path in sorted(folder.rglob("*.json")):
        rated = set(
            re.findall(
                r'"word": "([^"]+)"[^{}]*?"valence": [0-9.]+', path.read_text(encoding="utf-8")
            )
        )
        assert len(rated - set(EMOTIONS)) <= 5, path.name
    assert (
        not (folder / "map.json").exists()
        or "figures/map.json" in (folder.parent / ".gitignore").read_text()
    )
