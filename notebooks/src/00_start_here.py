# %% [markdown]
# # 00 · Start here
#
# **What you will do.** Check whether this computer is ready, see which data you have, and talk
# to a small trained model.
#
# **What you will learn.** What this laboratory contains, how the lessons work, and what CTSM
# claims about the emotions of words.
#
# **What you need.** Only this notebook. Run it from top to bottom. About 15 minutes.
#
# *Paper: Sec. 1. Library: `config`, `runs`; `downloads`, `doctor` in
# `ctsm_workbench`.*

# %%
import time

from ctsm_lib.decoding import Decoding
from ctsm_workbench.course import lessons

lessons.begin()

# %% [markdown]
# This picture opens every lesson. It highlights the parts of the model that the lesson
# explains. It is Figure 2 of the paper, redrawn with the names of the modules that contain each
# part. You do not need to understand it yet.
#
# ## 1 · The idea in four sentences
#
# A word has an emotion of its own: "excited", for example, stands for a pleasant and intense
# feeling, and the paper calls this the **trait emotion** of the word. But its emotion also
# depends on the context: *"I am so excited, we leave for the sea tomorrow"* is about joy, and
# *"he got too excited and drove into a wall"* is not. The paper calls this emotion in context
# the **state emotion** of the word. CTSM is a model that reads both emotions from a
# conversation, predicts what the speaker feels, and writes an answer.
#
# The authors of the paper published no code. This laboratory is the first implementation that
# anyone can run, and the lessons build it equation by equation.
#
# ## 2 · Is this computer ready?

# %%
from ctsm_lib.sources import PROJECT
from ctsm_workbench.doctor import examine

for check in examine():
    print(f"{check.sign}  {check.name:<13} {check.finding.replace(str(PROJECT), '.')}")

# %% [markdown]
# `!!` marks a problem that you must fix before you go on. ` -` marks something that is missing
# but that only an optional feature needs. In a terminal, `ctsm doctor` prints the same list.
#
# ## 3 · Which data do you have?

# %%
prepared = lessons.data()
print(lessons.describe())
for name, value in prepared.description.items():
    print(f"{name:<15} {value}")

# %% [markdown]
# If you have downloaded nothing, you work on the **sample**: 480 dialogues, word ratings and
# commonsense phrases that we invented for this laboratory. The sample is large enough to show
# how every part works. It is far too small to show how good the model is.
#
# | where the data comes from | how to use it |
# |---|---|
# | the sample | you need to do nothing |
# | `data/raw` | run `ctsm data fetch` |
# | any other folder | set `CTSM_DATA` before you start JupyterLab |
#
# `ctsm data fetch` downloads dialogues, lexicon, word vectors and commonsense (about 1.4 GB on
# disk). It asks you to accept the terms of the lexicon first. The laboratory takes all data
# from one folder and never mixes the sample with real data. Every result states which data it
# was made with.

# %%
from ctsm_lib.corpus import EMOTIONS

split = prepared.corpus.splits["train"]
dialogue = 40
first, last = split.dialogue_offsets[dialogue : dialogue + 2]
print(f"({EMOTIONS[split.labels[dialogue]]})")
for number, turn in enumerate(range(first, last)):
    print("speaker: " if number % 2 == 0 else "listener:", split.turn_text(turn))

# %% [markdown]
# Each dialogue has one of 32 emotions as its label. The **speaker** feels this emotion, and the
# **listener** answers. The model takes the role of the listener. It does not get the label as
# an input, so it must predict the emotion from the words.
#
# ## 4 · A model answers
#
# If there is no trained model yet, the next cell trains one. This takes a minute or two. Later
# lessons use the same model. To use a better model that you have trained yourself, for example
# overnight, set `CTSM_RUN` to its folder.

# %%
run = lessons.trained_run()
provider, note = run.provider(lessons.sources())
print(
    f"{run.config.preset} preset, {run.iteration} iterations;",
    note or f"commonsense: {provider.name}",
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
# The dev dialogues (the validation split) are not used to update the weights. `acc` is the
# accuracy: the percentage of these dialogues for which the model predicts the right emotion.
# Random guessing would give about 3. `ppl_token` is the perplexity, roughly the number of words
# that the model still considers possible at each step. Lower is better. Lesson 08 explains both
# scores.

# %%
turns = ["My sister moved to another country last week and the house is so quiet now."]
begun = time.monotonic()
how = Decoding(block_ngrams=2)  # no pair of words twice: a small model tends to repeat itself
response = run.respond([turns], provider, how)[0]
print("you:  ", turns[0])
print("model:", response.text, f"({1000 * (time.monotonic() - begun):.0f} ms)")
names = list(response.emotions)[:8]
lessons.show(
    lessons.bars(
        {"probability": [response.emotions[n] for n in names]}, names, "Predicted emotions"
    ),
    "The eight most probable of the 32 emotions. A model that was trained on the sample for "
    "about a minute is seldom certain.",
)

# %% [markdown]
# Now write a sentence yourself. To hold a conversation of several turns, run `ctsm chat` in a
# terminal.


# %%
def talk(sentence: str = "I failed my driving test for the third time"):
    """Bars of the emotions predicted for a sentence, with the model's answer as their title."""
    response = run.respond([[sentence]], provider, how)[0]
    top = list(response.emotions)[:5]
    figure = lessons.bars(
        {"probability": [response.emotions[n] for n in top]}, top, response.text
    )
    return figure.update_layout(yaxis_range=[0, 1])


lessons.play(talk, sentence=lessons.text("I failed my driving test for the third time"))

# %% [markdown]
# ## 5 · How the lessons work
#
# | lesson | question it answers | modules | paper | minutes |
# |---|---|---|---|---|
# | 01 | What do people say when they feel something? | `corpus, batches` | 3.2, 4.2 | 45 |
# | 02 | What emotion does a word have by itself? | `lexicon, model/emotion` | 3.4.1 | 45 |
# | 03 | What does the model read? | `knowledge, model/layers, model/context` | 3.3 | 75 |
# | 04 | How does context change the emotion of a word? | `model/emotion` | 3.4.2 | 70 |
# | 05 | What does a student learn from a teacher? | `model/guidance` | 3.5 | 60 |
# | 06 | How do answers match an emotion? | `model/generation, pointer, contrast` | 3.6 | 75 |
# | 07 | How are all parts trained? | `model/ctsm, training, checkpoint` | 3.6.2, 4.2 | 60 |
# | 08 | How good are the answers? | `decoding, scores, runs` | 4.3, 5.1, 5.5 | 60 |
# | 09 | How much does each part contribute? | *`baselines, study`* | 4.1, 5.1, 5.3 | 60 |
# | 10 | How often do trait and state emotion differ? | `polarity`, *`study`* | 5.4 | 60 |
# | 11 | How do people judge empathy? | *`judging`* | 4.3.2, 5.2 | 45 |
#
# Modules are in the package `ctsm_lib`; those in italics are in `ctsm_workbench`.
#
# - Each lesson first **writes a part of the model in a few lines of plain PyTorch** and then
#   shows that the result equals the library's version.
# - Each **exercise** has a goal, a difficulty (★ to ★★★), a hint, and a folded solution.
#   Replace `raise NotImplementedError` with your code. The cell below it checks your answer and
#   tells you what to think about. A lesson runs to its end even if you solve no exercise.
# - Where we **depart** from the printed paper, the lesson says what the paper prints, why we
#   cannot use it, and what we do instead.
# - The folder `solutions/` contains the solved notebooks with all outputs.
#
# Go on with **01 · dialogues**.
