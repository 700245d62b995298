"""The compared systems of Table 1, and TF-IDF, on one backbone. Each module is one system.

They share data, batches, training, decoding and scores with CTSM. `ctsm_lib.registry` finds them.
"""
