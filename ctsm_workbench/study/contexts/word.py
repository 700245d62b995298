"""One word in any contexts, as the paper's Figure 1 shows it."""

from collections.abc import Sequence

import torch

from ctsm_lib.batches import context_batch
from ctsm_lib.corpus import EMOTIONS, UNK
from ctsm_lib.errors import DataError
from ctsm_lib.knowledge import Provider
from ctsm_lib.runs import Run, clean_turn
from ctsm_workbench.study.contexts.reading import read_states
from ctsm_workbench.study.intervals import rounded

# The contexts of the paper's Figure 1.
PAPER_CONTEXTS = (
    "Christmas is coming and I'm so excited to get my dream gift.",
    "I was too excited to shake my legs before bungee jumping.",
)


@torch.no_grad()
def word_in_contexts(
    run: Run, word: str = "excited", contexts: Sequence[str] = PAPER_CONTEXTS,
    provider: Provider | None = None, device: str = "cpu",
) -> dict:  # fmt: skip
    """A word's trait; in each context its state inclination and the emotions of the whole text.

    Contexts are one turn of a speaker each; every occurrence of the word in one is a row of the
    JSON data, with V_cos, H_s and the predicted emotions as `heard`. The provider's commonsense
    changes these emotions only. `trait` is None where the word is unrated. A `DataError` is raised
    where the run does not know the word or a context lacks it, a `RunError` where the run has no
    state embedding. Paper: Figure 1, Eq. (7).
    """
    word = word.strip().lower()
    model = run.ctsm()
    (index,) = run.vocabulary.encode([word])
    if index == UNK:
        words = f"The run's {len(run.vocabulary):,} words"
        raise DataError(f"{words} do not include {word!r}. Choose another --word.")
    turns = [clean_turn(text) for text in contexts]
    inferences = [{} for _ in turns] if provider is None else provider.infer(turns, progress=False)
    conversations = [[turn] for turn in turns]
    batch = context_batch(conversations, inferences, run.vocabulary, run.config.max_context)
    batch = batch.to(device)
    inclination, state = read_states(model, batch.context, batch.speaker)
    predicted = model.encode(batch).emotion_logits.float().softmax(dim=-1)
    rows = []
    for number, turn in enumerate(turns):
        places = (batch.context[number] == index).nonzero().flatten().tolist()
        if not places:
            raise DataError(f"The context {turn!r} does not have the word {word!r}.")
        for place in places:
            row: dict = {"context": turn, "number": number, "place": place}
            row["V_cos"] = rounded(inclination[number, place].tolist(), 5)
            row["H_s"] = rounded(state[number, place].tolist(), 5)
            row["heard"] = rounded(predicted[number].tolist(), 5)
            rows.append(row)
    vad = dict(zip(("valence", "arousal", "dominance"), model.vad[index].tolist(), strict=True))
    return {
        "description": run.about(device),
        "note": run.note,
        "word": word,
        "trait": rounded(vad, 3) if model.intensity[index] else None,  # 0 for unrated words alone
        "emotions": list(EMOTIONS),
        "label_valence": rounded(model.vad[model.labels, 0].tolist(), 3),
        "knowledge": provider.name if provider else "none",
        "rows": rows,
    }
