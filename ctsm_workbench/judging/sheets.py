"""Blind sheets from files of answers: match by context, sample by emotion, shuffle A and B, seal.

Paper: Sec. 4.3.2 compares CTSM with three baselines on 3 aspects as win, tie or lose. It reports
neither how items were drawn nor attention checks.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Sequence
from functools import lru_cache
from itertools import chain, pairwise, zip_longest
from pathlib import Path
from random import Random
from typing import Any

from ctsm_lib.cache import file_fingerprint
from ctsm_lib.corpus import tokenize
from ctsm_lib.errors import ConfigError, DataError
from ctsm_workbench.judging import files as formats
from ctsm_workbench.judging.files import Item, Sheet, clean
from ctsm_workbench.study.responses import numbered_rows

NO_ANSWER = "(no answer)"
MIN_WORDS = 6  # in a shorter reference nobody notices that its words are shuffled

Context = tuple[str, ...]  # normalised turns
Texts = dict[Context, str]
Rows = dict[Context, list[dict]]
Matched = dict[Context, dict[str, dict]]  # the one row of each system, by the system's name
Draft = tuple[Context, str, str, dict]  # context, A, B, and what the key stores of the item


@lru_cache(maxsize=1 << 16)  # a turn is part of every later context of its dialogue
def _letters(turn: str) -> str:
    text = unicodedata.normalize("NFKC", turn).replace("\u2019", "'")
    # Tokenizers write "do n't" for "don't".
    text = re.sub(r"\s+(n't|'\w+)", r"\1", text, flags=re.IGNORECASE)
    return "".join(re.findall(r"[^\W_]", _tokenized(text).casefold()))


def normalise(turns: Sequence[str]) -> Context:
    """Letters and digits of each turn, with contractions resolved: equal for all tokenizers."""
    return tuple(map(_letters, turns))


def _tokenized(text: str) -> str:
    """Text on one line as the compared systems write it: lower case, spaces between tokens."""
    return " ".join(tokenize(clean(text)))


def read_rows(path: Path) -> Rows:
    """Read JSON lines with `context` (turns, or one text), `response`, `emotion` and `reference`.

    The last two may be missing. Each row also gets its `line`. DataError: a line is not like that.
    """
    rows: Rows = defaultdict(list)
    for line, row in numbered_rows(path):
        turns: Any = row.get("context")
        turns = [turns] if isinstance(turns, str) else turns
        is_list = isinstance(turns, list) and turns and all(isinstance(t, str) for t in turns)
        wrong = {} if is_list else {"context": "the list of the turns"}
        parts = ("emotion", "reference")
        wrong |= {part: "text" for part in parts if not isinstance(row.get(part, ""), str)}
        for part, wanted in wrong.items():
            found = str(row.get(part))[:60]
            raise DataError(f'{path}:{line}: "{part}" should be {wanted}, found {found!r}.')
        rows[normalise(turns)].append(row | {"context": turns, "line": line})
    return dict(rows)


def named_files(arguments: Sequence[str]) -> list[tuple[str, Path]]:
    """Names and paths from `NAME=FILE` or `FILE`, where the name is the file's without ending."""
    if len(arguments) < 2:
        raise ConfigError("Two files of answers are needed: ctsm judge make OURS.jsonl OTHER.jsonl")
    named = []
    for argument in arguments:
        name, equals, path = argument.partition("=")
        bare = not equals or "/" in name
        named.append((Path(argument).stem, Path(argument)) if bare else (name.strip(), Path(path)))
    for name, count in Counter(name for name, _ in named).items():
        if count > 1 or not name:
            raise ConfigError(f"{count} files are called {name!r}. Name them: a=A.jsonl b=B.jsonl")
    return named


def make(
    files: Sequence[tuple[str, Path]], out: Path, *, items: int = 100, checks: int | None = None,
    seed: int = 0, key: Path | None = None,
) -> dict:  # fmt: skip
    """Write `sheet.csv`, `instructions.md` and `key.json`; the same arguments give the same bytes.

    `files` are the name and the path of each system, the system in question first. `items` counts
    contexts, drawn in equal shares of emotions where possible; each is judged once per comparison.
    `checks` counts attention checks, by default one to twenty items. Files that are there are never
    overwritten. The report has the sheet's number, counts of rows, and the `form` of the answers.
    """
    key = key or out / formats.KEY
    for path in (out / formats.SHEET, key):
        if path.exists():
            raise ConfigError(f"{path} is there already, perhaps judged. Choose another folder.")
    systems = {name: read_rows(path) for name, path in files}
    ours, our_path = files[0]
    # A context that a file has twice is left out: it is unknown which of its answers to compare.
    rows = {
        context: {name: found[context][0] for name, found in systems.items()}
        for context in systems[ours]
        if all(len(found.get(context, ())) == 1 for found in systems.values())
    }
    emotions: Texts = {}
    for context, found in rows.items():
        named = [row["emotion"] for row in found.values() if row.get("emotion")]
        if not named:
            problem = 'no file names this context\'s "emotion"; sampling needs it'
            raise DataError(f"{our_path}:{found[ours]['line']}: {problem}.")
        emotions[context] = named[0]
    if not 1 <= items <= len(rows):
        have = f"{len(rows)} contexts are" if rows else "no context is"
        names = ", ".join(path.name for _, path in files)
        raise ConfigError(f"{items} items were asked for, but {have} in all files ({names}).")
    checks = max(1, items * (len(files) - 1) // 20) if checks is None else checks
    dice = Random(f"ctsm judge {seed}")
    chosen = {context: rows[context] for context in stratified(emotions, items, dice)}
    # If one system wrote tokens, capitals and spacing would identify it.
    texts = ([clean(found[name]["response"]) for found in chosen.values()] for name in systems)
    tokens_apart = any(answers == list(map(_tokenized, answers)) for answers in texts)
    form = _tokenized if tokens_apart else clean
    drafts = _comparisons(chosen, list(systems), dice, form)
    references: Texts = {}
    for context, found in rows.items():
        for text in (form(row.get("reference", "")) for row in found.values()):
            if len(set(text.split())) >= MIN_WORDS:
                references.setdefault(context, text)
    tests = _attention_checks(references, emotions, taken=set(chosen), count=checks, dice=dice)
    for place, test in enumerate(tests):  # evenly through the sheet, never the first
        drafts.insert(1 + (place + 1) * len(drafts) // (checks + 1), test)
    shown = []
    secrets = {}
    for number, (context, a, b, secret) in enumerate(drafts, start=1):
        name = f"q{number:0{len(str(len(drafts)))}}"
        shown.append(Item(name, tuple(map(clean, rows[context][ours]["context"])), a, b))
        secrets[name] = secret | {"emotion": emotions[context]}
    about = [{"name": n, "file": p.name, "fingerprint": file_fingerprint(p)} for n, p in files]
    payload = {"systems": about, "seed": seed, "items": secrets}
    sheet = Sheet(formats.sheet_number(shown, payload), tuple(shown))
    formats.write_key(key, sheet.number, payload)
    formats.write_sheet(out, sheet)
    return {
        "sheet": sheet.number,
        "files": {name: _matches(found, rows) for name, found in systems.items()},
        "comparisons": len(files) - 1, "items": items, "checks": checks, "rows": len(shown),
        "same_answer": sum(normalise([item.a]) == normalise([item.b]) for item in shown),
        "form": "lower case, tokens apart" if tokens_apart else "as written",
        "emotions": dict(sorted(Counter(map(emotions.__getitem__, chosen)).items())),
    }  # fmt: skip


def stratified(strata: Texts, count: int, dice: Random) -> list[Context]:
    """Draw `count` contexts, in each round one of every emotion that has contexts left."""
    piles: dict[str, list[Context]] = defaultdict(list)
    for context, emotion in strata.items():
        piles[emotion].append(context)
    order = sorted(piles)
    dice.shuffle(order)
    for emotion in order:
        dice.shuffle(piles[emotion])
    rounds = zip_longest(*(reversed(piles[emotion]) for emotion in order))
    return list(filter(None, chain.from_iterable(rounds)))[:count]


def _comparisons(rows: Matched, names: list[str], dice: Random, form: Callable) -> list[Draft]:
    """The first system against each other one, in a random order."""
    drafts: list[Draft] = []
    for other in names[1:]:
        both = [(names[0], other), (other, names[0])]
        orders = (both * len(rows))[: len(rows)]  # the first system is A as often as B
        dice.shuffle(orders)
        for (context, found), (a, b) in zip(rows.items(), orders, strict=True):
            left, right = (form(found[name]["response"]) or NO_ANSWER for name in (a, b))
            lines = {name: found[name]["line"] for name in (a, b)}
            secret = {"kind": "comparison", "A": a, "B": b, "lines": lines}
            drafts.append((context, left, right, secret))
    dice.shuffle(drafts)
    return drafts


def _attention_checks(
    references: Texts, emotions: Texts, *, taken: set[Context], count: int, dice: Random
) -> list[Draft]:
    """Checks that an attentive judge passes: a human answer beside a worse one.

    The worse one has the same words in another order (which tests fluency) or is a human answer
    to a conversation about another emotion (which tests relevance). Only this aspect is checked.
    """
    if (known := len(references)) < count or count < 0:
        have = f'{known} contexts have a "reference" of {MIN_WORDS} or more words'
        hint = f"Choose --checks from 0 to {known}"
        raise ConfigError(f"{count} attention checks cannot be made: {have}. {hint}.")
    fresh = [context for context in references if context not in taken]
    seen = [context for context in references if context in taken]
    # A context that is judged already is better than no check.
    picked = dice.sample(fresh, min(count, len(fresh)))
    picked += dice.sample(seen, count - len(picked))
    drafts: list[Draft] = []
    for place, context in enumerate(picked):
        good = references[context]
        words = set(good.split())
        others = [text for c, text in references.items() if emotions[c] != emotions[context]]
        shares = (len(words & set(o.split())) / len(words | set(o.split())) for o in others)
        unrelated = [other for other, share in zip(others, shares, strict=True) if share <= 0.5]
        if place % 2 and unrelated:
            secret = {"kind": "unrelated", "aspect": "relevance"}
            bad = dice.choice(unrelated)
        else:
            secret = {"kind": "shuffled", "aspect": "fluency"}
            bad = shuffled_words(good, dice)
        a, b, expected = (good, bad, "A") if dice.random() < 0.5 else (bad, good, "B")
        drafts.append((context, a, b, secret | {"expected": expected}))
    return drafts


def shuffled_words(text: str, dice: Random) -> str:
    """Of fifty random orders of the words, the one that keeps the fewest neighbours together."""
    words = text.split()
    neighbours = set(pairwise(words))
    orders = [dice.sample(words, len(words)) for _ in range(50)]
    return " ".join(min(orders, key=lambda order: sum(p in neighbours for p in pairwise(order))))


def _matches(rows: Rows, shared: Container[Context]) -> dict:
    """How many rows are used, and the first lines of those without a partner."""
    single = {context: found[0]["line"] for context, found in rows.items() if len(found) == 1}
    lost = [line for context, line in single.items() if context not in shared]
    total = sum(map(len, rows.values()))
    counts = {"rows": total, "matched": len(single) - len(lost), "unmatched": len(lost)}
    return counts | {"repeated": total - len(single), "unmatched_lines": lost[:5]}
