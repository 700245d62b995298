"""Speed, measured beside the best that this machine could do.

`measure` runs the parts, each in a process of its own. `starting`, `texts` and `networks` have the
parts, `limits` the bounds, `scaling` the growth of time with size.
"""

PARTS = {  # part -> module of the function with this name
    "start": "starting",
    "preparation": "starting",
    "retrieval": "texts",
    "polarity": "texts",
    "contextual": "texts",
    "training": "networks",
    "scoring": "networks",
    "decoding": "networks",
}
QUICK = ("start", "preparation", "training", "decoding")
