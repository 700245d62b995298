# %% [markdown]
# # The explorers
#
# Words, contexts and answers by hand. Run the cell below; the first time it trains a small model, which takes about a minute.
#
# - **Word**: what a word carries, both of its polarities, words that are used alike, and where people say it.
# - **Context**: what a run makes of a dialogue, token by token, and what changes when you edit a word or leave out a turn.
# - **Answer**: talk to a run, or to two side by side, in any manner; see which words were copied; keep the talk as JSON.
#
# With `CTSM_DATA` set these are the real data. With `CTSM_RUN` set to a run folder, or its name in the brackets, it is that run:
# `widgets.explorer("../runs/improved")`; two names offer two runs. `make app` opens the same as a page without code.

# %%
from ctsm_workbench import explorers as widgets

widgets.explorer()
