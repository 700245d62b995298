#!/bin/sh
# What `make demo` runs: the main job on the embedded sample, start to end. Each run replaces the one before.
set -eu
ctsm() { "$PYTHON" -m ctsm_lib "$@"; }
step() { printf '\n== %s\n' "$1"; }

rm -rf "$DEMO"
step "Is this machine ready?"
ctsm doctor
step "Which data?"
ctsm data status
step "Train CTSM (preset sample)"
ctsm train --preset sample --out "$DEMO"
step "Score it"
ctsm evaluate "$DEMO" --split test --json "$DEMO/scores.json" --responses "$DEMO/responses.jsonl"
step "Ask it"
for said in "Someone scratched my car and left no note." "I forgot my best friend's birthday and I feel so guilty."; do
    echo "you> $said"
    ctsm respond "$DEMO" --method beam --set beams=4 --set block_ngrams=2 "$said"
done
step "Section 5.4: trait against state polarity"
ctsm polarity --json "$DEMO/polarity.json"
step "Figure 3"
ctsm figures fig3 --out "$DEMO/figures"

cat <<END

Made in $DEMO:
  best.safetensors, log.jsonl   the trained model and its training log
  scores.json, responses.jsonl  all scores, and every answer to the test dialogues
  polarity.json                 Section 5.4 on the sample
  figures/fig3.html             Figure 3: open it in a browser and turn it
The sample is small and invented: it shows that everything works, not how good CTSM is.
Go on:
  $PYTHON -m ctsm_lib chat $DEMO        talk to the model
  $PYTHON -m ctsm_lib data fetch        get the real data
END
