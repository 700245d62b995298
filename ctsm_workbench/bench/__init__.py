"""Speed, measured beside what this machine could do at best.

`measure` runs the parts, each in a process of its own; `task` says what is measured and what a row holds. `starting`,
`texts` and `networks` have the parts, `limits` the bounds, `scaling` how time grows, `memory` how much was held.
"""

PARTS = (
    "start",
    "preparation",
    "retrieval",
    "polarity",
    "contextual",
    "training",
    "scoring",
    "decoding",
)
QUICK = ("start", "preparation", "training", "decoding")
