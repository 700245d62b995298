# %% [markdown]
# # The explorers
#
# Here you can explore words, contexts and answers interactively. Run the cell below. The first
# time, it trains a small model, which takes about a minute.
#
# - **Word**: what the lexicon and the vectors contain about a word, its trait polarity and its
#   state polarity, words that are used in similar ways, and dialogues in which it occurs.
# - **Context**: the result of a run for a dialogue, token by token, and what changes when you
#   edit a word or leave out a turn.
# - **Answer**: talk to one run, or compare two, with any decoding method. You can see which
#   words were copied, and save the conversation as JSON.
#
# If `CTSM_DATA` is set, the explorers use the real data. To choose a run, set `CTSM_RUN` to its
# folder, or write the folder in the brackets: `widgets.explorer("../runs/improved")`. With two
# folders you can choose between two runs. `make app` opens the same explorers as a page without
# code.

# %%
from ctsm_workbench import explorers as widgets

widgets.explorer()
