"""One judge at work, without any screen: what comes next, what was answered, and nothing is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ctsm_lib.errors import ConfigError
from ctsm_workbench.judging.files import (
    ASPECTS,
    CHOICES,
    Answers,
    Item,
    judge_file,
    read_answers,
    read_sheet,
    write_answers,
)


class JudgingSession:
    """Judgements of one judge on one sheet, saved after every single answer.

    A session opens where the judge left off: at the first item that lacks an answer. Every save first reads what is on
    the disk, so that two windows of one judge do not undo each other's answers; of two answers to one question the
    later counts.

    Args:
        folder: holds `sheet.csv`; judgements go to `judges/NAME.csv` within.
        judge: the judge's name, best a pseudonym.

    Raises:
        ConfigError: the name cannot be a file's name.
        DataError: the sheet, or what this judge has judged so far, cannot be read.
    """

    def __init__(self, folder: Path | str, judge: str):
        folder = Path(folder)
        self.sheet = read_sheet(folder)
        self.path = judge_file(folder, judge)
        self.judge = self.path.stem
        self.answers: Answers = {}
        self._load()
        self.position = next((p for p in range(len(self.sheet.items)) if not self.complete(p)), 0)

    @property
    def item(self) -> Item:
        """The item on the screen."""
        return self.sheet.items[self.position]

    @property
    def progress(self) -> tuple[int, int]:
        """Items of which every aspect is answered, and all items."""
        return sum(self.complete(place) for place in range(len(self.sheet.items))), len(
            self.sheet.items
        )

    @property
    def done(self) -> bool:
        """Whether every aspect of every item is answered."""
        done, total = self.progress
        return done == total

    def complete(self, position: int) -> bool:
        """Whether every aspect of an item is answered."""
        return all((self.sheet.items[position].name, aspect) in self.answers for aspect in ASPECTS)

    def answer(self, aspect: str, choice: str) -> None:
        """Answer one question about the item on the screen, and save.

        Raises:
            ConfigError: no such aspect or choice.
            OSError: the file cannot be written; the answer then does not count, here neither.
        """
        if aspect not in ASPECTS or choice not in CHOICES:
            raise ConfigError(
                f"{aspect!r}: {choice!r} is none of {', '.join(ASPECTS)}: {', '.join(CHOICES)}."
            )
        self._load()
        answers = self.answers | {(self.item.name, aspect): choice}
        write_answers(self.path, self.sheet, answers)
        self.answers = answers

    def next(self) -> None:
        """Go on; the last item stays."""
        self.go(self.position + 1)

    def back(self) -> None:
        """Go back to the item before; the first stays."""
        self.go(self.position - 1)

    def go(self, position: int) -> None:
        """Go to an item, counted from 0; beyond the ends, to the end."""
        self.position = max(0, min(position, len(self.sheet.items) - 1))

    def screen(self) -> dict[str, Any]:
        """All that a screen shows, as plain text and numbers; nothing of it is markup."""
        done, total = self.progress
        item = self.item
        return {
            "judge": self.judge,
            "item": item.name,
            "position": self.position,
            "total": total,
            "done": done,
            "turns": list(item.turns),
            "a": item.a,
            "b": item.b,
            "answers": {aspect: self.answers.get((item.name, aspect), "") for aspect in ASPECTS},
        }

    def _load(self) -> None:
        if self.path.is_file():
            self.answers, _ = read_answers(self.path, self.sheet)
