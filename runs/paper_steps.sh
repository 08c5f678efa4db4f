# The steps of runs/paper_ltxv.sh and runs/paper_wan.sh, which set the names in capitals; not to be run alone.
# shellcheck shell=bash disable=SC2153

GLOBAL=${GLOBAL:-14336}                    # pairs a step (Table 3)
TRAINING_VIDEOS=${TRAINING_VIDEOS:-400000} # section 4.1
HELD_OUT_VIDEOS=${HELD_OUT_VIDEOS:-2000}
OPENVID_CSV=${OPENVID_CSV:-$DATA/openvid/data/train/OpenVid-1M.csv}
NUSCENES_VERSION=${NUSCENES_VERSION:-v1.0-trainval}
SCENES=${SCENES:-scene-0003 scene-0012 scene-0013 scene-0014} # of nuScenes' val split
SHOWN_VIDEOS=${SHOWN_VIDEOS:-4}
TOPOLOGY=worldmodel/cli/presets/topology/multi_node_ddp.yaml
EVALUATION=worldmodel/cli/presets/topology/node_ddp.yaml

processes=$((NODES * GPUS))
if ((GLOBAL % (PER_GPU * processes))); then
  echo "error: PER_GPU=$PER_GPU x NODES=$NODES x GPUS=$GPUS does not divide $GLOBAL: choose another PER_GPU" >&2
  exit 2
fi
say() { printf '\n== %s\n' "$*"; }

run=$OUT/run
settings=(
  "experiment=$PRESET" "pretrained=$OUT/base" "data.videos=$OUT/lists/train.csv"
  "data.video_archives=[$DATA/openvid]" "data.store=$OUT/store" "out=$run" "batch_size=$PER_GPU"
  "accumulate=$((GLOBAL / (PER_GPU * processes)))" "validation.every=50" "validation.videos=$OUT/lists/val.csv" "$@"
)

if ((RANK == 0)); then
  for needed in "$OPENVID_CSV" "$DATA/openvid"; do
    [ -e "$needed" ] || { echo "error: $needed is not there: see the head of this script" >&2; exit 2; }
  done
  if [ ! -e "$OUT/lists/train.csv" ]; then
    say "lists: $TRAINING_VIDEOS videos to train on, $HELD_OUT_VIDEOS held out"
    python runs/draw_lists.py "$OPENVID_CSV" "$OUT/lists" "$TRAINING_VIDEOS" "$HELD_OUT_VIDEOS"
  fi
  if [ ! -e "$OUT/base/model_index.json" ]; then
    say "pretrained model with its empty prompt"
    python runs/keep_prompt.py "$SOURCE" "$OUT/base"
  fi
  if [ ! -e "$OUT/prepared" ]; then
    say "videos out of the zips, scene cuts, chunk pairs"
    python runs/find_pairs.py "${settings[@]}"
    touch "$OUT/prepared"
  fi
fi
until [ -e "$OUT/prepared" ]; do sleep 30; done # the other machines wait for the first

if [ ! -e "$run/pipeline/model_index.json" ]; then
  say "latents: one job a GPU; shards that are there stay"
  jobs=()
  for ((gpu = 0; gpu < GPUS; gpu++)); do
    CUDA_VISIBLE_DEVICES=$gpu worldmodel cache build "${settings[@]}" \
      "task=$((RANK * GPUS + gpu))" "tasks=$processes" &
    jobs+=($!)
  done
  for job in "${jobs[@]}"; do wait "$job"; done

  say "training on $processes GPUs"
  if [ -e "$run/config.json" ]; then settings+=(resume=true); fi
  accelerate launch --config_file "$TOPOLOGY" --num_machines "$NODES" --num_processes "$processes" \
    --machine_rank "$RANK" --main_process_ip "$MAIN" --main_process_port "$PORT" \
    -m worldmodel train "${settings[@]}"
fi
if ((RANK > 0)); then exit 0; fi

# FID and FVD of the paper's Table 2, at 5 and 10 evaluations, on all GPUs of this machine; the report puts the published
# figures beside them. On nuScenes the clips are flowframes-val's; on OpenVid they are the first 34 frames of the videos
# held out above, since the authors' own are unpublished. Other methods of the table are rows that need their weights.
say "weights of the extractors for FID and FVD"
for extractor in inception i3d-styleganv i3d-videogpt; do # one that cannot be had is left out of the report, by name
  python -m worldmodel.benchmarks.metrics.weights --fetch "$extractor"
done
evaluate() { # folder of the results, words of the benchmark
  local out=$1 more=()
  shift
  [ ! -e "$out/results.json" ] || return 0
  if [ -e "$out/settings.json" ]; then more=(resume=true); fi
  say "FID and FVD: $out"
  accelerate launch --config_file "$EVALUATION" --num_processes "$GPUS" -m worldmodel benchmark "$@" \
    methods.five.method=flowframes "methods.five.checkpoint=$run/pipeline" methods.five.steps=5 \
    methods.ten.method=flowframes "methods.ten.checkpoint=$run/pipeline" methods.ten.steps=10 \
    'metrics=[fid,fid-antialias,fvd-styleganv,fvd-videogpt,fvd-cdfvd]' "out=$out" "${more[@]}"
}
if [ -d "$DATA/nuscenes" ]; then
  evaluate "$OUT/benchmark/nuscenes" clips=flowframes-val "root=$DATA/nuscenes" "version=$NUSCENES_VERSION"
fi
if [ ! -e "$OUT/lists/openvid-val.header.json" ]; then
  python runs/held_out_clips.py "$OUT/lists/val.csv" "$DATA/openvid" "$OUT/store/videos" "$OUT/lists/openvid-val.json"
fi
evaluate "$OUT/benchmark/openvid" "clips=$OUT/lists/openvid-val.json" "root=$OUT/store/videos"

# Predictions to look at, with PSNR and SSIM beside repeating the last frame.
if [ -d "$DATA/nuscenes" ]; then
  say "nuScenes: the paper's three cameras, 17 frames to the next 17"
  worldmodel data index "root=$DATA/nuscenes" "version=$NUSCENES_VERSION" split=val \
    'cameras=[CAM_FRONT,CAM_BACK,CAM_FRONT_LEFT]'
  for scene in $SCENES; do
    for steps in 5 10; do
      out=$OUT/predictions/$scene-$steps
      [ -e "$out/prediction.json" ] || worldmodel predict "source=$DATA/nuscenes" "version=$NUSCENES_VERSION" \
        "scene=$scene" 'cameras=[CAM_FRONT,CAM_BACK,CAM_FRONT_LEFT]' "checkpoint=$run/pipeline" "steps=$steps" \
        chunks=1 "out=$out"
    done
  done
fi
say "OpenVid: held-out videos, resampled to $FRAME_RATE frames a second"
shown=0
while IFS= read -r video; do
  file=$(find "$OUT/store/videos" -type f -path "*/$video" -print -quit)
  [ -n "$file" ] && ((shown < SHOWN_VIDEOS)) || continue
  shown=$((shown + 1))
  out=$OUT/predictions/${video%.*}-5
  [ -e "$out/prediction.json" ] || worldmodel predict "source=$file" "frame_rate=$FRAME_RATE" \
    "checkpoint=$run/pipeline" steps=5 chunks=1 "out=$out" </dev/null
done < <(python -c 'import csv, sys; print(*(row["video"] for row in csv.DictReader(open(sys.argv[1]))), sep="\n")' \
  "$OUT/lists/val.csv")
say "done: $run/pipeline, $OUT/benchmark, $OUT/predictions"
