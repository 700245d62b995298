"""Extensions of the paper's model (presets `improved` and `best`); it does not import them."""
