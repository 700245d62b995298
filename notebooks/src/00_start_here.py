# %% [markdown]
# # 00 · Start here
#
# **What you will do.** See whether this computer is ready, find out which data you have, and talk to a small trained model.
#
# **What you will learn.** What is in this laboratory, how the lessons work, and what CTSM claims about the emotions in a word.
#
# **What you need.** Nothing but this notebook, run from top to bottom. About 15 minutes.
#
# *Paper: Sec. 1. Library: `config`, `downloads`, `doctor`, `runs`.*

# %%
import time

from ctsm_lib.decoding import Decoding
from ctsm_workbench.course import lessons

lessons.begin()

# %% [markdown]
# This picture opens every lesson, with the lesson's own part lit. It is Figure 2 of the paper, redrawn with the names of the modules in
# which you find each part. You need not understand it yet.
#
# ## 1 · The idea in four sentences
#
# A word has an emotion of its own: "excited" is pleasant and stirred up, wherever it stands. The paper calls that its **trait**. But
# in *"I am so excited, we leave for the sea tomorrow"* and in *"he got too excited and drove into a wall"* the same word leans to different
# sides: its **state**. CTSM is a model that reads both from a conversation, guesses what the speaker feels, and answers.
#
# Its authors published no code. This laboratory is the first implementation that anyone can run, and the lessons build it equation by
# equation.
#
# ## 2 · Does this computer work?

# %%
from ctsm_lib.sources import PROJECT
from ctsm_workbench.doctor import examine

for check in examine():
    print(f"{check.sign}  {check.name:<13} {check.finding.replace(str(PROJECT), '.')}")

# %% [markdown]
# `!!` marks what must be mended before you go on, ` -` what only an extra needs. In a terminal the same list is `ctsm doctor`.
#
# ## 3 · Which data have you?

# %%
prepared = lessons.data()
print(lessons.describe())
for name, value in prepared.description.items():
    print(f"{name:<15} {value}")

# %% [markdown]
# Without a download you work on the **sample**: 480 dialogues, ratings and commonsense that we invented for this laboratory. It shows that
# everything works and what everything means; it is far too small to show how good the model is.
#
# | where the data comes from | how |
# |---|---|
# | the sample | nothing to do |
# | `data/raw` | `ctsm data fetch` downloads EmpatheticDialogues, NRC VAD and GloVe (1.7 GB on disk) and asks you to read their terms |
# | any folder | set `CTSM_DATA` before you start JupyterLab |
#
# A folder is used whole: the sample is never mixed into real data, and every result says what it was made with.

# %%
from ctsm_lib.corpus import EMOTIONS

split = prepared.corpus.splits["train"]
dialogue = 40
first, last = split.dialogue_offsets[dialogue : dialogue + 2]
print(f"({EMOTIONS[split.labels[dialogue]]})")
for number, turn in enumerate(range(first, last)):
    print("speaker: " if number % 2 == 0 else "listener:", split.turn_text(turn))

# %% [markdown]
# One of 32 emotions, a **speaker** who feels it and a **listener** who answers. The model plays the listener, and it must find out the
# emotion from the words: it is never told.
#
# ## 4 · A model answers
#
# Where there is no trained model yet, the next cell trains one, which takes a minute or two. Later lessons use the same one; to look into a
# better model that you trained for a night, set `CTSM_RUN` to its folder.

# %%
run = lessons.trained_run()
provider, note = run.provider(lessons.sources())
print(
    f"{run.config.preset} preset, {run.iteration} iterations; {note or 'commonsense: ' + provider.name}"
)
print(
    "on the dev dialogues:",
    {
        name: round(value, 1)
        for name, value in run.facts.items()
        if name in ("acc", "ppl_token")
    },
)

# %% [markdown]
# `acc` is the share of dialogues, in per cent, whose emotion it names; by guessing it would be 3. `ppl_token` says between how many words
# the model hesitates on average: lower is better. Lesson 08 takes both apart.

# %%
turns = ["My sister moved to another country last week and the house is so quiet now."]
begun = time.monotonic()
how = Decoding(block_ngrams=2)  # no two words twice: a small model likes to repeat itself
response = run.respond([turns], provider, how)[0]
print("you:  ", turns[0])
print("model:", response.text, f"({1000 * (time.monotonic() - begun):.0f} ms)")
names = list(response.emotions)[:8]
lessons.show(
    lessons.bars(
        {"probability": [response.emotions[n] for n in names]}, names, "What the model heard"
    ),
    "The eight likeliest of the 32 emotions. A model trained on the sample for a minute is seldom sure.",
)

# %% [markdown]
# Say something yourself. In a terminal, `ctsm chat` goes on for more than one turn.


# %%
def talk(said: str = "I failed my driving test for the third time"):
    """What the model answers, and what it hears in a sentence."""
    response = run.respond([[said]], provider, how)[0]
    top = list(response.emotions)[:5]
    figure = lessons.bars(
        {"probability": [response.emotions[n] for n in top]}, top, response.text
    )
    return figure.update_layout(yaxis_range=[0, 1])


lessons.play(talk, said=lessons.text("I failed my driving test for the third time"))

# %% [markdown]
# ## 5 · How the lessons work
#
# | lesson | question it answers | module | paper | minutes |
# |---|---|---|---|---|
# | 01 | What do people say when they feel something? | `corpus`, `batches` | 3.2, 4.2 | 45 |
# | 02 | What does a word carry by itself? | `lexicon`, `model/emotion` | 3.4.1 | 45 |
# | 03 | What does the model read? | `knowledge`, `model/layers`, `model/context` | 3.3 | 75 |
# | 04 | How does context bend a word? | `model/emotion` | 3.4.2 | 70 |
# | 05 | What does a teacher know that a label does not say? | `model/guidance` | 3.5 | 60 |
# | 06 | How does an answer come to match a feeling? | `model/generation`, `model/pointer`, `model/contrast` | 3.6 | 75 |
# | 07 | How is everything trained together? | `model/ctsm`, `training`, `checkpoint`, `parallel` | 3.6.2, 4.2 | 60 |
# | 08 | Is it any good? | `decoding`, `scores`, `runs` | 4.3, 5.1, 5.5 | 60 |
# | 09 | What does each part buy? | `baselines`, `comparison` | 4.1, 5.1, 5.3 | 60 |
# | 10 | Do words say one thing and do another? | `polarity`, `contextual`, `figures` | 5.4 | 60 |
# | 11 | Who decides what is empathetic? | `judging` | 4.3.2, 5.2 | 45 |
#
# - Every part of the model is **first written in the open**, in a few lines, and then shown to equal the library's version.
# - **Exercises** have a goal, a difficulty (★ to ★★★), a hint and a solution folded away. You replace `raise NotImplementedError`; the cell
#   below it checks your answer and says what to think about. A lesson also runs to its end with all exercises left open.
# - Where we **depart** from the printed paper, the lesson says what is printed, why it cannot be, and what we do.
# - Solved notebooks with all outputs are in `solutions/`.
#
# Go on with **01 · dialogues**.
