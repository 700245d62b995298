"""Fuzz one reader, guided by the code that each input reaches.

Usage: python guided_fuzzing.py TARGET RUNS FOLDER. Needs atheris. The run ends with a traceback as
soon as a reader does something that it may not do; the input is then in FOLDER.
"""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["ctsm_lib", "ctsm_workbench"]):
    from fuzzing import TARGETS, TOKENS, attempt, good_files

name, runs, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]).resolve()
target = TARGETS[name]
seeds, work = folder / "seeds", folder / "work"
for made in (seeds, work):
    made.mkdir(parents=True, exist_ok=True)
for number, seed in enumerate([*good_files(target, work), *TOKENS]):
    (seeds / str(number)).write_bytes(seed)
options = [
    f"-runs={runs}",
    "-max_len=16384",
    "-rss_limit_mb=4096",
    "-timeout=120",
    f"-artifact_prefix={folder}/",
]
atheris.Setup(
    [sys.argv[0], *options, str(seeds)], lambda data: attempt(target, data, work) and None
)
atheris.Fuzz()
