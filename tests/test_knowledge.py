"""Commonsense providers and their cache, on tables small enough to know the answer."""

from __future__ import annotations

import json
import logging
import math
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ctsm_lib.errors import ConfigError, CtsmError, DataError
from ctsm_lib.knowledge import MAX_PHRASES, RELATIONS, NoKnowledge, provider_for
from ctsm_workbench.retrieval import comet
from ctsm_workbench.retrieval import words as stems
from ctsm_workbench.retrieval.atomic import AtomicRetrieval
from ctsm_workbench.retrieval.comet import Comet
from ctsm_workbench.retrieval.tables import read_atomic
from ctsm_workbench.retrieval.words import clean_phrase, clean_phrases

TABLE = [
    ("John breaks up with Tom", "xReact", "sad"),
    ("John breaks up with Tom", "xReact", "lonely"),
    ("John breaks up with Tom", "xReact", "lonely"),
    ("John breaks up with Tom", "xWant", "to cry"),
    ("John breaks up with Tom", "xNeed", "none"),
    ("John breaks up with Tom", "xAttr", "mean"),
    ("John loses John's wallet", "xReact", "worried"),
    ("John loses John's wallet", "xEffect", "John searches everywhere"),
    ("John loses John's dog", "xReact", "heartbroken"),
    ("John does not find the dog", "xReact", "desperate"),
    ("John gets promoted", "xIntent", "to earn more"),
    ("John gets promoted", "xReact", "proud"),
    ("John promotes Tom", "xReact", "generous"),
    ("John feels lonely", "xWant", "to call a friend"),
    ("John gets", "xReact", "neutral"),
    ("John bakes a cake for Tom", "xNeed", "to buy flour"),
    ("John gets scared of the dog", "xReact", "terrified"),
    ("John flies to the moon", "oReact", "amazed"),
]
EVENTS = [
    {"event": "PersonX loses ___", "xIntent": ["none"], "xReact": ["upset."], "oReact": ["none"]},
    {
        "event": "PersonX loses PersonX's wallet",
        "xIntent": ["none"],
        "xReact": ["angry", "nan"],
        "oReact": ["none"],
    },
    {
        "event": "PersonX rides PersonY's bike",
        "xIntent": ["to have fun"],
        "xReact": ["free"],
        "oReact": ["none"],
    },
]


def write_table(path: Path, rows: Iterable[tuple[str, str, str]]) -> None:
    lines = ["split\thead\trelation\ttail", *("\t".join(["test", *row]) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "atomic"
    folder.mkdir()
    write_table(folder / "table.tsv", TABLE)
    (folder / "events.jsonl").write_text(
        "\n".join(json.dumps(event) for event in EVENTS), encoding="utf-8"
    )
    (folder / "some_generations.jsonl").write_text(
        '{"head": "PersonX sings", "generations": ["sings"]}\n'
    )
    return folder


# --- phrases


@pytest.mark.parametrize(
    ("tail", "phrase"),
    [
        ("to go home", "go home"),
        ("to to go home", "go home"),
        ("To Go  Home.", "go home"),
        (" to go to the store", "go to the store"),
        ("none", ""),
        ("none to be happy", "be happy"),
        ("none at all", ""),
        ("None.", ""),
        ("to", ""),
        ("nan", ""),
        ("", ""),
        ("...", ""),
        ("7", ""),
        ("g", ""),
        ("PersonX smiles", "smiles"),
        ("Person X smiles", "smiles"),
        ("John smiles", "smiles"),
        ("PersonX is happy", "happy"),
        ("John", ""),
        ("to PersonY", ""),
        ("to thank PersonY", "thank someone"),
        ("to thank Tom", "thank someone"),
        ("to take Tom's hand", "take someone's hand"),
        ("to get PersonX's keys", "get their keys"),
        ("to be knowing y", "be knowing someone"),
        ("PersonY thanks PersonX", "someone thanks them"),
        ("to give ___ to PersonZ", "give to someone else"),
        ("a tomato", "a tomato"),
        ("to see a johnny", "see a johnny"),
        ("x-ray", "x-ray"),
        ("naïve, isn’t it", "naive, isn't it"),
        ("tomorrow", "tomorrow"),
        ("<s>happy</s>", "happy"),
        ("happy [GEN]", "happy"),
    ],
)
def test_clean_phrase(tail: str, phrase: str) -> None:
    assert clean_phrase(tail) == phrase


def test_clean_phrases_keeps_the_first_distinct_ones_that_are_not_empty() -> None:
    tails = ["none", "to go", "go", "go.", "a dog", "b cat", "c cow", "d hen", "e pig"]
    assert clean_phrases(tails) == ["go", "a dog", "b cat", "c cow", "d hen"]
    assert clean_phrases([]) == []


# --- providers


def test_provider_for(folder: Path) -> None:
    assert isinstance(provider_for("none", None), NoKnowledge)
    assert isinstance(provider_for("atomic", folder), AtomicRetrieval)
    comet = provider_for("comet", None, comet_model="some/model", device="cpu")
    assert isinstance(comet, Comet)
    assert comet.model == "some/model"
    with pytest.raises(ConfigError, match=r"'atmoic'.*atomic, comet, none"):
        provider_for("atmoic", folder)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (None, "needs a folder.*--set knowledge=none"),
        ("absent", "is missing.*--set knowledge=none"),
        (".", "neither an ATOMIC table.*--set knowledge=none"),
    ],
)
def test_atomic_with_nothing_to_read_names_the_way_out(
    tmp_path: Path, path: str | None, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        provider_for("atomic", tmp_path / path if path else None)


# --- reading


def test_both_formats_are_merged(folder: Path) -> None:
    tails, problems = read_atomic(folder)
    assert problems == []
    assert tails[("lose", "wallet")] == {
        "xReact": Counter({"worried": 1, "angry": 1}),
        "xEffect": Counter({"searches everywhere": 1}),
    }
    assert tails[("break", "up")] == {
        "xReact": Counter({"lonely": 2, "sad": 1}),
        "xWant": Counter({"cry": 1}),
    }
    assert {("get", "promot="), ("promot",)} <= set(tails)  # being promoted is not promoting
    # Nothing of generations, nor of an event without our relations.
    assert not any("sing" in event or "moon" in event for event in tails)


def test_malformed_rows_are_counted_and_the_first_is_named(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (folder / "table.tsv").open("a") as file:
        file.write(
            "test\tJohn sings\txReact\n\ntest\t \txReact\tx\ntest\tJohn sings\treact\thappy\n"
        )
    with (folder / "events.jsonl").open("a") as file:
        file.write(
            '\n{"event": "PersonX sings"\n{"event": 3}\n'
            '{"event": "PersonX sings", "xIntent": "no list"}\n[1]\n'
        )
    with caplog.at_level(logging.WARNING):
        tails, problems = read_atomic(folder)
    first = 2 + len(TABLE)
    assert [problem.split(": ")[0] for problem in problems] == [
        *(f"table.tsv:{line}" for line in (first, first + 2, first + 3)),
        *(f"events.jsonl:{line}" for line in (4, 5, 6, 7)),
    ]
    messages = [record.getMessage() for record in caplog.records]
    assert (
        messages[0]
        == f"table.tsv: 3 malformed rows left out, first: table.tsv:{first}: 3 columns instead of 4"
    )
    assert messages[1].startswith(
        "events.jsonl: 4 malformed rows left out, first: events.jsonl:4: not JSON"
    )
    assert not any("sing" in event for event in tails)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("bad.tsv", b"", "bad.tsv:1: expected the columns"),
        ("bad.tsv", b"head,relation,tail\n", "bad.tsv:1: expected the columns"),
        ("bad.tsv", b"split\thead\trelation\ttail\n", "bad.tsv has no valid row"),
        (
            "bad.tsv",
            b"split\thead\trelation\ttail\na\tb\n",
            "bad.tsv has no valid row, first: bad.tsv:2: 2 columns",
        ),
        ("bad.jsonl", b"", "bad.jsonl has no valid row"),
        ("bad.jsonl", b"no\n", "bad.jsonl has no valid row, first: bad.jsonl:1: not JSON"),
        ("bad.jsonl", b"\xff\xfe\x00", "bad.jsonl cannot be read as UTF-8"),
        ("bad.jsonl", b"[" * 100_000, "bad.jsonl has no valid row, first: bad.jsonl:1: not JSON"),
    ],
)
def test_a_file_without_a_valid_row(folder: Path, name: str, content: bytes, message: str) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_atomic(folder)


ATOMIC_2020 = """\
PersonX loses the wallet\txReact\tworried
PersonX loses the wallet\txEffect\tsearches everywhere
PersonX loses the wallet\tHinderedBy\tPersonX has no wallet
PersonX loses the wallet\tisAfter\tPersonX goes out
wallet\tObjectUse\tcarry money
"""
ATOMIC_2019 = """\
event,oEffect,oReact,oWant,xAttr,xEffect,xIntent,xNeed,xReact,xWant,prefix,split
PersonX loses the wallet,[],[],"[""none""]",[],"[""searches everywhere""]",[],[],"[""worried""]",\
[],"[""loses""]",trn
"""
EVENT2MIND = """\
Source,Event,Xintent,Xemotion,Otheremotion,Xsent,Osent
it_events,PersonX loses the wallet,"[""none""]","[""worried"", ""upset""]","[""none""]",2,
"""
REACTS = {"xReact": {"worried"}, "xEffect": {"searches everywhere"}}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("train.tsv", ATOMIC_2020, REACTS),
        ("v4_atomic_all.csv", ATOMIC_2019, REACTS),
        ("train.csv", EVENT2MIND, {"xReact": {"worried", "upset"}}),
    ],
)
def test_files_as_downloaded(tmp_path: Path, name: str, text: str, expected: dict) -> None:
    """ATOMIC 2020 has no header, ATOMIC 2019 lists phrases in cells, Event2Mind has other names.

    Relations that are not used are no problem.
    """
    (tmp_path / name).write_text(text)
    tails, problems = read_atomic(tmp_path)
    assert problems == []
    assert {relation: set(found) for relation, found in tails["lose", "wallet"].items()} == expected


def test_an_odd_row_or_relation_costs_that_row_only(tmp_path: Path) -> None:
    """A bare carriage return, a very long cell and a misspelt relation leave the other rows."""
    long = "x" * 140_000
    odd = f"PersonX sings\txReact\tso\rhappy\nPersonX eats\txReact\t{long}\n"
    wrong = "PersonX runs\tXReact\ttired\nPersonX runs\tReact\ttired\n"
    (tmp_path / "train.tsv").write_bytes((ATOMIC_2020 + odd + wrong).encode())
    tails, problems = read_atomic(tmp_path)
    assert tails["lose", "wallet"]["xReact"] == Counter({"worried": 1})
    assert not any("run" in event for event in tails)
    assert [problem.partition(": ")[2] for problem in problems] == [
        "'XReact' is not a relation of ATOMIC", "'React' is not a relation of ATOMIC"
    ]  # fmt: skip


def test_atomic_2019_counts_once(tmp_path: Path) -> None:
    """The whole table, the one of events and the three parts hold the same: one is read."""
    for part in ("all", "all_agg", "trn", "dev"):
        (tmp_path / f"v4_atomic_{part}.csv").write_text(ATOMIC_2019)
    tails, _ = read_atomic(tmp_path)
    assert tails["lose", "wallet"]["xReact"] == Counter({"worried": 1})
    for part in ("all", "all_agg"):
        (tmp_path / f"v4_atomic_{part}.csv").unlink()
    assert read_atomic(tmp_path)[0]["lose", "wallet"]["xReact"] == Counter({"worried": 2})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "x.csv:1: expected the columns of ATOMIC 2019"),
        (EVENT2MIND.replace('"[""none""]","[""worried', '"[""none""]","[worried'), "not JSON"),
        (EVENT2MIND + '"open\n', r"x\.csv:4: not CSV"),
    ],
)
def test_other_tables_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_atomic(tmp_path)


def test_files_without_any_phrase(tmp_path: Path) -> None:
    write_table(tmp_path / "empty.tsv", [("John sings", "xReact", "none")])
    with pytest.raises(DataError, match="no phrase for any event"):
        AtomicRetrieval(tmp_path).infer(["i sing"])


def test_windows_line_ends_and_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes(
        b"\xef\xbb\xbfsplit\thead\trelation\ttail\r\ntest\tJohn sings\txReact\thappy\r\n"
    )
    assert read_atomic(tmp_path)[0] == {("sing",): {"xReact": Counter({"happy": 1})}}


# --- retrieval


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("I broke up with my girlfriend.", "break up"),
        ("i lost my wallet yesterday", "lose wallet"),
        ("We had lunch. Then I was promoted!", "get promot="),
        ("I promoted him", "promot"),
        ("I'm losing my dog", "lose dog"),
        ("i couldn't find my dog", "not find dog"),
        ("So lonely...", "feel lone"),
        ("my brother is riding his bicycle", "ride bike"),
    ],
)
def test_the_fitting_event_is_nearest(folder: Path, text: str, nearest: str) -> None:
    assert AtomicRetrieval(folder, floor=0.2).nearest(text)[0][0] == nearest


def test_answers_are_the_humans_tails(folder: Path) -> None:
    (inference,) = AtomicRetrieval(folder).infer(["I broke up with my girlfriend"])
    assert {relation: phrases for relation, phrases in inference.items() if phrases} == {
        "xWant": ["cry"],
        "xReact": ["lonely", "sad"],  # two annotators before one
    }
    assert list(inference) == list(RELATIONS)


@pytest.mark.parametrize(
    "text", ["", "  ", "?!", "Yes, I think so.", "Quantum chromodynamics", "\ud800", "\0"]
)
def test_an_unfit_utterance_gets_nothing(folder: Path, text: str) -> None:
    assert AtomicRetrieval(folder).infer([text]) == [{relation: [] for relation in RELATIONS}]


def test_who_acts_and_negation_count(folder: Path) -> None:
    provider = AtomicRetrieval(folder, floor=0.05, ratio=0.0)

    def similarity(text: str, event: str) -> float:
        return dict(provider.nearest(text))[event]

    event = "lose wallet"
    assert similarity("I lost my wallet", event) > similarity("My son lost his wallet", event)
    assert similarity("My son lost his wallet", event) >= similarity("He lost his wallet", event)
    assert similarity("I lost my wallet", event) > similarity("I did not lose my wallet", event)


def test_at_most_five_phrases_of_the_nearest_events_first(tmp_path: Path) -> None:
    rows = [("John rides a horse", "xWant", f"phrase a{i}") for i in range(3)]
    rows += [
        ("John rides a horse quickly", "xWant", f"phrase {c}") for c in ("a0", "ba", "bb", "bc")
    ]
    write_table(tmp_path / "a.tsv", rows)
    (inference,) = AtomicRetrieval(tmp_path, floor=0.1, ratio=0.0).infer(["I rode a horse"])
    assert inference["xWant"] == ["phrase a0", "phrase a1", "phrase a2", "phrase ba", "phrase bb"]


def slow_search(
    provider: AtomicRetrieval, text: str, events: list[tuple[str, ...]]
) -> list[tuple[str, float]]:
    """The definition of the similarity, one event after the other."""
    df = Counter(feature for event in events for feature in set(stems.features(event)))
    unit = math.log((1 + len(events)) / 2) + 1
    idf = {
        feature: (math.log((1 + len(events)) / (1 + count)) + 1)
        * (1.6 if stems.is_feeling(feature) else 1)
        for feature, count in df.items()
    }

    def vector(found: Sequence[str]) -> dict[str, float]:
        counts = Counter(feature for feature in stems.features(found) if feature in idf)
        return {feature: (1 + math.log(count)) * idf[feature] for feature, count in counts.items()}

    def similarity(found: Sequence[str], event: Sequence[str]) -> float:
        a, b = vector(found), vector(event)
        dot = sum(value * b.get(feature, 0) for feature, value in a.items())
        length = math.hypot(*a.values())
        norm = length if length <= 1.4 * unit else math.sqrt(1.4 * unit * length)
        return dot / norm / math.hypot(*b.values()) if dot else 0.0

    clauses = [stems.words_of(segment) for segment in stems.segments_of(text)]
    found = []
    for event in events:
        best = 0.0
        for words in clauses:
            found_stems = stems.stems_of(words)
            value = similarity(found_stems, event) * stems.subject_weight(words)
            if any(stem in ("not", "never", "no") for stem in found_stems) != any(
                s in ("not", "never", "no") for s in event
            ):
                value *= 0.55
            best = max(best, value)
        whole = similarity(stems.stems_of(stems.words_of(text)), event)
        score = min(1.0, 0.75 * best + 0.25 * min(best, whole))
        if any(map(stems.is_feeling, event)):
            score *= 1.15
        elif len(event) == 1:
            score *= 0.8
        score *= (
            min(1.0, math.sqrt(sum(idf[stem] ** 2 for stem in set(event))) / (0.95 * unit)) ** 2
        )
        found.append((" ".join(event), score))
    floor = max(provider.floor, provider.ratio * max(score for _, score in found))
    return sorted((f for f in found if f[1] >= floor), key=lambda f: -f[1])[: provider.max_events]


TEXTS = [
    "I broke up with my girlfriend. She lost my dog, and I got promoted!",
    "It was so scary, and my dog scared me. He rides my bike, he loses everything",
    "you lost me my wallet?",
    "i am so lonely because i never find my dog and never bake a cake",
    "cake " * 50,
    "",
    "I baked a cake but I couldn't find my wallet so I was lonely. "
    "Get up. Then we flew to the moon",
]


@pytest.mark.parametrize("floor", [0.01, 0.3])
def test_equal_to_a_slow_loop(folder: Path, floor: float) -> None:
    provider = AtomicRetrieval(folder, floor=floor, ratio=0.2)
    events = list(read_atomic(folder)[0])
    found = 0
    for text in TEXTS:
        slow, fast = slow_search(provider, text, events), provider.nearest(text)
        assert [v for _, v in fast] == pytest.approx([v for _, v in slow], abs=1e-5)
        assert dict(fast) == pytest.approx(dict(slow), abs=1e-5)
        found += len(fast)
    assert found > 10


def test_an_answer_depends_on_its_text_only(folder: Path) -> None:
    provider = AtomicRetrieval(folder, floor=0.1)
    together = provider.infer(TEXTS * 700, progress=False)  # more than one chunk
    assert together == [inference for text in TEXTS for inference in provider.infer([text])] * 700
    assert provider.infer([]) == []


def test_atomic_fingerprint_knows_files_and_settings(folder: Path) -> None:
    first = AtomicRetrieval(folder).fingerprint
    assert AtomicRetrieval(folder).fingerprint == first
    assert AtomicRetrieval(folder, floor=0.3).fingerprint != first
    with (folder / "table.tsv").open("a") as file:
        file.write("test\tJohn sings\txReact\thappy\n")
    assert AtomicRetrieval(folder).fingerprint != first


# --- COMET


SAYS = ("i", "lost", "my", "dog", "sad", "angry", "to", "cry", "none", "home")


@pytest.fixture
def tiny_comet(tmp_path: Path) -> Path:
    pytest.importorskip(
        "transformers", reason="transformers is not installed (pip install 'ctsm-lab[comet]')"
    )
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BartConfig, BartForConditionalGeneration, PreTrainedTokenizerFast

    words = ["<s>", "<pad>", "</s>", "<unk>", "[GEN]", *RELATIONS, *SAYS]
    tokenizer = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast: Any = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call,unused-ignore]
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
    )
    torch.manual_seed(0)
    config = BartConfig(
        vocab_size=len(words), d_model=16, encoder_layers=1, decoder_layers=1,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=16,
        decoder_ffn_dim=16, max_position_embeddings=64, init_std=1.0, bos_token_id=0,
        pad_token_id=1, eos_token_id=2, decoder_start_token_id=2, forced_eos_token_id=2,
    )  # fmt: skip
    folder = tmp_path / "tiny-comet"
    BartForConditionalGeneration(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def test_comet_generates_clean_phrases_in_the_order_of_the_texts(tiny_comet: Path) -> None:
    texts = ["i lost my dog", "sad", "", "i cry to my dog at home " * 40, "sad"]
    provider = Comet(str(tiny_comet), batch_size=3)
    inferences = provider.infer(texts, progress=False)
    assert inferences[2] == {relation: [] for relation in RELATIONS}
    assert inferences[1] == inferences[4]
    assert inferences[0] != inferences[1]
    for inference in inferences:
        assert list(inference) == list(RELATIONS)
        for phrases in inference.values():
            assert len(phrases) <= MAX_PHRASES
            assert [clean_phrase(phrase) for phrase in phrases] == phrases
    assert any(phrases for phrases in inferences[0].values())
    # However the queries are batched, the answers are the same.
    assert Comet(str(tiny_comet), batch_size=64).infer(texts, progress=False) == inferences


def test_comet_asks_in_the_form_of_its_training(
    tiny_comet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comet, "BEAMS", 2)
    provider = Comet(str(tiny_comet))
    asked: list[str] = []

    def generate(queries: list[str]) -> list[str]:
        asked.extend(queries)
        return [f"to answer {query.split()[-2]} {n}" for query in queries for n in range(2)]

    monkeypatch.setattr(provider, "_generate", generate)
    (inference,) = provider.infer(["i  lost\nmy dog"])
    assert asked == [f"i lost my dog {relation} [GEN]" for relation in RELATIONS]
    assert inference["xWant"] == ["answer xwant 0", "answer xwant 1"]


def test_comet_halves_its_batches_when_memory_is_short(
    tiny_comet: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import torch

    expected = Comet(str(tiny_comet)).infer(TEXTS[:3], progress=False)
    provider = Comet(str(tiny_comet), batch_size=8)
    _, model = provider._loaded
    generate = model.generate

    def short(input_ids: torch.Tensor, **settings: object) -> object:
        if len(input_ids) > 2:
            raise torch.OutOfMemoryError("too much")
        return generate(input_ids=input_ids, **settings)

    monkeypatch.setattr(model, "generate", short)
    with caplog.at_level(logging.WARNING):
        assert provider.infer(TEXTS[:3], progress=False) == expected
    assert provider.batch_size == 2
    assert "memory" in caplog.text


def test_comet_fingerprint_is_that_of_the_files(
    tiny_comet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Comet(str(tiny_comet)).fingerprint
    moved = tmp_path / "moved"
    tiny_comet.rename(moved)
    assert Comet(str(moved)).fingerprint == first
    assert Comet(str(moved), batch_size=2).fingerprint == first  # the answers are the same
    with monkeypatch.context() as patch:
        patch.setattr(comet, "BEAMS", 4)
        assert Comet(str(moved)).fingerprint != first
    (moved / "config.json").write_text("{}")
    assert Comet(str(moved)).fingerprint != first


def test_comet_that_cannot_be_loaded(tmp_path: Path) -> None:
    pytest.importorskip(
        "transformers", reason="transformers is not installed (pip install 'ctsm-lab[comet]')"
    )
    (tmp_path / "empty").mkdir()
    with pytest.raises(CtsmError, match=r"empty.*cannot be loaded on cpu.*--set knowledge=none"):
        Comet(str(tmp_path / "empty")).infer(["hello"])


def test_comet_on_a_device_that_is_not_there(tiny_comet: Path) -> None:
    with pytest.raises(CtsmError, match="cannot be loaded on cuda:99"):
        Comet(str(tiny_comet), "cuda:99").infer(["hello"])


def test_comet_without_transformers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(CtsmError, match=r"pip install 'ctsm-lab\[comet\]'"):
        Comet(str(tmp_path)).infer(["hello"])
