#!/bin/sh
# `make demo` runs this script: everything on the embedded sample, from training to Figure 3.
# Each run replaces the results of the previous one.
set -eu
ctsm() { "$PYTHON" -m ctsm_lib "$@"; }
step() { printf '\n== %s\n' "$1"; }

rm -rf "$DEMO"
step "Is this machine ready?"
ctsm doctor
step "Which data is used?"
ctsm data status
step "Train CTSM (preset sample)"
ctsm train --preset sample --out "$DEMO"
step "Score the model"
ctsm evaluate "$DEMO" --split test --json "$DEMO/scores.json" --responses "$DEMO/responses.jsonl"
step "Talk to the model"
for turn in "Someone scratched my car and left no note." "I forgot my best friend's birthday and I feel so guilty."; do
    echo "you> $turn"
    ctsm respond "$DEMO" --method beam --set beams=4 --set block_ngrams=2 "$turn"
done
step "Section 5.4: trait and state polarity"
ctsm polarity --json "$DEMO/polarity.json"
step "Figure 3"
ctsm figures fig3 --out "$DEMO/figures"

cat <<END

New files in $DEMO:
  best.safetensors, log.jsonl   the trained model and its training log
  scores.json, responses.jsonl  all scores, and every answer to the test dialogues
  polarity.json                 Section 5.4 on the sample
  figures/fig3.html             Figure 3: open it in a browser and rotate it
The sample is small and invented. It shows that everything works, but not how good CTSM is.
Next steps:
  $PYTHON -m ctsm_lib chat $DEMO        talk to the model
  $PYTHON -m ctsm_lib data fetch        get the real data
END
