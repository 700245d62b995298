"""Analysis: trait and state polarity, contexts, Tables 1 and 3, files of answers."""
