"""From judgements to Table 2: counts, agreement, tests; what is refused; how it is written down."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judging_cases import always, files, folder_of, judge, prefers, sheet_and_key

from ctsm_lib.errors import DataError
from ctsm_workbench.judging import ASPECTS, JudgingSession, agreement, figure, make, markdown
from ctsm_workbench.judging.scoring import OUTCOMES, gather, in_words, score, sign_test, write_table

# --- agreement ---

# The worked example of textbooks: 14 raters, 10 subjects, 5 categories; kappa 0.210.
FOURTEEN_RATERS = [
    (0, 0, 0, 0, 14), (0, 2, 6, 4, 2), (0, 0, 3, 5, 6), (0, 3, 9, 2, 0), (2, 2, 8, 1, 1),
    (7, 7, 0, 0, 0), (3, 2, 6, 3, 0), (2, 5, 3, 2, 2), (6, 5, 2, 1, 0), (0, 2, 2, 3, 7),
]  # fmt: skip


def as_codes(counts):
    return np.array([[code for code, n in enumerate(row) for _ in range(n)] for row in counts])


def slow_kappa(codes) -> float | None:
    """Fleiss' kappa from its meaning: how many pairs of judges agree, beyond what chance brings."""
    pairs = [one == other for row in codes for one, other in itertools.combinations(row, 2)]
    shares = [count / codes.size for count in Counter(codes.ravel().tolist()).values()]
    chance = sum(share**2 for share in shares)
    return None if len(shares) == 1 else (sum(pairs) / len(pairs) - chance) / (1 - chance)


def test_kappa_of_the_well_known_example():
    result = agreement(as_codes(FOURTEEN_RATERS))
    assert round(result["value"], 3) == 0.210
    assert result["low"] < 0.210 < result["high"]
    assert in_words(result["value"]) == "fair"


CODES = st.integers(2, 5).flatmap(
    lambda judges: st.lists(
        st.lists(st.integers(0, 2), min_size=judges, max_size=judges), min_size=1, max_size=12
    )
)


@settings(max_examples=150, deadline=None)
@given(CODES)
def test_kappa_is_that_of_counted_pairs(table):
    codes = np.array(table)
    expected = slow_kappa(codes)
    result = agreement(codes, draws=0)
    if expected is None:
        assert result["value"] is None and "all judgements are the same" in result["note"]
    else:
        assert result["value"] == pytest.approx(expected, abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(CODES, st.randoms(use_true_random=False))
def test_kappa_knows_no_order(table, dice):
    codes = np.array(table)
    items, judges = list(range(len(codes))), list(range(codes.shape[1]))
    dice.shuffle(items)
    dice.shuffle(judges)
    other = (codes[items][:, judges] + 1) % 3  # other names for the categories, too
    assert agreement(other, draws=0)["value"] == pytest.approx(agreement(codes, draws=0)["value"])


@pytest.mark.parametrize(
    ("codes", "value", "note"),
    [
        ([[0], [1], [2]], None, "one judge"),
        ([[1, 1, 1], [1, 1, 1]], None, "all judgements are the same"),
        ([[0, 0, 0]], None, "all judgements are the same"),
        ([[0, 1, 2]], -0.5, "one item"),
        ([[0, 0], [1, 1], [2, 2]], 1.0, ""),
        ([[0, 1], [1, 0]], -1.0, ""),
    ],
)
def test_degenerate_agreement_has_a_note_and_no_warning(codes, value, note, recwarn):
    result = agreement(np.array(codes), draws=200)
    assert result["value"] == (value if value is None else pytest.approx(value))
    assert note in result["note"]
    assert not [w for w in recwarn if issubclass(w.category, RuntimeWarning)]
    json.dumps(result, allow_nan=False)


def test_the_interval_is_repeatable_holds_the_value_and_shrinks_with_items():
    random = np.random.default_rng(3)
    truth = random.integers(0, 3, 400)
    noisy = [
        np.where(random.random(400) < 0.7, truth, random.integers(0, 3, 400)) for _ in range(3)
    ]
    codes = np.stack(noisy, axis=1)
    wide, narrow = agreement(codes[:40], draws=400), agreement(codes, draws=400)
    assert agreement(codes, draws=400) == narrow
    assert narrow["low"] < narrow["value"] < narrow["high"]
    assert narrow["high"] - narrow["low"] < (wide["high"] - wide["low"]) / 2


def test_samples_in_which_kappa_is_undefined_are_counted():
    codes = np.array(
        [[0, 0, 0]] * 9 + [[0, 1, 1]]
    )  # about a third of the samples lack the last item
    result = agreement(codes, draws=500, seed=1)
    assert 0.25 * 500 < result["undefined_draws"] < 0.45 * 500
    assert result["low"] <= result["value"] <= result["high"]
    rare = agreement(np.array([[0, 0, 0]] * 2 + [[0, 0, 1]]), draws=0)
    assert rare["low"] is None and "no interval" in rare["note"]


@pytest.mark.parametrize(("wins", "losses"), [(0, 1), (3, 3), (8, 1), (1, 8), (30, 12)])
def test_the_sign_test_adds_up_what_is_as_unlikely(wins, losses):
    n = wins + losses
    chance = [math.comb(n, k) / 2**n for k in range(n + 1)]
    expected = sum(p for p in chance if p <= chance[wins] * (1 + 1e-9))
    result = sign_test(wins, losses)
    assert result["p"] == pytest.approx(expected)
    assert result["low"] <= wins / n <= result["high"]


def test_the_sign_test_without_wins_and_losses():
    assert sign_test(0, 0) == {
        "wins": 0,
        "losses": 0,
        "p": None,
        "share": None,
        "low": None,
        "high": None,
    }


# --- counting ---


def judged(tmp_path, *deciders, systems=("ours", "theirs"), **options):
    folder = folder_of(tmp_path, *systems, **({"items": 20} | options))
    for name, decide in deciders:
        judge(folder, name, decide)
    return folder


def test_whoever_is_always_preferred_wins_all(tmp_path):
    folder = judged(
        tmp_path, ("eva", prefers("ours")), ("otto", prefers("ours")), systems=("ours", "b", "c")
    )
    result = score(gather([folder]), draws=20)
    assert [(row["comparison"], row["aspect"]) for row in result["table"]] == [
        (f"ours vs. {other}", aspect) for other in ("b", "c") for aspect in ASPECTS
    ]
    for row in result["table"]:
        assert row["pooled"] == {"win": 100, "tie": 0, "lose": 0}
        assert row["majority"] == {"win": 100, "tie": 0, "lose": 0, "none": 0}
        assert row["test"]["p"] == pytest.approx(2 / 2**20)
        assert row["kappa"]["value"] is None
    for about in result["judges"].values():
        assert (about["checks"], about["passed"], about["failed"]) == (2, 2, [])


def test_a_judge_who_always_takes_a_is_found_out_and_favours_nobody(tmp_path):
    folder = judged(tmp_path, ("eva", always("A")), ("otto", always("tie")))
    result = score(gather([folder]), draws=20)
    for row in result["table"]:
        assert row["pooled"] == {"win": 25, "tie": 50, "lose": 25}
        assert row["majority"]["none"] == 100 and row["test"]["p"] is None and row["p_holm"] is None
    eva, otto = result["judges"]["eva"], result["judges"]["otto"]
    assert eva["sides"] == {"A": 60, "tie": 0, "B": 0}
    assert eva["side_test"]["wins"] == 20 and eva["side_test"]["p"] < 0.001
    assert otto["side_test"]["p"] is None and otto["passed"] == 0


def test_failed_checks_are_named_and_do_not_count_in_the_table(tmp_path):
    folder = folder_of(tmp_path, items=10, checks=4)
    _, key = sheet_and_key(folder)
    checks = {
        name: secret for name, secret in key["items"].items() if secret["kind"] != "comparison"
    }
    wrong = sorted(checks)[0]

    def decide(item, secret, aspect):
        if item.name == wrong:
            return "B" if secret["expected"] == "A" else "A"
        # Only the checked aspect counts: for the other aspects no answer is known to be right.
        return secret.get("expected", "tie") if aspect == secret.get("aspect", aspect) else "tie"

    judge(folder, "eva", decide)
    result = score(gather([folder]), draws=20)
    about = result["judges"]["eva"]
    assert (about["checks"], about["passed"], about["failed"]) == (4, 3, [wrong])
    assert all(row["items"] == 10 and row["pooled"]["tie"] == 100 for row in result["table"])


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4))
def test_counts_are_those_of_a_slow_count(tmp_path_factory, seed, judges):
    """Random judgements; the reference reads the judges' files and the key line by line."""
    tmp_path = tmp_path_factory.mktemp("count")
    folder = folder_of(tmp_path, "ours", "b", "c", items=6, checks=1, seed=seed)
    random = np.random.default_rng(seed)
    sheet, key = sheet_and_key(folder)
    for place in range(judges):
        judge(folder, f"j{place}", lambda *_: ("A", "tie", "B")[random.integers(3)])
    result = score(gather([folder]), draws=5)
    by_hand: dict[tuple[str, str], list[list[str]]] = {}
    for item in sheet.items:
        secret = key["items"][item.name]
        if secret["kind"] != "comparison":
            continue
        other = next(name for name in (secret["A"], secret["B"]) if name != "ours")
        for column, aspect in enumerate(ASPECTS, start=2):
            said = []
            for place in range(judges):
                lines = (folder / "judges" / f"j{place}.csv").read_text().splitlines()
                choice = next(line.split(",") for line in lines if line.split(",")[1] == item.name)[
                    column
                ]
                said.append(
                    "tie" if choice == "tie" else "win" if secret[choice] == "ours" else "lose"
                )
            by_hand.setdefault((f"ours vs. {other}", aspect), []).append(said)
    assert len(result["table"]) == len(by_hand)
    for row in result["table"]:
        said = by_hand[row["comparison"], row["aspect"]]
        flat = [outcome for item in said for outcome in item]
        for outcome in OUTCOMES:
            assert row["pooled"][outcome] == pytest.approx(100 * flat.count(outcome) / len(flat))
            firm = sum(item.count(outcome) > judges / 2 for item in said)
            assert row["majority"][outcome] == pytest.approx(100 * firm / len(said))
        assert sum(row["majority"].values()) == pytest.approx(100)
        assert (
            row["kappa"]["value"] == pytest.approx(slow_kappa(np.array(said)))
            if judges > 1
            else True
        )
        assert (row["kappa"]["value"] is None) == (judges == 1 or len(set(flat)) == 1)


def test_holm_is_never_kinder_than_the_single_test(tmp_path):
    folder = folder_of(tmp_path, "ours", "b", "c", items=20)
    random = np.random.default_rng(5)
    judge(folder, "eva", lambda *_: ("A", "tie", "B")[random.integers(3)])
    rows = score(gather([folder]), draws=5)["table"]
    ordered = sorted(rows, key=lambda row: row["test"]["p"])
    worst = 0.0
    for place, row in enumerate(ordered):  # Holm's rule, step by step
        worst = max(worst, min(1.0, (len(rows) - place) * row["test"]["p"]))
        assert row["p_holm"] == pytest.approx(worst)


# --- refusing ---


def test_missing_judgements_are_named_with_judge_file_and_line(tmp_path):
    folder = judged(tmp_path, ("eva", prefers("ours")))
    session = JudgingSession(folder, "otto")
    session.answer("empathy", "A")
    (folder / "judges" / "otto.csv").write_text(
        "\n".join((folder / "judges" / "otto.csv").read_text().splitlines()[:3]) + "\n"
    )
    with pytest.raises(DataError) as error:
        gather([folder])
    message = str(error.value)
    assert (
        f"{folder / 'judges' / 'otto.csv'}:2: otto has not judged relevance, fluency of q01"
        in message
    )
    assert "otto.csv (no row): otto has not judged empathy, relevance, fluency of q03" in message
    assert (
        message.startswith("21 missing: ") and "and 16 more" in message and "eva has" not in message
    )


def test_only_what_all_have_judged_counts_if_that_is_wanted(tmp_path):
    folder = judged(tmp_path, ("eva", prefers("ours")), items=5, checks=0)
    session = JudgingSession(folder, "otto")
    for place in range(3):
        session.go(place)
        for aspect in ASPECTS:
            session.answer(aspect, "tie")
    result = score(gather([folder], only_complete=True), draws=5)
    assert result["left_out"] == ["q4", "q5"]
    assert all(row["items"] == 3 and row["pooled"]["tie"] == 50 for row in result["table"])
    assert "Left out, because a judge has not finished them: q4, q5." in markdown(result)


def test_nothing_finished_by_all_is_no_result(tmp_path):
    folder = judged(tmp_path, ("eva", prefers("ours")), items=5)
    JudgingSession(folder, "otto").answer("empathy", "A")
    with pytest.raises(
        DataError, match=r"No item of ours against theirs was judged by all 2 judges"
    ):
        score(gather([folder], only_complete=True))


def test_folders_of_several_judges_are_merged(tmp_path):
    named = files(tmp_path, "ours", "theirs")
    for name in ("one", "two"):
        make(named, tmp_path / name, items=5)
        judge(
            tmp_path / name,
            f"judge-{name}",
            prefers(name.replace("one", "ours").replace("two", "theirs")),
        )
    (tmp_path / "two" / "key.json").unlink()  # judges get no key
    result = score(gather([tmp_path / "two", tmp_path / "one"]), draws=5)
    assert sorted(result["judges"]) == ["judge-one", "judge-two"]
    assert all(row["pooled"] == {"win": 50, "tie": 0, "lose": 50} for row in result["table"])


def test_what_does_not_belong_together_is_refused(tmp_path):
    named = files(tmp_path, "ours", "theirs")
    for name, seed in (("one", 1), ("copy", 1), ("other", 2)):
        make(named, tmp_path / name, items=5, seed=seed)
    one, copy, other = (tmp_path / name for name in ("one", "copy", "other"))
    with pytest.raises(DataError, match="holds no judgements"):
        gather([one])
    for folder in (one, copy, other):
        judge(folder, "eva", prefers("ours"))
    with pytest.raises(
        DataError, match=r"eva has judged twice: .*one.*eva\.csv and .*copy.*eva\.csv"
    ):
        gather([one, copy])
    with pytest.raises(DataError, match=r"other.*differ"):
        gather([one, other])
    with pytest.raises(DataError, match="is the key of"):
        gather([one], key=other / "key.json")
    (one / "judges" / "otto.csv").write_bytes((other / "judges" / "eva.csv").read_bytes())
    with pytest.raises(DataError, match=r"otto\.csv:2: judged on"):
        gather([one])


# --- writing it down ---


@pytest.fixture
def result(tmp_path):
    folder = folder_of(tmp_path, "ours", "b|<b>", "c", items=8)
    random = np.random.default_rng(0)
    for name in ("eva", "otto", "ida"):
        judge(folder, name, lambda *_: ("A", "tie", "B")[random.integers(3)])
    return score(gather([folder]), draws=50)


def test_the_table_shows_the_numbers_and_escapes_names(result):
    text = markdown(result, note="made up <for> the exercise")
    assert text.startswith("**made up &#60;for&#62; the exercise**")
    body = [line for line in text.splitlines() if line.startswith("| ours vs.")]
    assert len(body) == 6 and all(line.count("|") == 10 for line in body)
    assert "<b>" not in text
    for line, row in zip(body, result["table"], strict=True):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[1:5] == [row["aspect"], *(f"{row['pooled'][name]:.1f}" for name in OUTCOMES)]
        assert cells[8].startswith(f"{row['kappa']['value']:.2f} [")
    assert "8 items per comparison, 3 judges" in text
    assert len(re.findall(r"^\| (eva|ida|otto) \|", text, flags=re.M)) == 3


def test_the_picture_shows_the_same_numbers(result):
    drawn = figure(result, note="made up")
    for trace, name in zip(drawn.data, OUTCOMES, strict=True):
        assert trace.name == name
        assert list(trace.x) == [row["pooled"][name] for row in result["table"]]
        assert list(trace.y) == sorted(trace.y)
    texts = [annotation.text for annotation in drawn.layout.annotations]
    assert "made up" in texts and "<b>ours vs. b|&lt;b&gt;</b>" in texts
    shown = [f"{row['kappa']['value']:.2f}" for row in result["table"]]
    assert [text for text in texts if text in shown] == shown
    assert (
        len({trace.marker.pattern.shape for trace in drawn.data}) == 3
    )  # told apart without colour, too


def test_files_are_written_and_json_holds_the_result(result, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "ctsm_workbench.pictures.house.write_stills", lambda *_: []
    )  # pictures are tested with the figures
    written = write_table(result, tmp_path / "out", note="made up")
    assert [path.name for path in written] == ["table2.md", "table2.html", "table2.json"]
    saved = json.loads((tmp_path / "out" / "table2.json").read_text())
    assert saved == json.loads(json.dumps(result | {"note": "made up"}))
    assert "key.json" not in (tmp_path / "out" / "table2.html").read_text()


@pytest.mark.parametrize(
    ("kappa", "word"),
    [
        (-0.1, "poor"),
        (0.15, "slight"),
        (0.21, "fair"),
        (0.5, "moderate"),
        (0.64, "substantial"),
        (1.0, "almost perfect"),
    ],
)
def test_words_for_kappa(kappa, word):
    assert in_words(kappa) == word
