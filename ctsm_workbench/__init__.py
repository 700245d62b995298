"""Everything that stands on `ctsm_lib`: extensions, baselines, analysis, pictures, explorers, lessons' tools, commands.

The library never imports this package. It finds the models and providers that are kept here by their entry points
(`ctsm_lib.registry`).
"""
