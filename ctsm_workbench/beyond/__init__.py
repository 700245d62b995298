"""Extensions beyond the paper (presets `improved` and `best`). The paper's model has none of them."""
