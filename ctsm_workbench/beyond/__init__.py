"""Extensions beyond the paper (presets `improved` and `best`). The paper's model does not know them."""
