"""How a run reads a dialogue, token by token, and what an edit of the dialogue changes.

Paper: Sec. 3.4.2 and 3.5. Shapes: L context tokens with CLS, 32 emotions.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ctsm_lib.corpus import EMOTIONS, USR, Corpus, tokenize
from ctsm_lib.runs import clean_turn
from ctsm_workbench.explorers.voices import Voice

CLS_NAME = "⟨CLS⟩"


@dataclass(frozen=True)
class Reading:
    """A context as a run reads it. Without guidance there is no "teacher"."""

    tokens: list[str]  # L, as typed, CLS first; the beginning of a long context is cut off
    known: list[bool]  # L: the run reads tokens outside its vocabulary as <unk>
    by_speaker: list[bool]  # L
    inclination: np.ndarray | None  # L 32: V_cos, Eq. (7); None without state embedding
    intensity: np.ndarray  # L: emotion intensity
    pooling: dict[str, np.ndarray]  # L: the attention pooling S of "student" and "teacher"
    probabilities: dict[str, np.ndarray]  # 32: the emotions that these two predict
    cut: int  # tokens cut off at the beginning

    @property
    def unread(self) -> set[str]:
        """The tokens that the run reads as <unk>."""
        return {token for token, known in zip(self.tokens, self.known, strict=True) if not known}


@torch.no_grad()
def read_context(voice: Voice, turns: Sequence[str]) -> Reading:
    """Read turns as the model does when it answers, and once more by the teacher's path.

    The speaker's turn is first. "" leaves a turn out, and the others keep their speakers. Raises
    `DataError` where no turn holds a word, and `RunError` for a run of a baseline.
    """
    model = voice.run.ctsm()
    batch = voice.batch(turns)
    read = model.read(batch)
    predictors = {"student": (model.remember(batch, read).emotion_logits, read.pooling)}
    if model.config.guidance:
        predictors["teacher"] = model.teacher_path(read)
    logits = {name: found[0].float() for name, (found, _) in predictors.items()}
    typed = [token for turn in turns for token in tokenize(clean_turn(turn))]
    cut = len(typed) - (batch.context.shape[1] - 1)
    return Reading(
        tokens=[CLS_NAME, *typed[cut:]],
        known=[True, *(token in voice.run.vocabulary for token in typed[cut:])],
        by_speaker=(batch.speaker[0] == USR).tolist(),
        inclination=None if read.V_cos is None else read.V_cos[0].numpy(),
        intensity=read.intensity[0].numpy(),
        pooling={name: pooling[0].float().numpy() for name, (_, pooling) in predictors.items()},
        probabilities={name: row.softmax(dim=-1).numpy() for name, row in logits.items()},
        cut=cut,
    )


def picked_dialogue(
    corpus: Corpus, emotion: str, random: np.random.Generator
) -> tuple[list[str], str] | None:
    """A random test context with this label, or "any", and its label; None where there is none."""
    split = corpus.splits["test"]
    labels = split.pairs[:, 3]
    fitting = np.flatnonzero([emotion in ("any", EMOTIONS[k]) for k in labels])
    if not len(fitting):
        return None
    pair = int(random.choice(fitting))
    return split.context_texts(pair), EMOTIONS[labels[pair]]


def new_tokens(before: Reading, after: Reading) -> list[bool]:
    """[L of after] whether a token was not there before."""
    matcher = difflib.SequenceMatcher(a=before.tokens, b=after.tokens, autojunk=False)
    new = [True] * len(after.tokens)
    for block in matcher.get_matching_blocks():
        new[block.b : block.b + block.size] = [False] * block.size
    return new


def moved(before: Reading, after: Reading, who: str = "student") -> float:
    """The probability that moved from some emotions to others, 0 to 1 (total variation)."""
    return float(np.abs(before.probabilities[who] - after.probabilities[who]).sum() / 2)


def likeliest(readings: Sequence[Reading], count: int) -> list[int]:
    """The emotions that the student finds likeliest in any of the readings, the likeliest first."""
    highest = np.max([reading.probabilities["student"] for reading in readings], axis=0)
    return np.argsort(-highest, kind="stable")[:count].tolist()
