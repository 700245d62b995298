"""Blind sheets from files of answers: match by context, sample by emotion, shuffle the sides, seal the key.

The first file is the system in question; each other file is compared with it, on the same contexts.

Paper: Sec. 4.3.2 compares CTSM with three baselines, 3 aspects, win / tie / lose. It names neither how items were drawn
nor attention checks.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from ctsm_lib.cache import file_fingerprint
from ctsm_lib.corpus import tokenize
from ctsm_lib.errors import ConfigError, DataError
from ctsm_workbench.judging.files import (
    KEY,
    SHEET,
    Item,
    Sheet,
    clean,
    sheet_number,
    write_instructions,
    write_key,
    write_sheet,
)
from ctsm_workbench.study.responses import numbered_rows

NO_ANSWER = "(no answer)"
MIN_WORDS = 6  # a reference is shuffled, or taken from elsewhere, only if it is so long that this can be seen

Context = tuple[str, ...]
Form = Callable[[str], str]


@dataclass
class System:
    """Answers of one file, by normalised context.

    Attributes:
        repeated: contexts that stand in the file more than once. They are left out: which answer belongs to which is
            not known.
    """

    name: str
    path: Path
    rows: dict[Context, dict] = field(default_factory=dict)
    lines: dict[Context, int] = field(default_factory=dict)
    repeated: set[Context] = field(default_factory=set)
    total: int = 0


def normalise(turns: Sequence[str]) -> Context:
    """What two files' contexts are compared by: letters and digits, after the contractions that the baselines resolve."""
    return tuple(map(_letters, turns))


@lru_cache(maxsize=1 << 16)  # a turn is part of every later context of its dialogue
def _letters(turn: str) -> str:
    text = unicodedata.normalize("NFKC", turn).replace("\u2019", "'")
    text = re.sub(
        r"\s+(n't|'\w+)", r"\1", text, flags=re.IGNORECASE
    )  # "do n't" is how tokenizers leave "don't"
    return "".join(re.findall(r"[^\W_]", " ".join(tokenize(text)).casefold()))


def tokenized(text: str) -> str:
    """Text in the form in which the compared systems write: lower case, tokens apart."""
    return " ".join(tokenize(text))


def read_system(name: str, path: Path) -> System:
    """Read a JSON-lines file with `context` (turns, or one text), `response`, and `emotion` and `reference` if known.

    Raises:
        DataError: the file cannot be read, or a line lacks a context, or a field has another type (with its number).
    """
    system = System(name, path)
    for line, row in numbered_rows(path):
        turns = [row["context"]] if isinstance(row.get("context"), str) else row.get("context")
        if (
            not isinstance(turns, list)
            or not turns
            or not all(isinstance(turn, str) for turn in turns)
        ):
            raise DataError(
                f'{path}:{line}: "context" should be the list of the turns, found {str(turns)[:60]!r}.'
            )
        for part in ("emotion", "reference"):
            if not isinstance(row.get(part, ""), str):
                raise DataError(
                    f'{path}:{line}: "{part}" should be text, found {str(row[part])[:60]!r}.'
                )
        key = normalise(turns)
        if key in system.rows:
            system.repeated.add(key)
        system.rows[key], system.lines[key] = row | {"context": turns}, line
        system.total += 1
    return system


def named_files(arguments: Sequence[str]) -> list[tuple[str, Path]]:
    """`NAME=FILE` or `FILE`, whose name is then the file's without ending.

    Raises:
        ConfigError: fewer than two files, or two of one name.
    """
    named = []
    for argument in arguments:
        name, equals, path = argument.partition("=")
        if not equals or "/" in name:
            name, path = Path(argument).stem, argument
        named.append((name.strip(), Path(path)))
    if len(named) < 2:
        raise ConfigError(
            "Two files of answers are needed, the system in question first: ctsm judge make A.jsonl B.jsonl"
        )
    names = Counter(name for name, _ in named)
    for name, count in names.items():
        if count > 1 or not name:
            raise ConfigError(
                f"{count} files are called {name!r}. Name them: ctsm judge make ours=A.jsonl theirs=B.jsonl"
            )
    return named


def make(
    files: Sequence[tuple[str, Path]],
    out: Path,
    *,
    items: int = 100,
    checks: int | None = None,
    seed: int = 0,
    key: Path | None = None,
) -> dict:
    """Write `sheet.csv`, `instructions.md` and `key.json`; the same arguments give the same bytes.

    Args:
        files: name and path of each system, the system in question first.
        out: folder, made when missing. What is there is never written over: judgements may depend on it.
        items: contexts; each is judged once a comparison. Emotions have equal shares as far as they have contexts.
        checks: attention checks in all; by default one to twenty items.
        key: where the key goes; by default `out / "key.json"`.

    Returns:
        A report: how many rows of each file were matched, unmatched, repeated; items, checks, the sheet's number, and in
        which form answers are shown: where a system writes in lower case with tokens apart, so do all.

    Raises:
        ConfigError: numbers that make no sense, or more items than contexts that all files share.
        DataError: a file that cannot be used.
    """
    key_path = key or out / KEY
    for path in (out / SHEET, key_path):
        if path.exists():
            raise ConfigError(
                f"{path} is there already, and judgements may depend on it. Choose another folder."
            )
    systems = [read_system(name, path) for name, path in files]
    shared = [
        c for c in systems[0].rows if all(c in s.rows and c not in s.repeated for s in systems)
    ]
    emotions = {context: _emotion(systems, context) for context in shared}
    if not 1 <= items <= len(shared):
        found = (
            f"{len(shared)} contexts are in all files" if shared else "no context is in all files"
        )
        raise ConfigError(
            f"{items} items were asked for, but {found} ({', '.join(s.path.name for s in systems)})."
        )
    comparisons = len(systems) - 1
    checks = max(1, items * comparisons // 20) if checks is None else checks
    if checks < 0:
        raise ConfigError(
            f"{checks} attention checks: the number cannot be negative. 0 makes none."
        )
    dice = random.Random(f"ctsm judge {seed}")
    chosen = stratified(emotions, items, dice)
    form = _common_form(systems, chosen)
    drafts = [
        draft
        for other in systems[1:]
        for draft in _compare(systems[0], other, chosen, emotions, dice, form)
    ]
    dice.shuffle(drafts)
    taken = set(chosen)
    tests = _attention(systems, shared, emotions, taken, checks, dice, form)
    for place, test in enumerate(tests):  # evenly through the sheet, never the first
        drafts.insert(1 + (place + 1) * len(drafts) // (len(tests) + 1), test)
    width = len(str(len(drafts)))
    names = [f"q{number:0{width}}" for number in range(1, len(drafts) + 1)]
    shown = tuple(
        Item(name, tuple(turns), a, b) for name, (turns, a, b, _) in zip(names, drafts, strict=True)
    )
    payload = {
        "systems": [
            {"name": s.name, "file": s.path.name, "fingerprint": file_fingerprint(s.path)}
            for s in systems
        ],
        "seed": seed,
        "items": {name: secret for name, (*_, secret) in zip(names, drafts, strict=True)},
    }
    number = sheet_number(shown, payload)
    write_key(key_path, number, payload)
    write_sheet(out, Sheet(number, shown))
    write_instructions(out)
    same = sum(normalise([item.a]) == normalise([item.b]) for item in shown)
    return {
        "sheet": number,
        "files": {s.name: _matches(s, shared) for s in systems},
        "comparisons": comparisons,
        "items": items,
        "checks": len(tests),
        "rows": len(shown),
        "same_answer": same,
        "form": "as written" if form is clean else "lower case, tokens apart",
        "emotions": dict(sorted(Counter(emotions[context] for context in chosen).items())),
    }


def stratified(strata: dict[Context, str], count: int, dice: random.Random) -> list[Context]:
    """Draw `count` contexts, one emotion after the other in turn: equal shares as far as an emotion has contexts."""
    piles: dict[str, list[Context]] = defaultdict(list)
    for context, emotion in strata.items():
        piles[emotion].append(context)
    order = sorted(piles)
    dice.shuffle(order)
    for emotion in order:
        dice.shuffle(piles[emotion])
    chosen: list[Context] = []
    while len(chosen) < count:
        for emotion in order:
            if piles[emotion] and len(chosen) < count:
                chosen.append(piles[emotion].pop())
    return chosen


def _common_form(systems: Sequence[System], chosen: Sequence[Context]) -> Form:
    """How answers are shown: as written, unless capitals and spacing would tell some systems from others."""

    def both(text: str) -> str:
        return tokenized(clean(text))

    texts = [[clean(system.rows[context]["response"]) for context in chosen] for system in systems]
    return (
        both
        if any(all(text == tokenized(text) for text in answers) for answers in texts)
        else clean
    )


Draft = tuple[list[str], str, str, dict]  # turns, A, B, what the key says


def _compare(
    ours: System,
    other: System,
    chosen: Sequence[Context],
    emotions: dict[Context, str],
    dice: random.Random,
    form: Form,
) -> list[Draft]:
    sides = [place % 2 == 0 for place in range(len(chosen))]  # each side as often as the other
    dice.shuffle(sides)
    drafts = []
    for context, left in zip(chosen, sides, strict=True):
        texts = [form(system.rows[context]["response"]) or NO_ANSWER for system in (ours, other)]
        secret = {
            "kind": "comparison",
            "A": ours.name if left else other.name,
            "B": other.name if left else ours.name,
            "emotion": emotions[context],
            "lines": {system.name: system.lines[context] for system in (ours, other)},
        }
        a, b = texts if left else texts[::-1]
        drafts.append((_turns(ours, context), a, b, secret))
    return drafts


def _attention(
    systems: Sequence[System],
    shared: Sequence[Context],
    emotions: dict[Context, str],
    taken: set[Context],
    count: int,
    dice: random.Random,
    form: Form,
) -> list[Draft]:
    """Checks that an attentive judge passes: a human answer beside its own words shuffled (fluency), or beside a human
    answer to a conversation about another emotion (relevance). Only the named aspect is checked."""
    references = {}
    for context in shared:
        found = [form(s.rows[context].get("reference", "")) for s in systems]
        if good := next((text for text in found if len(set(text.split())) >= MIN_WORDS), ""):
            references[context] = good
    if len(references) < count:
        raise ConfigError(
            f'{count} attention checks need as many contexts with a "reference" of {MIN_WORDS} or more words; there are '
            f"{len(references)}. Choose --checks {len(references)}."
        )
    fresh = [c for c in references if c not in taken]
    known = [
        c for c in references if c in taken
    ]  # a context that is seen twice is better than no check
    picked = dice.sample(fresh, min(count, len(fresh))) + dice.sample(
        known, max(0, count - len(fresh))
    )
    drafts: list[Draft] = []
    for place, context in enumerate(picked):
        good = references[context]
        elsewhere = [
            c
            for c in references
            if emotions[c] != emotions[context] and not _alike(references[c], good)
        ]
        if place % 2 and elsewhere:
            kind, aspect, bad = "unrelated", "relevance", references[dice.choice(elsewhere)]
        else:
            kind, aspect, bad = "shuffled", "fluency", shuffled_words(good, dice)
        left = dice.random() < 0.5
        secret = {
            "kind": kind,
            "aspect": aspect,
            "expected": "A" if left else "B",
            "emotion": emotions[context],
        }
        drafts.append(
            (_turns(systems[0], context), *((good, bad) if left else (bad, good)), secret)
        )
    return drafts


def shuffled_words(text: str, dice: random.Random) -> str:
    """The order of words that keeps the fewest neighbours together, out of fifty random ones."""
    words = text.split()
    neighbours = set(pairwise(words))
    orders = [dice.sample(words, len(words)) for _ in range(50)]
    return " ".join(min(orders, key=lambda order: sum(p in neighbours for p in pairwise(order))))


def _alike(one: str, other: str) -> bool:
    a, b = set(one.split()), set(other.split())
    return len(a & b) > len(a | b) / 2


def _turns(system: System, context: Context) -> list[str]:
    return [clean(turn) for turn in system.rows[context]["context"]]


def _emotion(systems: Sequence[System], context: Context) -> str:
    for system in systems:
        if emotion := system.rows[context].get("emotion"):
            return emotion
    first = systems[0]
    raise DataError(
        f'{first.path}:{first.lines[context]}: no file names this context\'s "emotion"; sampling needs it.'
    )


def _matches(system: System, shared: Sequence[Context]) -> dict:
    """How many rows are used; the first lines of those that are not."""
    known = set(shared)
    lost = [
        line
        for context, line in system.lines.items()
        if context not in known and context not in system.repeated
    ]
    alone = len(lost)
    return {
        "rows": system.total,
        "matched": len(shared),
        "unmatched": alone,
        "repeated": system.total - len(shared) - alone,
        "unmatched_lines": sorted(lost)[:5],
    }
