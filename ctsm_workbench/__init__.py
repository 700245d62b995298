"""Everything that stands on `ctsm_lib`, which never imports this package.

The library finds the extensions, baselines and providers that are kept here by their entry points
(`ctsm_lib.registry`).
"""
