"""One judge at work, without a screen: the current item, the answers, and saving them."""

from pathlib import Path
from typing import Any

from ctsm_lib.errors import ConfigError
from ctsm_workbench.judging import files
from ctsm_workbench.judging.files import ASPECTS, CHOICES, Answers, Item


class JudgingSession:
    """Judgements of one judge on one sheet, saved after every single answer.

    A session begins at the first item that lacks an answer. Before every save it reads the file
    again, so that two windows of one judge keep each other's answers. If a question is answered
    twice, the later answer counts. `folder` has `sheet.csv`; judgements go to `judges/NAME.csv`
    in it. ConfigError: the judge's name cannot be the name of a file.
    """

    def __init__(self, folder: Path | str, judge: str):
        folder = Path(folder)
        self.sheet = files.read_sheet(folder)
        self.path = files.judge_file(folder, judge)
        self.judge = self.path.stem
        self.answers: Answers = {}
        self._load()
        places = range(len(self.sheet.items))
        self.position = next((place for place in places if not self.complete(place)), 0)

    @property
    def item(self) -> Item:
        """The item on the screen."""
        return self.sheet.items[self.position]

    @property
    def progress(self) -> tuple[int, int]:
        """The number of items whose aspects are all answered, and the number of all items."""
        total = len(self.sheet.items)
        return sum(self.complete(place) for place in range(total)), total

    def complete(self, position: int) -> bool:
        """True when every aspect of an item is answered."""
        return all((self.sheet.items[position].name, aspect) in self.answers for aspect in ASPECTS)

    def answer(self, aspect: str, choice: str) -> None:
        """Answer one question about the item on the screen, and save the answer.

        OSError: the file cannot be written; the session then keeps its old answers.
        """
        if aspect not in ASPECTS or choice not in CHOICES:
            known = f"{', '.join(ASPECTS)}: {', '.join(CHOICES)}"
            raise ConfigError(f"{aspect!r}: {choice!r} is none of {known}.")
        self._load()
        answers = self.answers | {(self.item.name, aspect): choice}
        files.write_answers(self.path, self.sheet, answers)
        self.answers = answers

    def go(self, position: int) -> None:
        """Go to an item, counted from 0; a number beyond the ends means the first or last item."""
        self.position = max(0, min(position, len(self.sheet.items) - 1))

    def screen(self) -> dict[str, Any]:
        """All that a screen shows, as plain text and numbers without markup."""
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
            self.answers, _ = files.read_answers(self.path, self.sheet)
