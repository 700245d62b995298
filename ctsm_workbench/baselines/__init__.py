"""The systems that Table 1 compares CTSM with, and TF-IDF, which the table lacks, on one backbone.

Each module is one system, readable beside its paper. All share CTSM's data, batches, training loop,
decoding and scores. `ctsm_lib.registry` finds them by the entry points in pyproject.toml.
"""
