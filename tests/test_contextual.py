"""States from contexts: against a plain loop, with other padding, and on known cases."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from helpers import FIRST_WORD, SIZE, tiny_config, tiny_model, tiny_tables

from ctsm_lib.batches import Batch
from ctsm_lib.corpus import CLS, EMOTIONS, SYS, UNK, USR, Split
from ctsm_lib.errors import DataError, RunError
from ctsm_lib.model import CTSM
from ctsm_lib.prepare import Prepared
from ctsm_lib.runs import load_run
from ctsm_workbench.study import contexts as study_of_contexts
from ctsm_workbench.study.contexts import analyse_contexts, collect_states, explained, plan, reading
from ctsm_workbench.study.contexts.reading import Collected, word_in_contexts
from ctsm_workbench.study.contexts.variation import dependence, variance

Turns = list[list[int]]


def split_of(dialogues: list[Turns], labels: list[int]) -> Split:
    turns = [turn for dialogue in dialogues for turn in dialogue]
    offsets = [np.cumsum([0, *map(len, rows)]) for rows in (turns, dialogues)]
    tokens = np.array([token for turn in turns for token in turn], dtype=np.int32)
    return Split(
        tokens, *offsets, np.array(labels), np.zeros(0, dtype=np.uint8), np.zeros(len(turns) + 1)
    )


def little_corpus(seed: int = 0, dialogues: int = 40, vocabulary: int = 9) -> Any:
    """Random dialogues of few words, which repeat; training has half of them. <unk> occurs, too."""
    random = np.random.default_rng(seed)

    def dialogue() -> Turns:
        words = [*range(FIRST_WORD, FIRST_WORD + vocabulary), UNK]
        return [
            random.choice(words, random.integers(1, 6)).tolist()
            for _ in range(random.integers(1, 5))
        ]

    splits = {}
    for name, count in (
        ("train", dialogues // 2),
        ("valid", dialogues // 4),
        ("test", dialogues // 4),
    ):
        splits[name] = split_of(
            [dialogue() for _ in range(count)], random.integers(0, 32, count).tolist()
        )
    return SimpleNamespace(splits=splits, vocabulary=range(SIZE))


def occurrences(corpus: Any, max_context: int = 256) -> list[list[tuple[int, int, int]]]:
    """(word, speaker, place) of every dialogue, one after the other."""
    result = []
    for split in corpus.splits.values():
        for number in range(len(split.labels)):
            row = []
            for turn in range(split.dialogue_offsets[number], split.dialogue_offsets[number + 1]):
                state = USR if (turn - split.dialogue_offsets[number]) % 2 == 0 else SYS
                tokens = split.tokens[split.turn_offsets[turn] : split.turn_offsets[turn + 1]]
                row += [(int(token), state) for token in tokens]
            row = row[-(max_context - 1) :]
            result.append(
                [(word, state, place) for place, (word, state) in enumerate(row, start=1)]
            )
    return result


@torch.no_grad()
def slow_states(model: CTSM, row: list[tuple[int, int, int]]) -> np.ndarray:
    """V_cos and the unit H_s of one dialogue by the model's own `read`, alone in its batch."""
    context, speaker = ([[CLS, *[entry[i] for entry in row]]] for i in (0, 1))
    batch = Batch(torch.tensor(context), torch.tensor(speaker), torch.full((1, 5, 1), CLS))
    read = model.eval().read(batch)
    assert read.V_cos is not None and read.H_s is not None
    inclination, state = read.V_cos[0, 1:], read.H_s[0, 1:]
    state = state / state.norm(dim=-1, keepdim=True)
    return torch.cat([inclination, state], dim=-1).double().numpy()


@pytest.fixture(scope="module")
def model() -> CTSM:
    return tiny_model().eval()


def test_gather_equals_a_plain_loop_over_occurrences(
    model: CTSM, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = little_corpus()
    monkeypatch.setattr(reading, "MIN_COUNT", 5)
    laid = plan(corpus)
    mask = np.arange(SIZE) % 2 == 0
    collected = collect_states(model, laid, SIZE, mask, progress=False)
    seen: dict[int, list[np.ndarray]] = defaultdict(list)
    flat = []
    for number, row in enumerate(occurrences(corpus)):
        states = slow_states(model, row)
        for side, chosen in enumerate((lambda word: word >= FIRST_WORD, lambda word: mask[word])):
            some = [i for i, (word, _, _) in enumerate(row) if chosen(word)]
            np.testing.assert_allclose(
                collected.dialogue_sums[side, number], states[some].sum(axis=0), atol=1e-4
            )
            assert collected.dialogue_counts[side, number] == len(some)
        for (word, _, _), state in zip(row, states, strict=True):
            seen[word].append(state)
            flat.append(state)
    for word in range(SIZE):
        assert collected.count[word] == len(seen[word])
        if seen[word]:
            own = np.array(seen[word])
            np.testing.assert_allclose(collected.sums[word], own.sum(axis=0), atol=1e-4)
            lengths = [(own[:, :32] ** 2).sum(), (own[:, 32:] ** 2).sum()]
            np.testing.assert_allclose(collected.squares[word], lengths, atol=1e-4)
            np.testing.assert_allclose(collected.means[word], own.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(collected.kept, np.array(flat)[laid.kept], atol=1e-5)
    assert len(laid.kept) > 50


@pytest.mark.parametrize("tokens", [1, 40, 10**6])
def test_what_else_is_read_at_once_changes_nothing(
    model: CTSM, tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    laid, mask = plan(little_corpus()), np.ones(SIZE, dtype=bool)
    expected = collect_states(model, laid, SIZE, mask, progress=False)
    monkeypatch.setattr(reading, "TOKENS", tokens)
    assert sorted(i for block in reading._blocks(laid) for i in block) == list(
        np.flatnonzero(laid.length)
    )
    other = collect_states(model, laid, SIZE, mask, progress=False)
    for name in ("count", "sums", "squares", "dialogue_sums", "dialogue_counts", "kept"):
        np.testing.assert_allclose(getattr(other, name), getattr(expected, name), atol=1e-4)


def test_the_plan_lays_out_every_occurrence_and_cuts_from_the_left() -> None:
    corpus = little_corpus()
    for limit in (256, 6):
        laid, rows = plan(corpus, limit), occurrences(corpus, limit)
        flat = [entry for row in rows for entry in row]
        assert list(zip(laid.tokens, laid.speaker, laid.place, strict=True)) == flat
        assert laid.dialogue.tolist() == [number for number, row in enumerate(rows) for _ in row]
        assert laid.length.tolist() == [len(row) for row in rows]
        assert laid.left_out == sum(map(len, occurrences(corpus))) - len(flat)
    assert plan(corpus, 6).left_out > 0
    assert plan(corpus).split.tolist() == [0] * 20 + [1] * 10 + [2] * 10


def test_kept_occurrences_are_few_of_each_word_and_pairs_are_what_they_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reading, "MIN_COUNT", 30)
    monkeypatch.setattr(reading, "PER_WORD", 10)
    laid = plan(little_corpus(dialogues=200))
    first, twin, other = (laid.kept[laid.pairs[:, i]] for i in range(3))
    assert len(first) > 20
    for a, b, c in zip(first, twin, other, strict=True):
        assert laid.tokens[a] == laid.tokens[b] == laid.tokens[c] != UNK
        assert (laid.speaker[a], laid.place[a]) == (laid.speaker[b], laid.place[b])
        assert laid.dialogue[a] not in (laid.dialogue[b], laid.dialogue[c])
    alone = np.setdiff1d(laid.kept, np.concatenate([first, twin, other]))
    training = laid.split[laid.dialogue[alone]] == 0
    for side in (training, ~training):
        assert np.bincount(laid.tokens[alone[side]]).max() <= 5
    counts = np.bincount(laid.tokens)
    assert counts[laid.tokens[laid.kept]].min() >= 30
    again = plan(little_corpus(dialogues=200))
    assert again.kept.tolist() == laid.kept.tolist()


def made_up(features: np.ndarray, words: np.ndarray) -> tuple[Any, Collected]:
    """A plan, and the states collected if occurrences [N, F] had these features; all are kept."""
    size = int(words.max()) + 1
    sums, squares = np.zeros((size, features.shape[1])), np.zeros((size, 2))
    np.add.at(sums, words, features)
    for column, part in enumerate((slice(0, 32), slice(32, None))):
        np.add.at(squares[:, column], words, (features[:, part] ** 2).sum(axis=1))
    count = np.bincount(words, minlength=size).astype(float)
    laid = SimpleNamespace(
        tokens=words, kept=np.arange(len(words)), pairs=np.zeros((0, 3), dtype=int)
    )
    nothing = np.zeros((2, 0, features.shape[1]))
    return laid, Collected(
        count, sums, squares, nothing, np.zeros((2, 0)), features.astype(np.float32)
    )


def test_variance_equals_numpy_s_and_needs_two_occurrences() -> None:
    random = np.random.default_rng(0)
    words = np.repeat([0, 1, 2], [1, 2, 30])
    features = random.normal(3, 1, (33, 40))
    _, collected = made_up(features, words)
    own = variance(collected)
    assert np.isnan(own[0]).all()
    for word in (1, 2):
        some = features[words == word]
        np.testing.assert_allclose(own[word, 0], some[:, :32].var(axis=0, ddof=1).sum())
        np.testing.assert_allclose(own[word, 1], some[:, 32:].var(axis=0, ddof=1).sum())


def test_words_that_vary_alike_are_within_chance_and_one_that_varies_more_is_not() -> None:
    random = np.random.default_rng(0)
    counts = np.concatenate([random.integers(20, 400, 300), [60, 60, 5]])
    words = np.repeat(np.arange(303), counts)
    features = random.normal(size=(303, 40))[words] * 5 + random.normal(size=(len(words), 40))
    features[words == 300] = 1.6 * random.normal(size=(60, 40))
    features[words == 301] = 0.5 * random.normal(size=(60, 40))
    laid, collected = made_up(features, words)
    _, depends = dependence(laid, collected)
    for space in ("V_cos", "H_s"):
        z = depends[f"{space}: z"]
        assert np.mean(np.abs(z[:300]) > 1) == pytest.approx(0.05, abs=0.05)
        assert z[300] > 1 > -1 > z[301]
        assert depends[space][300] == pytest.approx(1.6**2, rel=0.35)
        assert depends[space][301] == pytest.approx(0.25, rel=0.35)
        assert np.isnan(depends[space][302]), "five occurrences say nothing"


def test_the_null_has_a_word_s_own_frequency() -> None:
    random = np.random.default_rng(0)
    words = np.repeat(np.arange(400), np.tile([20, 39], 200))  # one band
    laid, collected = made_up(random.normal(size=(len(words), 34)), words)
    depends = dependence(laid, collected)[1]["H_s: z"]
    assert np.mean(np.abs(depends[::2]) > 1) == pytest.approx(
        np.mean(np.abs(depends[1::2]) > 1), abs=0.05
    )


def test_no_frequent_word_gives_no_band() -> None:
    laid, collected = made_up(np.ones((3, 40)), np.array([0, 0, 1]))
    bands, depends = dependence(laid, collected)
    assert bands == []
    assert np.isnan(depends["H_s"]).all()
    assert explained(laid, collected)["H_s"] is None


def test_explained_finds_the_share_that_speaker_and_place_make() -> None:
    random = np.random.default_rng(0)
    pairs, cell = 4000, random.normal(size=(4000, 40))
    first, twin = (cell + np.sqrt(3) * random.normal(size=cell.shape) for _ in range(2))
    other = random.normal(size=cell.shape) + np.sqrt(3) * random.normal(size=cell.shape)
    laid = SimpleNamespace(pairs=np.arange(3 * pairs).reshape(3, -1).T)
    result = explained(laid, SimpleNamespace(kept=np.concatenate([first, twin, other])))
    for space in ("V_cos", "H_s"):
        assert result[space]["explained"] == pytest.approx(25, abs=1.5)
        assert result[space]["low"] < 25 < result[space]["high"]


def test_inclination_sees_nothing_but_word_speaker_and_place_and_the_state_sees_more(
    model: CTSM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MIN_COUNT", 5)
    laid = plan(little_corpus(dialogues=120))
    result = explained(
        laid, collect_states(model, laid, SIZE, np.ones(SIZE, dtype=bool), progress=False)
    )
    assert result["V_cos"]["explained"] == pytest.approx(100, abs=1e-6)
    assert result["V_cos"]["variance"] > 1e-4
    assert 0 < result["H_s"]["explained"] < 99


def test_a_model_without_state_embedding_is_refused() -> None:
    config = tiny_config(state=False)
    laid = plan(little_corpus())
    with pytest.raises(RunError, match="state=false"):
        collect_states(
            CTSM(config, tiny_tables()), laid, SIZE, np.ones(SIZE, dtype=bool), progress=False
        )


def test_within_words_finds_what_follows_the_dialogue_and_nothing_else() -> None:
    random = np.random.default_rng(0)
    words, dialogues = np.repeat(np.arange(12), 40), np.tile(np.arange(40), 12)
    side = dialogues % 2
    features = np.zeros((480, 36))
    features[:, 0] = words  # V_cos tells the word only
    features[:, 33] = words + 0.5 * side + 0.01 * random.normal(size=480)
    laid, collected = made_up(features, words)
    laid.dialogue, laid.split = dialogues, (np.arange(40) >= 20).astype(int)
    study = SimpleNamespace(
        laid=laid,
        states=collected,
        dialogue_side=np.arange(40) % 2,
        directions={"V_cos": np.eye(32)[0], "H_s": np.eye(4)[1]},
        groups={"training": laid.split == 0, "held out": laid.split > 0},
        draws=20,
    )
    rows = study_of_contexts._within_words(study)
    assert [row["dialogues_of"] for row in rows] == ["training", "held out"]
    for row in rows:
        assert row["words"] == 12
        assert row["V_cos"]["value"] == 0.5
        assert row["H_s"]["value"] == row["H_s, fitted"]["value"] == 1


@pytest.fixture(scope="module")
def result(tiny_run: Any, tiny_prepared: Prepared) -> dict:
    return analyse_contexts(load_run(tiny_run), tiny_prepared, draws=10, leaning=5, progress=False)


def test_the_whole_analysis_of_a_run(result: dict, tiny_run: Any, tiny_prepared: Prepared) -> None:
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert result["dialogues"] == 480
    assert result["trained"].keys() == result["untrained"].keys()
    assert result["trained"]["explained"]["V_cos"]["explained"] == pytest.approx(100, abs=1e-4)
    columns = result["words"]
    counts = columns["count"]
    assert counts == sorted(counts, reverse=True) and counts[-1] >= 20
    assert (
        len(counts)
        == len(columns["word"])
        == len(columns["H_s"]["grade"])
        == len(columns["V_cos"]["dependence"])
    )
    assert list(columns["inclination"]) == columns["word"][:5]
    assert all(len(row) == len(EMOTIONS) for row in columns["inclination"].values())
    for grade, polarity in zip(columns["H_s"]["grade"], columns["H_s"]["polarity"], strict=True):
        assert polarity == (grade > 0)
    assert "so the other words have no influence on it" in result["conclusion"]
    again = analyse_contexts(
        load_run(tiny_run), tiny_prepared, draws=10, leaning=5, control=False, progress=False
    )
    assert "untrained" not in again
    assert again["trained"] == result["trained"], "repeatable, and the control leaves no trace"


def test_a_run_is_not_read_with_other_words(tiny_run: Any, tiny_prepared: Prepared) -> None:
    words = [*tiny_prepared.corpus.vocabulary.words, "unheard-of"]
    corpus = replace(tiny_prepared.corpus, vocabulary=type(tiny_prepared.corpus.vocabulary)(words))
    with pytest.raises(RunError, match="trained on other data"):
        analyse_contexts(load_run(tiny_run), replace(tiny_prepared, corpus=corpus), progress=False)


def test_one_word_in_texts_of_one_s_own(tiny_run: Any) -> None:
    run = load_run(tiny_run)
    contexts = ["My dog is happy.", "Our dog was gone.", "A dog and a dog!"]
    data = word_in_contexts(run, "Dog", contexts)
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert [(row["number"], row["place"]) for row in data["rows"]] == [
        (0, 2),
        (1, 2),
        (2, 2),
        (2, 5),
    ]
    a, b, _, last = data["rows"]
    assert a["V_cos"] == b["V_cos"], "the same speaker and place: V_cos cannot see the other words"
    assert a["H_s"] != b["H_s"]
    assert a["V_cos"] != last["V_cos"]
    assert len(a["V_cos"]) == len(a["heard"]) == len(data["label_valence"]) == 32
    assert sum(a["heard"]) == pytest.approx(1, abs=1e-3)
    ids, speaker = (
        [[CLS, *run.vocabulary.encode(["my", "dog", "is", "happy", "."])]],
        [[CLS, *[USR] * 5]],
    )
    with torch.no_grad():
        inclination, _ = reading.read_states(run.model, torch.tensor(ids), torch.tensor(speaker))
    np.testing.assert_allclose(a["V_cos"], inclination[0, 2].numpy(), atol=1e-5)


def test_a_word_that_is_not_there_is_named(tiny_run: Any) -> None:
    run = load_run(tiny_run)
    with pytest.raises(DataError, match="do not include 'zzqx'"):
        word_in_contexts(run, "zzqx", ["zzqx"])
    with pytest.raises(DataError, match="does not have the word 'dog'"):
        word_in_contexts(run, "dog", ["My cat is happy."])
