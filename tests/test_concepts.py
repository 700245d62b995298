"""Emotion concepts: the table that models look words up in."""

from pathlib import Path

import numpy as np
import pytest

from ctsm_lib.corpus import PAD, SPECIALS, Vocabulary
from ctsm_lib.errors import DataError
from ctsm_workbench.baselines.kemp import STRONG, concept_table

WORDS = Vocabulary([*SPECIALS, "storm", "fear", "calm", "table", "joy"])
STRENGTH = np.array([0.0] * len(SPECIALS) + [0.3, 0.9, STRONG, 0.1, 0.8])


def test_the_related_word_of_the_strongest_emotion_is_the_concept() -> None:
    """Unknown words, weak ones and a word's own self are passed over; 0.6 itself is strong."""
    found = concept_table(
        {
            "storm": ["thunder", "table", "joy", "fear"],
            "calm": ["calm", "joy"],
            "table": ["storm"],
            "joy": ["calm"],
            "sea": ["joy"],
        },
        WORDS,
        STRENGTH,
    )
    names = {
        WORDS.words[i]: (WORDS.words[int(k)] if k != PAD else None) for i, k in enumerate(found)
    }
    assert names | {"storm": None} == dict.fromkeys(WORDS.words) | {
        "calm": "joy",
        "joy": "calm",
        "storm": None,
    }
    assert names["storm"] == "fear"


def test_a_data_folder_with_concepts_gives_them_to_models(tmp_path: Path, monkeypatch) -> None:
    """They are in tables and description, but not with `concepts=false` or without the file."""
    import shutil

    from ctsm_lib.config import preset
    from ctsm_lib.prepare import prepare
    from ctsm_lib.sources import SAMPLE, find_sources

    folder = tmp_path / "data"
    shutil.copytree(SAMPLE, folder)
    config = preset("sample", ["model=kemp"])
    without = prepare(config, find_sources(folder), splits=(), progress=False)
    assert without.description["concepts"] == "none"
    assert "concepts" not in without.tables(config).more
    rows = "relation\thead\ttail\nC\tdog\thappy\nC\tdog\tjoy\nC\train\tsad\n"
    (folder / "conceptnet.tsv").write_text(rows)
    prepared = prepare(config, find_sources(folder), splits=(), progress=False)
    assert prepared.description["concepts"] == "conceptnet.tsv (5 words)"
    table = prepared.tables(config).more["concepts"]
    index = prepared.corpus.vocabulary.index
    assert (table != PAD).sum() >= 1
    assert int(table[index["dog"]]) in {index.get("happy"), index.get("joy"), PAD}
    off = config.override(["concepts=false"])
    unused = prepare(off, find_sources(folder), splits=(), progress=False)
    assert "concepts" not in unused.tables(off).more
    # A damaged file is an error only for models that use concepts.
    (folder / "conceptnet.tsv").write_text("{")
    with pytest.raises(DataError, match=r"conceptnet\.tsv:1"):
        prepare(config, find_sources(folder), splits=(), progress=False)
    prepare(config.override(["model=ctsm"]), find_sources(folder), splits=(), progress=False)
