"""One word in contexts of one's own: what Figure 1 shows, for any word and any text."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ctsm_lib.batches import context_batch
from ctsm_lib.corpus import EMOTIONS, UNK
from ctsm_lib.errors import DataError
from ctsm_lib.knowledge import Provider
from ctsm_lib.runs import Run, clean_turn
from ctsm_workbench.study.contexts.reading import read_states

# The contexts of the paper's Figure 1.
PAPER_WORD = "excited"
PAPER_CONTEXTS = (
    "Christmas is coming and I'm so excited to get my dream gift.",
    "I was too excited to shake my legs before bungee jumping.",
)


@torch.no_grad()
def word_in_contexts(
    run: Run,
    word: str = PAPER_WORD,
    contexts: Sequence[str] = PAPER_CONTEXTS,
    provider: Provider | None = None,
    device: str = "cpu",
) -> dict:
    """A word's trait, and in each context its state inclination and the emotions that the whole context is heard with.

    Args:
        contexts: each one turn of a speaker; where the word stands several times, each of them is a row.
        provider: of commonsense for the emotions heard; none where it is left out. V_cos does not depend on it.

    Returns:
        What JSON holds: word, trait (valence, arousal, dominance; None where the word is unrated), emotions, label
        valences, rows (context, number of the context, place, V_cos, length of the difference of H_s to the first row).

    Raises:
        DataError: the run does not know the word, or a context lacks it.
        RunError: the run was trained without state embedding.

    Paper: Figure 1, Eq. (7).
    """
    word, model = word.strip().lower(), run.ctsm()
    (index,) = run.vocabulary.encode([word])
    if index == UNK:
        raise DataError(
            f"The run's {len(run.vocabulary):,} words do not include {word!r}. Choose another --word."
        )
    turns = [clean_turn(text) for text in contexts]
    inferences = [{} for _ in turns] if provider is None else provider.infer(turns, progress=False)
    batch = context_batch(
        [[turn] for turn in turns], inferences, run.vocabulary, run.config.max_context
    ).to(device)
    inclination, state = (
        part.float().cpu() for part in read_states(model, batch.context, batch.speaker)
    )
    heard = model.encode(batch).emotion_logits.float().softmax(dim=-1).cpu()
    rows = []
    for number, turn in enumerate(turns):
        places = (batch.context[number] == index).nonzero().flatten().tolist()
        if not places:
            raise DataError(f"The context {turn!r} does not have the word {word!r}.")
        for place in places:
            rows.append(
                {
                    "context": turn, "number": number, "place": place,
                    "V_cos": [round(value, 5) for value in inclination[number, place].tolist()],
                    "H_s": [round(value, 5) for value in state[number, place].tolist()],
                    "heard": [round(value, 5) for value in heard[number].tolist()],
                }
            )  # fmt: skip
    vad = model.vad.cpu()
    labels = vad[model.labels.cpu(), 0].tolist()
    rated = bool(model.intensity[index] != 0)  # exactly 0 for unrated words alone
    trait = dict(
        zip(
            ("valence", "arousal", "dominance"),
            (round(v, 3) for v in vad[index].tolist()),
            strict=True,
        )
    )
    return {
        "description": run.about(device),
        "note": run.note,
        "word": word,
        "trait": trait if rated else None,
        "emotions": list(EMOTIONS),
        "label_valence": [round(value, 3) for value in labels],
        "knowledge": provider.name if provider else "none",
        "rows": rows,
    }
