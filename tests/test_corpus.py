"""EmpatheticDialogues: rows, tokens, vocabulary, pairs, IDF. Specification, Section 1."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctsm_lib.corpus import CLS, EOS, PAD, SPECIALS, SYS, UNK, USR, Vocabulary, prepare_corpus
from ctsm_lib.dialogues import COLUMNS, EMOTIONS, read_dialogues, tokenize
from ctsm_lib.errors import DataError

HEADER = ",".join(COLUMNS)


def write(path: Path, *rows: str, header: str = HEADER, end: str = "\n") -> Path:
    path.write_bytes((end.join([header, *rows]) + end).encode())
    return path


def row(
    conv="hit:1", turn=1, emotion="sad", situation="s", speaker=1, text="hello there", rest=",,"
):
    return f"{conv},{turn},{emotion},{situation},{speaker},{text}{rest}"


def folder_of(tmp_path, train, valid=None, test=None):
    for name, rows in (("train", train), ("valid", valid or train), ("test", test or train)):
        write(tmp_path / f"{name}.csv", *rows)
    return tmp_path


def test_there_are_32_emotions_in_order():
    assert len(EMOTIONS) == len(set(EMOTIONS)) == 32
    assert list(EMOTIONS) == sorted(EMOTIONS)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("I'm SO happy!", ["i", "am", "so", "happy", "!"]),
        ("We can't go. It's late", ["we", "can", "not", "go", ".", "it", "is", "late"]),
        ("my dog's bowl", ["my", "dog", "'s", "bowl"]),
        ("wait... what?!", ["wait", "...", "what", "?", "!"]),
        ("", []),
        ("   ", []),
    ],
)
def test_tokenize_resolves_the_baselines_contractions(text, tokens):
    assert tokenize(text) == tokens


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=80))
def test_tokenize_takes_any_text(text):
    tokens = tokenize(text)
    assert all(token and not any(c in " \n\t" for c in token) for token in tokens)


def test_a_row_becomes_a_turn_and_commas_return(tmp_path):
    path = write(
        tmp_path / "a.csv",
        row(text="well_comma_ yes", situation="a_comma_b"),
        row(turn=2, speaker=2, text="oh"),
    )
    dialogues, problems = read_dialogues(path)
    assert problems == []
    assert dialogues[0].turns == ("well, yes", "oh")
    assert dialogues[0].situation == "a,b"


def test_extra_columns_after_tags_crlf_and_quotes_are_accepted(tmp_path):
    rows = [row(rest=",,,candidate one|candidate two"), row(turn=2, text='say "no" to it')]
    dialogues, problems = read_dialogues(write(tmp_path / "a.csv", *rows, end="\r\n"))
    assert problems == []
    assert dialogues[0].turns[1] == 'say "no" to it'


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("hit:1,2,sad", "3 columns"),
        (row(turn="x"), "utterance_idx"),
        (row(turn=0), "utterance_idx"),
        (row(turn=2, emotion="hungry"), "'hungry' is not one of the 32"),
        (row(turn=2, text=" "), "utterance is empty"),
        (row(turn=3), "follows turn 1"),
        (row(conv="", turn=1), "conv_id is empty"),
    ],
)
def test_a_malformed_row_is_reported_with_its_line(tmp_path, bad, reason):
    dialogues, problems = read_dialogues(write(tmp_path / "train.csv", row(), bad))
    assert len(dialogues) == 1
    assert len(dialogues[0].turns) == 1
    assert len(problems) == 1
    assert problems[0].startswith("train.csv:3: ")
    assert reason in problems[0]


def test_after_a_gap_the_rest_of_the_dialogue_is_reported_not_joined(tmp_path):
    rows = [row(), row(turn=2, emotion="nope"), row(turn=3), row(turn=4)]
    dialogues, problems = read_dialogues(write(tmp_path / "a.csv", *rows))
    assert [len(d.turns) for d in dialogues] == [1]
    assert [p.split(":")[1] for p in problems] == ["3", "4", "5"]


@pytest.mark.parametrize(
    "make",
    [
        lambda p: write(p),
        lambda p: write(p, "rubbish"),
        lambda p: write(p, row(), header="a,b,c"),
        lambda p: p.write_bytes(b""),
        lambda p: p.write_bytes(HEADER.encode() + b"\n\xff\xfe\xff"),
    ],
)
def test_a_file_without_any_valid_row_is_an_error_that_names_it(tmp_path, make):
    path = tmp_path / "train.csv"
    make(path)
    with pytest.raises(DataError, match=r"train\.csv"):
        read_dialogues(path)


def test_a_missing_split_names_the_file_and_the_way_out(tmp_path):
    write(tmp_path / "train.csv", row())
    with pytest.raises(DataError, match=r"valid\.csv is missing.*ctsm data fetch"):
        prepare_corpus(tmp_path, tmp_path / "cache")


def test_pairs_are_every_listener_turn_with_all_earlier_turns(tmp_path):
    texts = ["one two", "three", "four five six", "seven", "eight"]
    rows = [row(turn=i, text=text) for i, text in enumerate(texts, start=1)]
    corpus = prepare_corpus(
        folder_of(tmp_path, [*rows, row(conv="hit:2", text="alone")]), tmp_path / "cache"
    )
    split, words = corpus.splits["train"], corpus.vocabulary
    assert len(split.pairs) == 2  # the fifth turn and the lone turn have no answer
    spoken = [words.decode(split.tokens[b:e]) for b, e in split.pairs[:, :2]]
    answers = [words.decode(split.tokens[b:e]) for b, e in split.pairs[:, 1:3]]
    assert spoken == [["one", "two"], ["one", "two", "three", "four", "five", "six"]]
    assert answers == [["three"], ["seven"]]
    assert split.context_texts(1) == texts[:3]
    assert split.response_text(1) == "seven"
    assert split.turn_text(split.pairs[1, 4]) == "four five six"
    assert split.speaker.tolist() == [USR] * 2 + [SYS] + [USR] * 3 + [SYS] + [USR] + [USR]
    assert EMOTIONS[split.pairs[0, 3]] == "sad"


def test_the_vocabulary_has_contexts_targets_and_situations_but_no_unanswered_turn(tmp_path):
    train = [
        row(text="alpha", situation="sigma"),
        row(turn=2, text="beta"),
        row(turn=3, text="omega"),
    ]
    test = [row(text="gamma", situation="tau"), row(turn=2, text="delta")]
    folder = folder_of(tmp_path, train, train, test)
    protocol = prepare_corpus(folder, tmp_path / "cache").vocabulary
    strict = prepare_corpus(folder, tmp_path / "cache", vocab="train").vocabulary
    assert {"alpha", "beta", "sigma", "gamma", "delta", "tau"} <= set(protocol.words)
    assert "omega" not in protocol
    assert "gamma" not in strict
    assert "alpha" in strict
    assert set(EMOTIONS) <= set(protocol.words)  # Eq. (5) needs them


def test_specials_come_first_and_cannot_be_typed():
    words = Vocabulary([*SPECIALS, "cat"])
    assert [words.index[s] for s in SPECIALS] == list(range(7))
    assert words.encode(["cat", "<pad>", "<eos>", "dog"]) == [7, UNK, UNK, UNK]
    with pytest.raises(DataError, match="begins with"):
        Vocabulary(["cat", *SPECIALS])
    with pytest.raises(DataError, match="twice"):
        Vocabulary([*SPECIALS, "cat", "cat"])


def test_idf_by_a_plain_loop(tmp_path):
    """ln((1+N)/(1+df)) + 1 over training utterances, scaled to [0, 1]; unseen 1, CLS and PAD 0."""
    train = [
        row(text="the cat the"),
        row(turn=2, text="the dog"),
        row(conv="b", text="the end of cat"),
        row(conv="b", turn=2, text="so"),
    ]
    test = [row(text="unseenword here"), row(turn=2, text="yes")]
    corpus = prepare_corpus(folder_of(tmp_path, train, train, test), tmp_path / "cache")
    documents = [{"the", "cat"}, {"the", "dog"}, {"the", "end", "of", "cat"}, {"so"}]
    df = Counter(word for document in documents for word in document)
    raw = {word: math.log((1 + 4) / (1 + n)) + 1 for word, n in df.items()}
    low, high = min(raw.values()), max(raw.values())
    for word, value in raw.items():
        assert corpus.idf[corpus.vocabulary.index[word]] == pytest.approx(
            (value - low) / (high - low), abs=1e-6
        ), word
    assert corpus.idf[corpus.vocabulary.index["unseenword"]] == 1
    assert corpus.idf[[PAD, CLS, EOS]].tolist() == [0, 0, 0]


def test_idf_where_training_has_only_an_unanswered_turn(tmp_path):
    """None of its words is in the vocabulary: all that is known from other splits is unseen."""
    other = [row(text="the cat"), row(turn=2, text="so")]
    corpus = prepare_corpus(
        folder_of(tmp_path, [row(text="alpha", situation="beta")], other, other), tmp_path / "cache"
    )
    assert corpus.idf[corpus.vocabulary.index["cat"]] == 1
    assert corpus.idf[[PAD, CLS, EOS]].tolist() == [0, 0, 0]


def test_workers_change_nothing(tmp_path, sample_sources):
    one = prepare_corpus(sample_sources.dialogues, tmp_path / "a", workers=1)
    two = prepare_corpus(sample_sources.dialogues, tmp_path / "b", workers=2)
    assert one.vocabulary.words == two.vocabulary.words
    np.testing.assert_array_equal(one.splits["train"].tokens, two.splits["train"].tokens)


def test_a_changed_file_is_prepared_again(tmp_path):
    folder = folder_of(tmp_path, [row(), row(turn=2, text="first")])
    assert "first" in prepare_corpus(folder, tmp_path / "cache").vocabulary
    write(folder / "train.csv", row(), row(turn=2, text="second"))
    assert "second" in prepare_corpus(folder, tmp_path / "cache").vocabulary


def test_the_sample_is_what_the_readme_says(sample_sources):
    """480 dialogues, 15 for each emotion, 4 to 6 turns, nearly all distinct, Dist-2 above 25."""
    from ctsm_lib.scores import distinct, response_tokens

    dialogues = [
        d
        for s in ("train", "valid", "test")
        for d in read_dialogues(sample_sources.dialogues / f"{s}.csv")[0]
    ]
    assert set(Counter(d.emotion for d in dialogues).values()) == {15}
    assert {len(d.turns) for d in dialogues} <= {4, 5, 6}
    turns = [turn.lower() for d in dialogues for turn in d.turns]
    assert len(set(turns)) / len(turns) >= 0.97
    assert distinct([response_tokens(turn) for d in dialogues for turn in d.turns[1::2]], 2) > 25
    size = sum(path.stat().st_size for path in sample_sources.root.rglob("*") if path.is_file())
    assert size < 1_500_000
