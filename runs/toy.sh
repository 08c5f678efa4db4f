#!/usr/bin/env bash
# The whole method in small, on a laptop, from raw data to an evaluated model, with the time of every step.
#
#   runs/toy.sh
#   SCENES=1 HELD_OUT=1 STEPS=20 EVERY=2 runs/toy.sh     smaller
#
# It starts from the shipped VAE and noise-to-video transformer (tiny_base) and goes on with the paper's Algorithm 1. To
# make these two from nothing as well: worldmodel train experiment=tiny_autoencoder, then experiment=tiny_base, then
# PRETRAINED=outputs/tiny/base/pipeline runs/toy.sh.
# Run it again after an interruption: what is there stays, training goes on from its last checkpoint.
set -euo pipefail
cd "$(dirname "$0")/.."

OUT=${OUT:-outputs/toy}
SCENES=${SCENES:-4}        # to train on
HELD_OUT=${HELD_OUT:-2}    # to evaluate on
SECONDS_A_SCENE=${SECONDS_A_SCENE:-6}
STEPS=${STEPS:-400}
EVERY=${EVERY:-1}          # evaluate every so manieth chunk pair
PRETRAINED=${PRETRAINED:-tiny_base}

mkdir -p "$OUT"
: >"$OUT/timings.txt"
step() { # name, command
  local name=$1 began=$SECONDS
  shift
  printf '\n== %s: %s\n' "$name" "$*"
  "$@"
  printf '%-34s %6d s\n' "$name" $((SECONDS - began)) >>"$OUT/timings.txt"
}
settings=(
  experiment=toy "pretrained=$PRETRAINED" "data.root=$OUT/drive" "out=$OUT/run" "data.store=$OUT/store"
  "steps=$STEPS" "$@"
)

step "draw the drive" worldmodel data toyworld "root=$OUT/drive" "train_scenes=$SCENES" "val_scenes=$HELD_OUT" \
  "seconds=$SECONDS_A_SCENE"
step "count its chunk pairs" worldmodel data index "root=$OUT/drive" version=v1.0-toy split=train
if [ ! -e "$OUT/run/pipeline/model_index.json" ]; then
  step "latents and target inversion" worldmodel cache build "${settings[@]}"
  if [ -e "$OUT/run/config.json" ]; then settings+=(resume=true); fi
  step "train $STEPS steps" worldmodel train "${settings[@]}"
fi
if [ ! -e "$OUT/prediction/prediction.json" ]; then
  step "predict a held-out scene" worldmodel predict "source=$OUT/drive" scene=toy-9000 chunks=2 \
    "checkpoint=$OUT/run/pipeline" "out=$OUT/prediction"
fi
step "evaluate on held-out scenes" python -m worldmodel.benchmarks.studies.tiny_model --root "$OUT/drive" \
  --checkpoint "$OUT/run/pipeline" --every "$EVERY"

printf '\n%s\n' "$(cat "$OUT/timings.txt")"
echo "look at it: worldmodel view path=$OUT/prediction/rollout.rrd"
