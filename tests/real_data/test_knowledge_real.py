"""Commonsense on the real ATOMIC and Event2Mind files; skipped where they are not."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from ctsm_lib.corpus import read_dialogues
from ctsm_lib.knowledge import MAX_PHRASES, RELATIONS, Inference, provider_for
from ctsm_workbench.retrieval.atomic import AtomicRetrieval
from ctsm_workbench.retrieval.store import infer_cached
from ctsm_workbench.retrieval.tables import read_atomic
from ctsm_workbench.retrieval.words import clean_phrases

DATA = Path(
    os.environ.get("CTSM_DATA") or Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
).resolve()
FOLDER = DATA / "atomic"
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not FOLDER.is_dir(), reason=f"{FOLDER} is missing; set CTSM_DATA"),
]


@pytest.fixture(scope="module")
def provider() -> AtomicRetrieval:
    found = provider_for("atomic", FOLDER)
    assert isinstance(found, AtomicRetrieval)
    return found


def test_every_row_is_understood() -> None:
    tails, problems = read_atomic(FOLDER)
    assert problems == []
    assert 15_000 < len(tails) < 16_000
    with_relation = {
        relation: sum(relation in found for found in tails.values()) for relation in RELATIONS
    }
    assert with_relation["xReact"] > 14_000
    assert min(with_relation.values()) > 3_000
    phrases = {
        phrase for found in tails.values() for counter in found.values() for phrase in counter
    }
    assert all(
        phrase.isascii() and phrase == phrase.lower() == phrase.strip() for phrase in phrases
    )
    assert not [
        phrase for phrase in phrases if phrase.startswith("to ") or phrase in ("", "to", "none")
    ]
    assert not [
        phrase for phrase in phrases if {"personx", "persony", "john", "tom"} & set(phrase.split())
    ]


@pytest.mark.parametrize(
    ("text", "event", "relation", "one_of"),
    [
        (
            "I broke up with my girlfriend last night.",
            "break up girlfriend",
            "xReact",
            {"sad", "hurt", "upset", "relieved"},
        ),
        (
            "I lost my wallet on the bus",
            "lose wallet",
            "xReact",
            {"upset", "worried", "stupid", "sad"},
        ),
        ("We finally got married!", "get marri=", "xReact", {"happy", "in love", "excited"}),
        (
            "I'm so tired. I was awake for hours.",
            "tire=",
            "xReact",
            {"exhausted", "still tired", "sluggish"},
        ),
        ("Yes! I just gave birth last week", "give birth", "xReact", {"happy", "tired"}),
        ("I can't wait for my vacation", "excit=", "xReact", {"excited", "happy"}),
    ],
)
def test_sane_retrievals(
    provider: AtomicRetrieval, text: str, event: str, relation: str, one_of: set[str]
) -> None:
    assert event in [name for name, _ in provider.nearest(text)[:3]]
    assert one_of & set(provider.infer([text])[0][relation])


def test_wild_utterances_get_nothing(provider: AtomicRetrieval) -> None:
    texts = [
        "it did",
        "Really? What is that?",
        "zxcvb qwerty",
        "I did get",
        "Yes, thank you so much.",
    ]
    assert provider.infer(texts) == [{relation: [] for relation in RELATIONS}] * len(texts)


def test_speakers_of_empathetic_dialogues(provider: AtomicRetrieval, tmp_path: Path) -> None:
    path = DATA / "empatheticdialogues" / "valid.csv"
    if not path.is_file():
        pytest.skip(f"{path} is missing")
    texts = [turn for dialogue in read_dialogues(path)[0] for turn in dialogue.turns[::2]]
    inferences = infer_cached(provider, texts, tmp_path, progress=False)
    assert len(inferences) == len(texts)
    assert all(
        len(phrases) <= MAX_PHRASES for inference in inferences for phrases in inference.values()
    )
    answered = sum(any(inference.values()) for inference in inferences) / len(texts)
    assert 0.5 < answered < 0.7
    started = time.perf_counter()
    assert infer_cached(provider, texts, tmp_path, progress=False) == inferences
    assert time.perf_counter() - started < 2


def test_generations_of_a_real_comet_become_clean_phrases() -> None:
    path = FOLDER / "atomic2020_BART_generations.jsonl"
    if not path.is_file():
        pytest.skip(f"{path} is missing")
    generated: list[Inference] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["relation"] in RELATIONS:
            generated.append({row["relation"]: clean_phrases(row["generations"])})
    phrases = [
        phrase for inference in generated for found in inference.values() for phrase in found
    ]
    assert len(phrases) > 1_000
    assert sum(any(inference.values()) for inference in generated) / len(generated) > 0.95
    assert not [
        p for p in phrases if p.startswith("to ") or {"personx", "persony", "none"} & set(p.split())
    ]
