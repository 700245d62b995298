"""Long runs: several processes, signals, guards, TensorBoard, models that are fitted at once."""
