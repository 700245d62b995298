"""Long runs: several processes, signals, guards, TensorBoard, models that are fitted at once."""

from ctsm_workbench.running.train import train

__all__ = ["train"]
