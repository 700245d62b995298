"""Blind sheets, the sealed key, and one judge at work."""

from __future__ import annotations

import base64
import csv
import json
import random
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judging_cases import files, folder_of, rows, sheet_and_key, write

from ctsm_lib.errors import ConfigError, DataError, RunError
from ctsm_workbench.judging import ASPECTS, JudgingSession, make, read_key, read_sheet
from ctsm_workbench.judging.files import (
    Item,
    Sheet,
    clean,
    read_answers,
    sheet_number,
    write_key,
    write_sheet,
)
from ctsm_workbench.judging.sheets import (
    named_files,
    normalise,
    read_rows,
    shuffled_words,
    stratified,
)

SENT = ("sheet.csv", "instructions.md", "key.json")


def finished(session: JudgingSession) -> bool:
    done, total = session.progress
    return done == total


# --- making a sheet ---


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_sheet(tmp_path):
    named = files(tmp_path, "ours", "theirs")
    for out, seed in (("one", 7), ("two", 7), ("three", 8)):
        make(named, tmp_path / out, items=10, seed=seed)
    for name in SENT:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert (tmp_path / "one" / "sheet.csv").read_bytes() != (
        tmp_path / "three" / "sheet.csv"
    ).read_bytes()


def test_answers_are_those_of_the_systems_that_the_key_names(tmp_path):
    named = files(tmp_path, "ours", "theirs", "others")
    written = {name: path.read_text(encoding="utf-8").splitlines() for name, path in named}
    report = make(named, tmp_path / "sheets", items=12, checks=0)
    sheet, key = sheet_and_key(tmp_path / "sheets")
    assert len(sheet.items) == report["rows"] == 24
    for item in sheet.items:
        secret = key["items"][item.name]
        assert {secret["A"], secret["B"]} in ({"ours", "theirs"}, {"ours", "others"})
        for side in ("A", "B"):
            row = json.loads(written[secret[side]][secret["lines"][secret[side]] - 1])
            assert row["response"] == getattr(item, side.lower())
            assert row["context"] == list(item.turns)
            assert row["emotion"] == secret["emotion"]


def test_each_system_is_as_often_a_as_b(tmp_path):
    make(files(tmp_path, "ours", "theirs", "others"), tmp_path / "sheets", items=20)
    _, key = sheet_and_key(tmp_path / "sheets")
    plain = [secret for secret in key["items"].values() if secret["kind"] == "comparison"]
    for other in ("theirs", "others"):
        sides = Counter(secret["A"] for secret in plain if other in (secret["A"], secret["B"]))
        assert sides == {"ours": 10, other: 10}


def test_emotions_have_equal_shares_and_every_comparison_the_same_contexts(tmp_path):
    report = make(files(tmp_path, "ours", "theirs", "others"), tmp_path / "sheets", items=20)
    assert report["emotions"] == {"afraid": 5, "joyful": 5, "proud": 5, "sad": 5}
    sheet, key = sheet_and_key(tmp_path / "sheets")
    times = Counter(
        item.turns for item in sheet.items if key["items"][item.name]["kind"] == "comparison"
    )
    assert len(times) == 20 and set(times.values()) == {2}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.data())
def test_stratified_is_as_even_as_the_piles_allow(sizes, data):
    strata = {
        (f"{pile}-{n}",): f"emotion{pile}" for pile, size in enumerate(sizes) for n in range(size)
    }
    count = data.draw(st.integers(1, len(strata)))
    chosen = stratified(strata, count, random.Random(data.draw(st.integers(0, 99))))
    assert len(set(chosen)) == count
    share = Counter(strata[context] for context in chosen)
    largest = max(share.values())
    for pile, size in enumerate(
        sizes
    ):  # who has less than the largest share has at most one less, or nothing left
        assert share[f"emotion{pile}"] >= min(size, largest - 1)


def test_the_sheet_says_nothing_of_who_wrote_what(tmp_path):
    folder = folder_of(tmp_path, "ours", "theirs", items=20)
    shown = (folder / "sheet.csv").read_text(encoding="utf-8") + (
        folder / "instructions.md"
    ).read_text(encoding="utf-8")
    for secret in (
        "ours",
        "theirs",
        ".jsonl",
        "joyful",
        "comparison",
        "shuffled",
        "unrelated",
        "expected",
    ):
        assert secret not in shown
    sealed = (folder / "key.json").read_text(encoding="utf-8")
    assert "ours" not in sealed and "theirs" not in sealed  # not to be read by accident


def test_contexts_match_whatever_tokenizer_wrote_them_and_in_any_order(tmp_path):
    ours, theirs = rows("one"), rows("two")
    for row in theirs:
        row["context"] = [
            turn.replace(" .", ".").replace(" ,", ",").title() for turn in row["context"]
        ]
    named = [
        ("a", write(tmp_path / "a.jsonl", ours)),
        ("b", write(tmp_path / "b.jsonl", theirs[::-1])),
    ]
    report = make(named, tmp_path / "sheets", items=40, checks=0)
    assert report["files"]["b"]["matched"] == 40
    for item in read_sheet(tmp_path / "sheets").items:
        number = item.turns[0].split()[2]
        assert {item.a, item.b} == {f"one answers to {number} .", f"two answers to {number} ."}


def test_unmatched_and_repeated_contexts_are_counted_for_each_file(tmp_path):
    ours, theirs = rows("one", 12), rows("two", 10)
    theirs[9]["context"] = ["something else ."]
    ours.append(ours[0] | {"response": "another answer"})
    named = [("a", write(tmp_path / "a.jsonl", ours)), ("b", write(tmp_path / "b.jsonl", theirs))]
    report = make(named, tmp_path / "sheets", items=8, checks=0)
    expected = {
        "rows": 13,
        "matched": 8,
        "unmatched": 3,
        "repeated": 2,
        "unmatched_lines": [10, 11, 12],
    }
    assert report["files"]["a"] == expected
    # b's first context is one that a has twice: it finds no partner
    assert report["files"]["b"] == {
        "rows": 10,
        "matched": 8,
        "unmatched": 2,
        "repeated": 0,
        "unmatched_lines": [1, 10],
    }


@pytest.mark.parametrize(
    "turn",
    ["Don't go, I'm 30!", "do n't go , i 'm 30 !", "DON’T GO; I’M 30", "do not go i am 30 ."],
)
def test_normalised_contexts_are_letters_and_digits_after_contractions(turn):
    assert normalise([turn]) == ("donotgoiam30",)


def test_capitals_and_spacing_do_not_tell_who_wrote_an_answer(tmp_path):
    made = rows("one")
    for row in made:
        row["response"] = "I'm sorry, that's hard! Really."
        row["reference"] = row["reference"].replace(" ?", "?").capitalize()
    named = [
        ("a", write(tmp_path / "a.jsonl", made)),
        ("b", write(tmp_path / "b.jsonl", rows("two"))),
    ]
    report = make(named, tmp_path / "sheets", items=8, checks=2)
    assert report["form"] == "lower case, tokens apart"
    for item in read_sheet(tmp_path / "sheets").items:
        for text in (item.a, item.b):
            assert text == text.lower() and text[-2:] not in ("d!", "y.", "e?")
    shown = {item.a for item in read_sheet(tmp_path / "sheets").items} | {
        item.b for item in read_sheet(tmp_path / "sheets").items
    }
    assert "i am sorry , that is hard ! really ." in shown


def test_answers_that_nobody_tokenised_are_shown_as_written(tmp_path):
    for name in ("a", "b"):
        write(
            tmp_path / f"{name}.jsonl",
            [row | {"response": f"I'm {name}, OK?"} for row in rows(name)],
        )
    named = [(name, tmp_path / f"{name}.jsonl") for name in ("a", "b")]
    assert make(named, tmp_path / "sheets", items=8, checks=0)["form"] == "as written"
    assert all(
        {item.a, item.b} == {"I'm a, OK?", "I'm b, OK?"}
        for item in read_sheet(tmp_path / "sheets").items
    )


def test_a_last_turn_more_is_another_context():
    assert normalise(["a", "b"]) != normalise(["ab"]) != normalise(["a"])


# --- attention checks ---


def test_attention_checks_have_a_plain_answer(tmp_path):
    folder = folder_of(tmp_path, items=10, checks=6)
    sheet, key = sheet_and_key(folder)
    references = {normalise(row["context"]): row for row in rows("any")}
    seen = Counter()
    for place, item in enumerate(sheet.items):
        secret = key["items"][item.name]
        if secret["kind"] == "comparison":
            continue
        assert place > 0
        seen[secret["kind"]] += 1
        own = references[normalise(item.turns)]
        good, bad = (item.a, item.b) if secret["expected"] == "A" else (item.b, item.a)
        assert good == own["reference"]
        assert secret["aspect"] == "fluency"
        assert sorted(bad.split()) == sorted(good.split()) and bad != good
    assert seen == {"shuffled": 6}  # these references are all too much alike to be unrelated


def test_unrelated_answers_come_from_another_emotion(tmp_path):
    made = rows("one")
    for number, row in enumerate(made):
        word = ("river", "engine", "piano", "garden", "winter")[number % 5]
        row["reference"] = " ".join(f"{word}{number}{place}" for place in range(7))
    named = [
        ("a", write(tmp_path / "a.jsonl", made)),
        ("b", write(tmp_path / "b.jsonl", rows("two"))),
    ]
    make(named, tmp_path / "sheets", items=4, checks=8)
    sheet, key = sheet_and_key(tmp_path / "sheets")
    emotion = {row["reference"]: row["emotion"] for row in made}
    context = {row["reference"]: row["context"] for row in made}
    kinds = Counter(secret["kind"] for secret in key["items"].values())
    assert kinds == {"comparison": 4, "shuffled": 4, "unrelated": 4}
    for item in sheet.items:
        secret = key["items"][item.name]
        if secret["kind"] == "unrelated":
            assert secret["aspect"] == "relevance"
            good, bad = (item.a, item.b) if secret["expected"] == "A" else (item.b, item.a)
            assert normalise(item.turns) == normalise(context[good])
            assert emotion[good] != emotion[bad]


@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=12), st.integers(0, 9))
def test_shuffled_words_are_the_same_words(words, seed):
    assert sorted(shuffled_words(" ".join(words), random.Random(seed)).split()) == sorted(words)


def test_few_references_are_used_twice_before_a_check_is_refused(tmp_path):
    named = files(tmp_path, "ours", "theirs", count=10)
    assert make(named, tmp_path / "all", items=9, checks=5)["checks"] == 5
    with pytest.raises(ConfigError, match=r"10 contexts have .* Choose --checks from 0 to 10"):
        make(named, tmp_path / "more", items=9, checks=11)
    assert not (tmp_path / "more").exists()


# --- what make refuses ---


def test_nothing_is_written_over(tmp_path):
    named = files(tmp_path, "ours", "theirs")
    make(named, tmp_path / "sheets", items=5)
    before = (tmp_path / "sheets" / "sheet.csv").read_bytes()
    with pytest.raises(ConfigError, match=r"sheet\.csv is there already"):
        make(named, tmp_path / "sheets", items=6)
    assert (tmp_path / "sheets" / "sheet.csv").read_bytes() == before


@pytest.mark.parametrize("items", [0, -1, 41])
def test_numbers_of_items_that_make_no_sense(tmp_path, items):
    with pytest.raises(ConfigError, match=f"{items} items were asked for, but 40 contexts"):
        make(files(tmp_path, "ours", "theirs"), tmp_path / "sheets", items=items)


def test_files_without_a_common_context(tmp_path):
    other = rows("two")
    for row in other:
        row["context"] = ["elsewhere", *row["context"]]
    named = [
        ("a", write(tmp_path / "a.jsonl", rows("one"))),
        ("b", write(tmp_path / "b.jsonl", other)),
    ]
    with pytest.raises(ConfigError, match=r"no context is in all files \(a\.jsonl, b\.jsonl\)"):
        make(named, tmp_path / "sheets", items=5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"context": None}, '"context" should be the list of the turns'),
        ({"context": []}, '"context" should be the list of the turns'),
        ({"context": [1, 2]}, '"context" should be the list of the turns'),
        ({"context": {"a": 1}}, '"context" should be the list of the turns'),
        ({"response": 3}, 'expected an object with a text "response"'),
        ({"emotion": 3}, '"emotion" should be text'),
        ({"reference": ["a"]}, '"reference" should be text'),
    ],
)
def test_wrong_types_are_named_with_their_line(tmp_path, change, message):
    made = rows("one", 3)
    made[1] |= change
    path = write(tmp_path / "a.jsonl", made)
    with pytest.raises(DataError, match=r"a\.jsonl:2: ") as error:
        read_rows(path)
    assert message in str(error.value)


@pytest.mark.parametrize("text", ["", "\n\n", "not json\n", "[1]\n", '{"response": "a"'])
def test_files_that_are_no_json_lines(tmp_path, text):
    (tmp_path / "a.jsonl").write_text(text)
    with pytest.raises(DataError, match=r"a\.jsonl"):
        read_rows(tmp_path / "a.jsonl")


def test_a_context_without_emotion_is_named(tmp_path):
    made = rows("one", 6)
    for row in made:
        del row["emotion"]
    named = [("a", write(tmp_path / "a.jsonl", made)), ("b", write(tmp_path / "b.jsonl", made))]
    with pytest.raises(DataError, match=r"a\.jsonl:1: no file names this context's \"emotion\""):
        make(named, tmp_path / "sheets", items=2, checks=0)


def test_files_have_names():
    assert named_files(["x/kemp.jsonl", "ours=run=1.jsonl"]) == [
        ("kemp", Path("x/kemp.jsonl")),
        ("ours", Path("run=1.jsonl")),
    ]
    with pytest.raises(ConfigError, match="2 files are called 'a'"):
        named_files(["x/a.jsonl", "y/a.jsonl"])
    with pytest.raises(ConfigError, match="Two files of answers are needed"):
        named_files(["a.jsonl"])


# --- sheet and key ---


TEXT = st.text(max_size=30)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.lists(TEXT, min_size=1, max_size=3), TEXT, TEXT), min_size=1, max_size=4)
)
def test_any_text_comes_back_from_the_sheet(drafts):
    items = tuple(
        Item(f"q{place}", tuple(map(clean, turns)), clean(a), clean(b))
        for place, (turns, a, b) in enumerate(drafts)
    )
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        sheet = Sheet(sheet_number(items, {}), items)
        write_sheet(folder, sheet)
        assert read_sheet(folder) == sheet
        write_key(folder / "key.json", sheet.number, {})
        assert read_key(folder / "key.json", read_sheet(folder)) == {}


def test_no_answer_is_shown_as_such(tmp_path):
    named = [
        ("a", write(tmp_path / "a.jsonl", [row | {"response": " \n"} for row in rows("a", 6)]))
    ]
    make([*named, *files(tmp_path, "b", count=6)], tmp_path / "sheets", items=6, checks=0)
    assert all("(no answer)" in (item.a, item.b) for item in read_sheet(tmp_path / "sheets").items)


def test_half_a_character_is_no_obstacle(tmp_path):
    made = rows("one", 6)
    (tmp_path / "a.jsonl").write_text(
        "".join(json.dumps(row | {"response": "\ud83d so"}) + "\n" for row in made)
    )
    make(
        [("a", tmp_path / "a.jsonl"), *files(tmp_path, "b", count=6)],
        tmp_path / "sheets",
        items=6,
        checks=0,
    )
    assert any(item.a == "? so" for item in read_sheet(tmp_path / "sheets").items)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(TEXT, min_size=8, max_size=8),
    st.lists(TEXT, min_size=8, max_size=8),
    st.integers(0, 999),
)
def test_shuffling_and_sealing_lose_nothing(ours, theirs, seed):
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        texts = {"a": ours, "b": theirs}
        named = []
        for name, answers in texts.items():
            made = [
                row | {"response": f"Said: {text}"}
                for row, text in zip(rows(name, 8), answers, strict=True)
            ]
            named.append((name, write(folder / f"{name}.jsonl", made)))
        make(named, folder / "sheets", items=8, checks=1, seed=seed)
        sheet, key = sheet_and_key(folder / "sheets")
        found: dict[str, dict[int, str]] = {"a": {}, "b": {}}
        for item in sheet.items:
            secret = key["items"][item.name]
            for side in ("A", "B") if secret["kind"] == "comparison" else ():
                found[secret[side]][secret["lines"][secret[side]]] = getattr(item, side.lower())
        for name, answers in texts.items():
            expected = {line: clean(f"Said: {text}") for line, text in enumerate(answers, start=1)}
            assert found[name] == expected


def test_spreadsheets_do_not_compute_answers(tmp_path):
    made = rows("one", 6)
    for row in made:
        row["response"] = '=HYPERLINK("http://example.org")'
    named = [
        ("a", write(tmp_path / "a.jsonl", made)),
        ("b", write(tmp_path / "b.jsonl", rows("Two", 6))),
    ]
    make(named, tmp_path / "sheets", items=6, checks=0)
    with (tmp_path / "sheets" / "sheet.csv").open(newline="") as file:
        for row in csv.reader(file):
            assert not any(cell.startswith(("=", "+", "-", "@")) for cell in row)
    assert any(item.a.startswith("=HYPER") for item in read_sheet(tmp_path / "sheets").items)


def test_a_key_of_another_sheet_is_refused(tmp_path):
    named = files(tmp_path, "ours", "theirs")
    make(named, tmp_path / "one", items=5, seed=1)
    make(named, tmp_path / "two", items=5, seed=2)
    with pytest.raises(DataError, match=r"is the key of sheet-.*, but the sheet is sheet-"):
        read_key(tmp_path / "two" / "key.json", read_sheet(tmp_path / "one"))


def test_a_key_that_was_changed_is_refused(tmp_path):
    folder = folder_of(tmp_path, items=5)
    sheet = read_sheet(folder)
    document = json.loads((folder / "key.json").read_text())
    payload = base64.b64decode(document["sealed"]).decode()
    swapped = payload.replace('"A": "ours"', '"A": "theirs"', 1)
    assert swapped != payload
    document["sealed"] = base64.b64encode(swapped.encode()).decode()
    (folder / "key.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match="the seal is broken"):
        read_key(folder / "key.json", sheet)
    write_key(
        folder / "key.json", sheet.number, json.loads(swapped)
    )  # sealed anew, under the old sheet's number
    with pytest.raises(DataError, match="do not fit together"):
        read_key(folder / "key.json", sheet)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", "\x00", '{"sealed": "!", "sha256": "", "sheet": ""}']
)
def test_what_is_no_key(tmp_path, text):
    folder = folder_of(tmp_path, items=5)
    (folder / "key.json").write_text(text)
    with pytest.raises(DataError, match=r"key\.json is not a key"):
        read_key(folder / "key.json", read_sheet(folder))
    with pytest.raises(DataError, match=r"is missing.*--key"):
        read_key(folder / "none.json", read_sheet(folder))


def test_a_changed_text_is_noticed(tmp_path):
    folder = folder_of(tmp_path, items=5)
    text = (folder / "sheet.csv").read_text()
    (folder / "sheet.csv").write_text(text.replace("lost my keys", "found my keys", 1))
    with pytest.raises(DataError, match="texts, order or key were changed"):
        read_key(folder / "key.json", read_sheet(folder))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no row"),
        ("sheet,item,context,A,B\n", "holds no row"),
        ("sheet,item,A,B\nx,q1,a,b\n", "sheet.csv:1: needs one column context"),
        ("sheet,item,context,A,A,B\n1,2,3,4,5,6\n", "needs one column A"),
        (
            "sheet,item,context,A,B\nx,q1,Speaker: hi,a\n",
            "sheet.csv:2: 4 cells where the header has 5",
        ),
        (
            "sheet,item,context,A,B\nx,q1,hi,a,b\n",
            'sheet.csv:2: line 1 of the context should begin with "Speaker:"',
        ),
        (
            "sheet,item,context,A,B\nx,q1,Speaker: hi,a,b\n\nx,q1,Speaker: hi,a,b\n",
            "sheet.csv:4: item q1 is there twice",
        ),
        (
            "sheet,item,context,A,B\nx,q1,Speaker: hi,a,b\ny,q2,Speaker: hi,a,b\n",
            "sheet.csv:3: 'y' among the rows of 'x'",
        ),
        ('sheet,item,context,A,B\nx,q1,"Speaker: hi,a,b\n', "sheet.csv:2: not CSV"),
    ],
)
def test_what_is_no_sheet(tmp_path, text, message):
    (tmp_path / "sheet.csv").write_text(text)
    with pytest.raises(DataError) as error:
        read_sheet(tmp_path)
    assert message in str(error.value)


def test_a_sheet_that_is_missing_or_not_utf8(tmp_path):
    with pytest.raises(DataError, match=r"sheet\.csv is missing\. `ctsm judge make`"):
        read_sheet(tmp_path)
    (tmp_path / "sheet.csv").write_bytes("sheet,item\né".encode("cp1252"))
    with pytest.raises(DataError, match=r"be read as UTF-8.*\. Export it as CSV in UTF-8\.$"):
        read_sheet(tmp_path)


# --- judgements by hand ---


def filled_in(folder: Path, **dialect) -> list[list[str]]:
    with (folder / "sheet.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.reader(file))
    return [table[0]] + [[*row[:5], "a", " Tie ", "B"] for row in table[1:]]


@pytest.mark.parametrize(
    ("delimiter", "encoding", "end"),
    [(",", "utf-8", "\n"), (";", "utf-8-sig", "\r\n"), ("\t", "utf-8", "\r\n")],
)
def test_a_copy_of_the_sheet_filled_in_with_any_spreadsheet(tmp_path, delimiter, encoding, end):
    folder = folder_of(tmp_path, items=5)
    path = folder / "judges" / "eva.csv"
    path.parent.mkdir()
    with path.open("w", newline="", encoding=encoding) as file:
        csv.writer(file, delimiter=delimiter, lineterminator=end).writerows(filled_in(folder))
    sheet = read_sheet(folder)
    answers, _ = read_answers(path, sheet)
    assert len(answers) == len(sheet.items) * len(ASPECTS)
    assert {answers[item.name, "relevance"] for item in sheet.items} == {"tie"}
    assert finished(JudgingSession(folder, "eva"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{number},q1,A,maybe,B", ":2: relevance of q1 is 'maybe'. Write A, tie or B."),
        ("{number},q99,A,A,B", "has no item 'q99'"),
        ("sheet-0000,q1,A,A,B", ":2: judged on 'sheet-0000', but the sheet is sheet-"),
        ("{number},q1,A,A,B\n{number},q1,A,A,A", ":3: item q1 is there twice, first on line 2"),
        ("{number},q1,A,A", ":2: 4 cells where the header has 5"),
    ],
)
def test_judgements_that_are_refused(tmp_path, row, message):
    folder = folder_of(tmp_path, items=5)
    sheet = read_sheet(folder)
    path = tmp_path / "eva.csv"
    path.write_text(
        "sheet,item,empathy,relevance,fluency\n" + row.format(number=sheet.number) + "\n"
    )
    with pytest.raises(DataError) as error:
        read_answers(path, sheet)
    assert message in str(error.value) and "eva.csv" in str(error.value)


# --- one judge at work ---


def test_every_answer_is_saved_at_once(tmp_path):
    folder = folder_of(tmp_path, items=5)
    session = JudgingSession(folder, "eva")
    assert session.progress == (0, len(session.sheet.items)) and not finished(session)
    for count, aspect in enumerate(ASPECTS, start=1):
        session.answer(aspect, "tie")
        answers, _ = read_answers(session.path, session.sheet)
        assert len(answers) == count
    assert session.progress[0] == 1


def test_a_session_opens_where_the_judge_left_off(tmp_path):
    folder = folder_of(tmp_path, items=5)
    session = JudgingSession(folder, "eva")
    for aspect in ASPECTS:
        session.answer(aspect, "A")
    session.go(session.position + 1)
    session.answer("empathy", "B")
    again = JudgingSession(folder, "eva")
    assert again.position == 1 and again.answers == session.answers
    assert again.screen()["answers"] == {"empathy": "B", "relevance": "", "fluency": ""}


def test_back_next_and_second_thoughts(tmp_path):
    session = JudgingSession(folder_of(tmp_path, items=5), "eva")
    session.go(session.position - 1)
    assert session.position == 0
    session.answer("fluency", "A")
    session.go(session.position + 1)
    session.go(session.position - 1)
    session.answer("fluency", "B")
    assert session.answers == {(session.item.name, "fluency"): "B"}
    session.go(99)
    last = session.position
    session.go(session.position + 1)
    assert session.position == last == len(session.sheet.items) - 1


def test_several_judges_have_a_file_each(tmp_path):
    folder = folder_of(tmp_path, items=5)
    sessions = [JudgingSession(folder, name) for name in ("eva", "otto", "zoë")]
    for place in range(2):
        for session, choice in zip(sessions, ("A", "tie", "B"), strict=True):
            session.go(place)
            session.answer("empathy", choice)
    for session, choice in zip(sessions, ("A", "tie", "B"), strict=True):
        assert set(JudgingSession(folder, session.judge).answers.values()) == {choice}


def test_two_windows_of_one_judge_keep_each_others_answers(tmp_path):
    folder = folder_of(tmp_path, items=5)
    one, two = JudgingSession(folder, "eva"), JudgingSession(folder, "eva")
    one.answer("empathy", "A")
    two.answer("fluency", "B")
    assert JudgingSession(folder, "eva").answers == {
        (one.item.name, "empathy"): "A",
        (one.item.name, "fluency"): "B",
    }


@pytest.mark.parametrize(
    "name", ["", " ", "../eva", "a/b", ".eva", "eva.csv", "x" * 41, "e\0a", "-eva"]
)
def test_names_that_are_no_file_names(tmp_path, name):
    with pytest.raises(ConfigError, match="a name has up to 40 letters"):
        JudgingSession(folder_of(tmp_path, items=5), name)


@pytest.mark.parametrize(
    ("aspect", "choice"), [("empathy", "C"), ("empathy", ""), ("humour", "A"), ("empathy", "a")]
)
def test_answers_that_are_none(tmp_path, aspect, choice):
    session = JudgingSession(folder_of(tmp_path, items=5), "eva")
    with pytest.raises(ConfigError):
        session.answer(aspect, choice)
    assert not session.answers and not session.path.exists()


def test_an_answer_that_cannot_be_written_does_not_count(tmp_path, monkeypatch):
    session = JudgingSession(folder_of(tmp_path, items=5), "eva")
    session.answer("empathy", "A")
    before = session.path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RunError, match=r"cannot be written: No space left"):
        session.answer("fluency", "B")
    assert (session.item.name, "fluency") not in session.answers
    assert session.path.read_bytes() == before


KILLED = """
import os, signal, sys
from ctsm_workbench.judging.page import JudgingSession
folder, moment = sys.argv[1:]
session = JudgingSession(folder, "eva")
for aspect in ("empathy", "relevance"):
    session.answer(aspect, "A")
    print(aspect, flush=True)
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
if moment == "half written":
    from pathlib import Path
    open_path = Path.open
    def half(self, *arguments, **options):
        file = open_path(self, *arguments, **options)
        write = file.write
        def part(text):
            write(text[: len(text) // 2])
            file.flush()
            die()
        if self.name.startswith("."):
            file.write = part
        return file
    Path.open = half
else:
    setattr(os, moment, die)
session.answer("fluency", "B")
print("fluency", flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
@pytest.mark.parametrize("moment", ["half written", "fsync", "replace"])
def test_kill_minus_nine_in_the_middle_of_saving(tmp_path, moment):
    folder = folder_of(tmp_path, items=5)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, folder, moment], capture_output=True, text=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert done.stdout.split() == ["empathy", "relevance"]
    session = JudgingSession(folder, "eva")
    first = session.sheet.items[0].name
    assert session.answers == {(first, "empathy"): "A", (first, "relevance"): "A"}
    session.answer("fluency", "B")
    assert JudgingSession(folder, "eva").progress[0] == 1
    assert [path.name for path in (folder / "judges").glob("*.csv")] == ["eva.csv"]


def test_after_the_last_answer_everything_is_done(tmp_path):
    session = JudgingSession(folder_of(tmp_path, items=4, checks=0), "eva")
    for place in range(4):
        assert not finished(session)
        for aspect in ASPECTS:
            session.answer(aspect, "tie")
        assert session.progress == (place + 1, 4)
        session.go(session.position + 1)
    assert finished(session) and finished(JudgingSession(session.path.parent.parent, "eva"))
