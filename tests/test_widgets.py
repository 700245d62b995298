"""The explorers without a browser: numbers against slow references, figures, and controls."""

from __future__ import annotations

import base64
import json
import re
import time
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from random import Random

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ctsm_lib.batches import context_batch
from ctsm_lib.config import preset
from ctsm_lib.corpus import EMOTIONS, EOS, SPECIALS, tokenize
from ctsm_lib.decoding import Decoding, answer_batch
from ctsm_lib.errors import ConfigError, DataError, RunError
from ctsm_lib.lexicon import NEUTRAL_VAD
from ctsm_lib.runs import load_run

pytest.importorskip("anywidget", reason="the explorers need the extra `notebooks`")
pytest.importorskip("ipywidgets", reason="the explorers need the extra `notebooks`")

from ctsm_workbench import explorers
from ctsm_workbench.explorers.conversations import (
    Column,
    Conversation,
    Remembering,
    Voice,
    answer,
    likeliest,
    moved,
    new_tokens,
    picked_dialogue,
    read_context,
    runs_beside,
    trace,
    typed_turns,
)
from ctsm_workbench.explorers.figures import answer_figures, context_figures, in_words, word_figures
from ctsm_workbench.explorers.word import Words

word_text = partial(in_words, "word")
occurrence_text = partial(in_words, "occurrences")
transcript = partial(in_words, "conversation")


def context_text(before, after=None, gold=""):
    return in_words("context", before, after, gold)


SCRIPT = "<script>document.title='taken'</script><img src=x onerror=alert(1)> &amp; <b>bold</b>"
TURNS = [
    "My dog died yesterday and I feel so lonely .",
    "Oh no , I am sorry .",
    "Thank you , it was a sad day .",
]


@pytest.fixture(scope="module")
def words(tiny_prepared):
    return Words(tiny_prepared)


@pytest.fixture(scope="module")
def speaker(tiny_run):
    return Voice(load_run(tiny_run))


class Tags(HTMLParser):
    """The tags and the text of a piece of HTML."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attributes}

    def handle_data(self, data):
        self.text += data


def strings(value):
    """Every string of a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


def markup(figures) -> set[str]:
    """The tags that plotly would see in figures; the text alternative is an attribute."""
    found: set[str] = set()
    for figure in figures:
        for text in strings(figure | {"layout": figure["layout"] | {"meta": None}}):
            found |= set(re.findall(r"<\s*/?\s*(\w+)", text))
    return found


def read(figures) -> list[go.Figure]:
    """Figures with attributes, checked by plotly, but for the house style."""
    bare = ({"data": f["data"], "layout": f["layout"] | {"template": None}} for f in figures)
    return list(map(go.Figure, bare))


HARMLESS = {"p", "table", "tr", "td", "mark", "div", "span"}
PLOTLY = {"br", "b", "sup", "extra"}  # our own

# --------------------------------------------------------------------------------------------- word


def test_a_word_is_what_the_lexicon_and_the_dialogues_say(words, tiny_prepared):
    report, corpus = words.look_up("  Lonely "), tiny_prepared.corpus
    valence, arousal, dominance = tiny_prepared.lexicon.ratings["lonely"]
    assert report.known and report.rated and report.word == "lonely"
    assert report.vad == (valence, arousal, dominance) and report.trait == int(valence > 0.5)
    strength = (np.hypot(valence - 0.5, arousal / 2) - 0.06467) / 0.607468
    assert report.intensity == pytest.approx(strength, abs=1e-6)
    index = corpus.vocabulary.index["lonely"]
    assert report.idf == pytest.approx(float(corpus.idf[index]))
    # Counted by hand, token by token.
    train, counts, total = corpus.splits["train"], dict.fromkeys(EMOTIONS, 0), 0
    for dialogue, label in enumerate(train.labels):
        first, last = train.turn_offsets[train.dialogue_offsets[dialogue : dialogue + 2]]
        often = train.tokens[first:last].tolist().count(index)
        counts[EMOTIONS[label]] += often
        total += often
    assert report.count == total > 0
    assert dict(report.labels).items() <= counts.items() and report.labels[0][1] == max(
        counts.values()
    )


def test_polarity_is_that_of_section_5_4(words, tiny_prepared):
    from ctsm_lib.polarity import state_polarity

    has = np.flatnonzero(words.has_vector)
    matrix = np.asarray(tiny_prepared.vectors.matrix[len(SPECIALS) :])
    paper = dict(
        zip(has.tolist(), state_polarity(matrix[has], words.trait[has]).tolist(), strict=True)
    )
    rated = np.flatnonzero(words.has_vector & words.rated)
    own = dict(
        zip(rated.tolist(), state_polarity(matrix[rated], words.trait[rated]).tolist(), strict=True)
    )
    for i in [*rated[:40].tolist(), *has[:40].tolist()]:
        report = words.look_up(words.words[i])
        if report.word != words.words[i]:
            continue  # tokenised into something else
        assert report.states["state"][2] == paper[i]
        assert i not in own or report.states["state, rated centroids"][2] == own[i]
        assert all(abs(share) <= 1 + 1e-6 for _, share, _ in report.states.values())


def test_nearest_words_by_a_loop(words, tiny_prepared):
    matrix = np.asarray(tiny_prepared.vectors.matrix[len(SPECIALS) :], dtype=np.float64)
    own = words.words.index("lonely")
    found = []
    for i, row in enumerate(matrix):
        if i != own and words.has_vector[i]:
            cosine = row @ matrix[own] / (np.linalg.norm(row) * np.linalg.norm(matrix[own]))
            found.append((cosine, words.words[i]))
    best = sorted(found, reverse=True)[:8]
    report = words.look_up("lonely")
    assert [value for _, value, _ in report.nearest] == pytest.approx(
        [value for value, _ in best], abs=1e-5
    )
    assert {name for name, _, _ in report.nearest} == {name for _, name in best}


def test_quotations_are_from_training_dialogues_and_others_can_be_asked_for(words, tiny_prepared):
    train = tiny_prepared.corpus.splits["train"]
    vocabulary = tiny_prepared.corpus.vocabulary
    turns = [
        " ".join(vocabulary.decode(train.tokens[a:b].tolist()))
        for a, b in zip(train.turn_offsets[:-1], train.turn_offsets[1:], strict=True)
    ]
    first, second = words.look_up("the", 0).quotations, words.look_up("the", 1).quotations
    assert (
        len(first) == len(second) == 5
        and first != second
        and words.look_up("the", 0).quotations == first
    )
    for quote in first:
        text = " ".join(part for part in (quote.before, "the", quote.after) if part)
        text = text.removeprefix("... ").removesuffix(" ...")
        assert any(text in turn for turn in turns)
        assert quote.who in ("speaker", "listener") and quote.emotion in EMOTIONS


def test_words_that_nobody_rated_or_said(words):
    unrated = next(
        w for w, r in zip(words.words, words.rated, strict=True) if not r and w.isalpha()
    )
    report = words.look_up(unrated)
    assert report.known and not report.rated and report.vad == NEUTRAL_VAD["standard"]
    assert report.intensity == 0 and report.trait == 0 and "not rated" in word_text(report)
    report = words.look_up("lonelyy")
    assert not report.known and "lonely" in report.similar and occurrence_text(report).strip() == ""
    assert "&lt;unk&gt;" in word_text(report) and len(word_figures(report)) == 1
    with pytest.raises(DataError, match="Type a word"):
        words.look_up("   ")
    assert words.look_up("sad and happy").word == "sad"


def test_the_bars_show_the_report(words):
    report = words.look_up("lonely")
    carried, polarity, nearest = read(word_figures(report))
    assert list(carried.data[0].x) == pytest.approx([*report.vad, report.intensity, report.idf])
    expected = [2 * report.vad[0] - 1, *(share for _, share, _ in report.states.values())]
    assert list(polarity.data[0].x) == pytest.approx(expected)
    assert list(nearest.layout.yaxis.ticktext) == [name for name, _, _ in report.nearest]


def test_a_word_that_is_only_in_other_splits_is_named_all_the_same(words):
    counts = words.prepared.corpus.counts[len(SPECIALS) :]
    unsaid = next(
        word for word, n in zip(words.words, counts, strict=True) if n == 0 and word.isalpha()
    )
    assert f"“{unsaid}” never occurs" in occurrence_text(words.look_up(unsaid.upper()))


@settings(max_examples=150, deadline=None)
@given(
    st.text(max_size=40)
    | st.sampled_from([SCRIPT, "<script>", "</script>x", '"><svg onload=x>', "&lt;b&gt;"])
)
def test_typed_words_are_text(words, text):
    try:
        report = words.look_up(text)
    except DataError:
        return
    seen = Tags(word_text(report) + occurrence_text(report))
    assert seen.tags <= HARMLESS and seen.attributes <= {"class"}
    assert report.word in seen.text or not report.word.isprintable()
    assert markup(word_figures(report)) <= PLOTLY


def test_a_word_is_looked_up_and_drawn_within_a_fifth_of_a_second(words):
    def look(word: str) -> float:
        begun = time.perf_counter()
        report = words.look_up(word)
        json.dumps(word_figures(report))
        word_text(report), occurrence_text(report)
        return time.perf_counter() - begun

    look("warm")
    assert min(look(word) for word in ("lonely", "the", "happy", "qwertz", "sad")) < 0.2


# ------------------------------------------------------------------------------------------ context


def test_a_reading_is_what_answering_reads(speaker):
    reading = read_context(speaker, TURNS)
    response = speaker.run.respond([TURNS], speaker.provider)[0]
    heard = {
        emotion: float(p)
        for emotion, p in zip(EMOTIONS, reading.probabilities["student"], strict=True)
    }
    assert heard == pytest.approx(response.emotions, abs=1e-5)
    assert reading.tokens == ["⟨CLS⟩", *(token for turn in TURNS for token in tokenize(turn))]
    count = [len(tokenize(turn)) for turn in TURNS]
    assert reading.by_speaker == [
        False,
        *[True] * count[0],
        *[False] * count[1],
        *[True] * count[2],
    ]
    for weights in reading.pooling.values():
        assert weights.shape == (len(reading.tokens),) and weights.sum() == pytest.approx(
            1, abs=1e-5
        )
    table = speaker.run.model.intensity
    ids = speaker.run.vocabulary.encode(reading.tokens[1:])
    assert (
        reading.intensity[1:].tolist() == pytest.approx(table[ids].tolist())
        and reading.intensity[0] == 0
    )


def test_state_inclination_is_the_cosine_of_equation_7(speaker):
    from helpers import slow_cosine, slow_linear

    run, reading = speaker.run, read_context(speaker, TURNS)
    batch = context_batch(
        [TURNS], speaker.provider.infer([TURNS[-1]]), run.vocabulary, run.config.max_context
    )
    with torch.no_grad():
        embedded = run.model.read(batch).E_C[0]
        labels = run.model.embed.look_up({"labels": run.model.labels})["labels"]
    part = run.model.emotion.inclination
    slow = slow_cosine(
        slow_linear(part.tokens, embedded.numpy()), slow_linear(part.emotion_words, labels.numpy())
    )
    np.testing.assert_allclose(reading.inclination, slow, atol=1e-5)


def test_the_teacher_is_the_one_of_training(tiny_prepared):
    """In training with all dropout off, the model gives its teacher's logits: they are the same."""
    from ctsm_lib.training import build_model

    config = preset("sample", ["dim=24", "heads=2", "key_depth=24", "ffn_dim=24", "dropout=0"])
    model = build_model(config, tiny_prepared)
    batch = tiny_prepared.pairs["test"].collate(np.arange(5))
    model.train()
    with torch.no_grad():
        wanted = model(batch).teacher_logits
        logits, pooling = model.teacher_path(model.read(batch))
    torch.testing.assert_close(logits, wanted)
    assert not torch.allclose(logits, model.encode(batch).emotion_logits)
    torch.testing.assert_close(pooling.sum(dim=1), torch.ones(5))


def test_a_turn_left_out_leaves_the_others_their_speakers(speaker):
    reading = read_context(speaker, [TURNS[0], "", TURNS[2]])
    assert reading.by_speaker[1:] == [True] * (len(reading.tokens) - 1)
    # Without the empty turn the last one would be taken for the listener's.
    assert not all(read_context(speaker, [TURNS[0], TURNS[2]]).by_speaker[1:])
    first = read_context(speaker, ["", *TURNS[1:]])
    assert first.tokens[1] == "oh" and not first.by_speaker[1]


def test_an_edited_word_changes_its_own_inclination_only(speaker):
    """Eq. (7) sees word, speaker and place; predictions and pooling change everywhere."""
    edited = [TURNS[0].replace("lonely", "happy"), *TURNS[1:]]
    before, after = read_context(speaker, TURNS), read_context(speaker, edited)
    new = new_tokens(before, after)
    assert [token for token, is_new in zip(after.tokens, new, strict=True) if is_new] == ["happy"]
    same = ~np.array(new)
    np.testing.assert_allclose(after.inclination[same], before.inclination[same], atol=1e-6)
    assert np.abs(after.inclination[~same] - before.inclination[~same]).max() > 1e-3
    assert 0 < moved(before, after) <= 1 and moved(before, before) == 0
    difference = [
        abs(a - b)
        for a, b in zip(*(r.probabilities["student"] for r in (before, after)), strict=True)
    ]
    assert moved(before, after) == pytest.approx(sum(difference) / 2)
    text = Tags(context_text(before, after)).text
    assert "of the probability has moved" in text and "New (bold): happy" in text
    assert any(
        "<b>happy</b>" in figure.layout.yaxis.ticktext
        for figure in read(context_figures(before, after)[1:])
    )


def test_the_figures_show_the_readings(speaker):
    before, after = read_context(speaker, TURNS), read_context(speaker, TURNS[:1])
    heard, first, second = read(context_figures(before, after))
    emotions = likeliest([before, after], 8)
    assert (
        emotions
        == sorted(
            range(32), key=lambda k: -max(r.probabilities["student"][k] for r in (before, after))
        )[: len(emotions)]
    )
    bars = [trace for trace in heard.data if trace.type == "bar"]
    for bar, reading in zip(bars, (before, after), strict=True):
        assert list(bar.x) == pytest.approx(reading.probabilities["student"][emotions].tolist())
    for figure, reading in ((first, before), (second, after)):
        heat = next(trace for trace in figure.data if trace.type == "heatmap")
        columns = [EMOTIONS.index(name) for name in figure.layout.xaxis3.ticktext]
        np.testing.assert_allclose(np.array(heat.z), reading.inclination[:, columns], atol=1e-6)
        pooled = {t.name: list(t.x) for t in figure.data if t.name and t.name.startswith("pooling")}
        assert pooled["pooling, student"] == pytest.approx(reading.pooling["student"].tolist())
        assert pooled["pooling, teacher"] == pytest.approx(reading.pooling["teacher"].tolist())
    # Both on the same scale, else colours and bars would lie.
    maps = [
        next(trace for trace in figure.data if trace.type == "heatmap")
        for figure in (first, second)
    ]
    assert maps[0].zmax == maps[1].zmax and first.layout.xaxis2.range == second.layout.xaxis2.range
    every = read(context_figures(before, count=32))[1]
    assert list(every.layout.xaxis3.ticktext) == list(EMOTIONS)


def test_long_and_unknown_text_is_said(speaker):
    long = " ".join(["word"] * 100 + ["xqzzy"])
    reading = read_context(speaker, [long])
    assert len(reading.tokens) == speaker.run.config.max_context and reading.cut == 101 - (
        len(reading.tokens) - 1
    )
    text = Tags(context_text(reading)).text
    assert f"first {reading.cut} tokens are cut off" in text and "xqzzy" in text
    assert (
        reading.known[-1] is False
        and "xqzzy ?" in context_figures(reading)[1]["layout"]["yaxis"]["ticktext"]
    )
    with pytest.raises(DataError, match="no turn holds a word"):
        read_context(speaker, ["", "  "])
    with pytest.raises(DataError, match="one turn a line"):
        read_context(speaker, typed_turns("\n \n"))
    with pytest.raises(RunError, match="at most 4,000"):
        typed_turns("x" * 4001)
    assert typed_turns("a\r\n\n b  c \n") == ["a", "", "b c"]
    assert typed_turns("\na") == ["", "a"]


@pytest.mark.parametrize("without", ["state", "guidance", "trait"])
def test_runs_without_a_part_are_read_as_well(tiny_config, tiny_prepared, tiny_run, without):
    from ctsm_lib.training import build_model

    config = replace(tiny_config, **{without: False})
    run = load_run(tiny_run)
    speaker = Voice(replace(run, config=config, model=build_model(config, tiny_prepared).eval()))
    reading = read_context(speaker, TURNS)
    assert (reading.inclination is None) == (without == "state")
    assert ("teacher" in reading.pooling) == (without != "guidance")
    drawn = context_figures(reading, read_context(speaker, TURNS[:1]))
    assert len(drawn) == 3 and all(figure["data"] for figure in drawn)
    assert ("without state embedding" in context_text(reading)) == (without == "state")


def test_dialogues_of_the_data_can_be_picked(tiny_prepared):
    corpus = tiny_prepared.corpus
    split = corpus.splits["test"]
    number = Random(4).choice(range(len(split.pairs)))
    turns, label = picked_dialogue(corpus, "any", Random(4))
    assert turns == split.context_texts(number) and label == EMOTIONS[split.pairs[number, 3]]
    absent = sorted(set(EMOTIONS) - {EMOTIONS[k] for k in split.pairs[:, 3]})
    for emotion in absent:
        assert picked_dialogue(corpus, emotion, Random(4)) is None


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=3))
def test_typed_dialogues_are_text(speaker, turns):
    turns = [*turns, SCRIPT]
    before, after = read_context(speaker, TURNS), read_context(speaker, turns)
    seen = Tags(context_text(before, after, gold=SCRIPT))
    assert seen.tags <= HARMLESS and seen.attributes <= {"class"}
    assert markup(context_figures(before, after)) <= PLOTLY


# ------------------------------------------------------------------------------------------- answer


@pytest.mark.parametrize("method", ["greedy", "nucleus", "beam"])
def test_each_word_is_traced_to_where_it_came_from(speaker, method):
    run, model = speaker.run, speaker.run.model
    how = Decoding(method=method, max_length=12, beams=3, seed=3)
    found = answer(speaker, TURNS, how)
    batch = context_batch(
        [TURNS], speaker.provider.infer([TURNS[-1]]), run.vocabulary, run.config.max_context
    )
    plain, memory = answer_batch(model, batch, how)
    assert run.vocabulary.encode(found.response.words) == plain[0].ids
    if method != "beam":  # beam search keeps no alphas
        assert [token.alpha for token in found.tokens] == pytest.approx(plain[0].alpha, abs=1e-4)
    total = sum(np.log(token.generated + token.copied) for token in found.tokens)
    assert total == pytest.approx(plain[0].log_prob, abs=1e-3)
    # One step after the other, with the mixture written out.
    cache, said = model.start(memory), 3  # SOS
    with torch.no_grad():
        for token in found.tokens:
            log_prob, alpha, copy = model.step(cache, torch.tensor([said]))
            said = EOS if token.word == "<eos>" else run.vocabulary.index[token.word]
            places = [i for i, word in enumerate(batch.context[0].tolist()) if word == said]
            copied = (1 - float(alpha)) * sum(float(copy[0, i]) for i in places)
            assert token.copied == pytest.approx(copied, abs=1e-5)
            assert token.generated + token.copied == pytest.approx(
                float(log_prob[0, said].exp()), abs=1e-5
            )
            assert token.source == (max(places, key=lambda i: copy[0, i]) if places else None)
            assert 0 <= token.copied_share <= 1


def test_a_word_of_the_context_can_be_traced_even_if_it_was_never_answered(speaker):
    run = speaker.run
    batch = context_batch(
        [TURNS], speaker.provider.infer([TURNS[-1]]), run.vocabulary, run.config.max_context
    )
    lonely, absent = run.vocabulary.index["lonely"], run.vocabulary.index["furious"]
    first, second = trace(run.model, batch, [lonely, absent], run.vocabulary.words)
    assert (
        first.copied > 0 and run.vocabulary.words[int(batch.context[0, first.source])] == "lonely"
    )
    assert second.copied == 0 and second.source is None and second.copied_share == 0


def test_talking_remembers_and_can_be_undone(speaker):
    talk = Conversation([Column(speaker, Decoding(max_length=8))])
    first = talk.say("I failed my test  again")
    assert first[0].said == "I failed my test again" and talk.exchanges == [first]
    second = talk.say("And my car broke down")
    wanted = speaker.run.respond(
        [[*[first[0].said, first[0].response.text], second[0].said]],
        speaker.provider,
        Decoding(max_length=8),
    )[0]
    assert second[0].response.text == wanted.text
    assert talk.undo() == second[0].said and talk.exchanges == [first]
    assert talk.undo() == first[0].said and talk.undo() == ""
    talk.again()
    assert talk.exchanges == []


def test_two_beside_each_other_go_by_their_own_answers(speaker):
    manners = [
        Decoding(max_length=8),
        Decoding(method="nucleus", max_length=8, seed=5, temperature=2.0),
    ]
    talk = Conversation([Column(speaker, how) for how in manners])
    talk.say("I failed my test again")
    kept, other = (found.response.text for found in talk.exchanges[0])
    assert kept != other
    talk.columns[1].how = Decoding(method="beam", beams=2, max_length=8)
    talk.again()
    [again] = talk.exchanges
    assert again[0].response.text == kept and again[1].how.method == "beam"


def test_what_cannot_be_answered_changes_nothing(speaker):
    talk = Conversation([Column(speaker, Decoding(max_length=8))])
    talk.say("hello there")
    for text, error, message in (
        ("   ", DataError, "holds no word"),
        ("x" * 5000, RunError, "5,000 characters"),
    ):
        with pytest.raises(error, match=message):
            talk.say(text)
    assert len(talk.exchanges) == 1
    talk.columns[0].how = Decoding(unigram_penalty=0.1, max_length=8)
    kept = [replace(talk.exchanges[0][0], said="")]
    talk.exchanges[0] = kept
    with pytest.raises(DataError):
        talk.again()
    assert talk.exchanges == [kept]


def test_a_talk_is_kept_as_json(speaker):
    talk = Conversation([Column(speaker, Decoding(max_length=6))])
    talk.say(SCRIPT)
    kept = json.loads(json.dumps(talk.asdict()))
    assert kept["runs"][0]["preset"] == "sample" and kept["exchanges"][0]["said"] == SCRIPT
    given = kept["exchanges"][0]["answers"][0]
    assert given["decoding"]["max_length"] == 6 and given["tokens"][0].keys() >= {
        "word",
        "alpha",
        "copied",
    }


def test_answers_are_drawn_as_they_came_about(speaker):
    talk = Conversation([Column(speaker, Decoding(max_length=8))])
    found = talk.say(f"{SCRIPT} my lonely dog")[0]
    drawn = answer_figures(found, f"{SCRIPT}, greedy")
    words, heard = read(drawn)
    generated, copied, alpha = words.data
    assert list(generated.y) == [token.generated for token in found.tokens]
    assert list(copied.y) == [token.copied for token in found.tokens]
    assert list(alpha.y) == [token.alpha for token in found.tokens]
    assert list(heard.data[0].x) == list(found.response.emotions.values())[:8]
    seen = Tags(transcript(talk, 0))
    assert seen.tags <= HARMLESS and seen.attributes <= {"class", "style"} and SCRIPT in seen.text
    assert markup(drawn) <= PLOTLY
    assert "copied rather than generated: nothing" in seen.text
    first, *rest = found.tokens
    found.tokens[:] = [replace(first, word="<b>", generated=0.1, copied=0.3), *rest]
    assert "copied rather than generated: <b> (75%)" in Tags(transcript(talk, 0)).text


def test_runs_that_give_no_answers_are_refused(tiny_run, tiny_prepared):
    from ctsm_lib.training import build_model

    run = load_run(tiny_run)
    config = replace(run.config, model="tfidf")
    silent = replace(run, config=config, model=build_model(config, tiny_prepared).eval())
    with pytest.raises(RunError, match="gives no answers"):
        answer(Voice(silent), TURNS, Decoding())
    with pytest.raises(RunError, match="tfidf"):
        read_context(Voice(silent), TURNS)


def test_an_answer_takes_less_than_a_second(speaker):
    answer(speaker, TURNS, Decoding())
    for method in ("greedy", "beam", "nucleus"):
        times = []
        for _ in range(3):
            begun = time.perf_counter()
            found = answer(speaker, TURNS, Decoding(method=method))
            json.dumps(answer_figures(found, "run"))
            times.append(time.perf_counter() - begun)
        assert min(times) < 1


# ------------------------------------------------------------------------------------------- voices


def test_a_provider_is_asked_once_for_the_same_text():
    class Counting:
        name, fingerprint = "none", "none"

        def __init__(self):
            self.asked = []

        def infer(self, texts, progress=True):
            self.asked += texts
            return [{"xIntent": [text]} for text in texts]

    counting = Counting()
    kept = Remembering(counting)
    assert [i["xIntent"] for i in kept.infer(["a", "b", "a"])] == [["a"], ["b"], ["a"]]
    for number in range(300):
        kept.infer([str(number)])
    assert kept.infer(["299"]) == [{"xIntent": ["299"]}] and counting.asked.count("299") == 1
    assert (
        kept.infer(["a"]) == [{"xIntent": ["a"]}] and counting.asked.count("a") == 2
    )  # forgotten in between


def test_runs_beside_a_run_can_be_chosen(tiny_run):
    beside = runs_beside(load_run(tiny_run))
    assert next(iter(beside)) == tiny_run.name and beside[tiny_run.name] == tiny_run
    assert all((path / "run.json").is_file() for path in beside.values())


def test_the_drawing_puts_no_text_into_markup():
    source = (Path(explorers.__file__).parent / "figures.js").read_text(encoding="utf-8")
    for way in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "srcdoc",
        "http:",
        "https:",
    ):
        assert way not in source


# ------------------------------------------------------------------------------------------- panels


@pytest.fixture
def panels():
    from ctsm_workbench.explorers import panels

    return panels


def test_the_word_panel_follows_what_is_typed(panels, words):
    panel = panels.WordPanel(words)
    assert (
        "excited" in panel.figures.figures[0]["layout"]["title"]["text"]
        and len(panel.figures.figures) == 3
    )
    panel.text.value = "lonely"
    assert "lonely" in panel.figures.figures[0]["layout"]["title"]["text"]
    before = panel.below.value
    panel.other()
    assert panel.below.value != before
    panel.text.value = " "
    assert (
        "Type a word" in panel.message.value
        and panel.figures.figures == []
        and panel.below.value == ""
    )
    panel.text.value = SCRIPT
    assert (
        Tags(panel.message.value).tags <= HARMLESS
        and "script" not in Tags(panel.message.value).tags
    )


def test_the_context_panel_compares_before_and_after(panels, speaker, tiny_prepared):
    panel = panels.ContextPanel(speaker, tiny_prepared, TURNS)
    assert len(panel.figures.figures) == 2 and panel.after.value == panel.before.value == "\n".join(
        TURNS
    )
    panel.after.value = panel.before.value.replace("lonely", "happy")
    assert len(panel.figures.figures) == 3 and "has moved" in panel.message.value
    panel.leave.value = 1
    assert panel.after.value.split("\n") == [TURNS[0], "", TURNS[2]]
    panel.leave.value = 2
    assert panel.after.value.split("\n")[:2] == TURNS[:2] and "has moved" in panel.message.value
    panel.leave.value = -1
    assert panel.after.value == panel.before.value and len(panel.figures.figures) == 2
    panel.map.value = 32
    assert panel.figures.figures[1]["layout"]["xaxis3"]["ticktext"] == list(EMOTIONS)
    panel.after.value = ""
    assert "no turn holds a word" in panel.message.value and panel.figures.figures == []
    panel.before.value = "\n\nA dialogue of my own\n"
    assert panel.after.value == "A dialogue of my own" and [v for _, v in panel.leave.options] == [
        -1,
        0,
    ]
    panel.emotion.value = "lonely"
    panel.pick()
    split = tiny_prepared.corpus.splits["test"]
    texts = [
        "\n".join(split.context_texts(i))
        for i in np.flatnonzero(split.pairs[:, 3] == EMOTIONS.index("lonely"))
    ]
    assert panel.before.value in texts and "label: lonely" in panel.message.value
    panel.before.value = "Something else"
    assert "label:" not in panel.message.value


def test_the_answer_panel_talks(panels, speaker):
    panel = panels.AnswerPanel([speaker])
    assert panel.figures.figures == [] and len(panel.talks.children) == 1
    panel.text.value = SCRIPT
    assert panel.talk.exchanges == []  # only Enter or the button speaks
    panel.text._handle_custom_msg({"event": "submit"}, [])
    assert (
        panel.talk.exchanges[0][0].said == SCRIPT
        and panel.text.value == ""
        and len(panel.figures.figures) == 2
    )
    seen = Tags(panel.talks.children[0].value)
    assert SCRIPT in seen.text and seen.tags <= HARMLESS
    panel.right.run.value = speaker.name
    assert panel.talk.exchanges == [] and len(panel.talks.children) == 2  # somebody new begins anew
    panel.right.method.value = "nucleus"
    assert (
        panel.right.fields["top_p"][0].layout.display == ""
        and panel.right.fields["beams"][0].layout.display == "none"
    )
    panel.text.value = "my dog died"
    panel.say()
    assert [found.how.method for found in panel.talk.exchanges[0]] == ["greedy", "nucleus"]
    assert len(panel.figures.figures) == 4
    link = re.search(
        r'download="conversation.json" href="data:application/json;base64,([^"]+)"',
        panel.file.value,
    )
    assert json.loads(base64.b64decode(link[1])) == json.loads(json.dumps(panel.talk.asdict()))
    panel.left.method.value = "beam"
    panel.again()
    assert panel.talk.exchanges[0][0].how.method == "beam" and len(panel.talk.exchanges) == 1
    panel.undo()
    assert (
        panel.talk.exchanges == [] and panel.text.value == "my dog died" and panel.file.value == ""
    )
    panel.text.value = "..."
    panel.guarded(panel.say)
    panel.text.value = "   "
    panel.guarded(panel.say)
    assert "no word" in panel.message.value


def test_all_three_behind_tabs_with_the_runs_that_are_named(
    panels, tiny_run, tiny_prepared, monkeypatch
):
    from ctsm_workbench import explorers as widgets
    from ctsm_workbench.course import lessons

    monkeypatch.setattr(lessons, "data", lambda: tiny_prepared)
    view = widgets.explorer(tiny_run)
    assert list(view.titles) == ["Word", "Context", "Answer"]
    assert view.children[2].left.run.value == tiny_run.name
    assert widgets.word_explorer("sad").text.value == "sad"
    assert widgets.context_explorer("I am sad", run=tiny_run).before.value == "I am sad"
    two = widgets.answer_explorer(tiny_run, str(tiny_run))
    assert len(two.talk.columns) == 2
    with pytest.raises(RunError, match="too many"):
        widgets.explorer(*[tiny_run] * 9)


def test_without_anywidget_the_way_out_is_named(monkeypatch):
    import importlib
    import sys

    monkeypatch.setitem(sys.modules, "anywidget", None)
    monkeypatch.delitem(sys.modules, "ctsm_workbench.explorers.panels", raising=False)
    with pytest.raises(ConfigError, match=r"anywidget: pip install 'ctsm-lab\[notebooks\]'"):
        importlib.import_module("ctsm_workbench.explorers.panels")


def test_what_cannot_be_explored_is_said_before_anything_is_served(
    tmp_path, tiny_run, tiny_prepared, monkeypatch
):
    from ctsm_workbench.course import lessons
    from ctsm_workbench.explorers import serve

    monkeypatch.setattr(lessons, "data", lambda: tiny_prepared)
    with pytest.raises(RunError):
        serve([tmp_path / "nowhere"])
    with pytest.raises(RunError, match="too many"):
        serve([tiny_run] * 9)
    with pytest.raises(ConfigError, match="neither light nor dark"):
        serve([tiny_run], theme="pink")
