#!/usr/bin/env bash
# The paper's Wan 2.1 1.3B model from raw data to FID, FVD and predictions; Table 3: 56 GPUs, here 7 machines with 8.
#
#   On every machine, with the same DATA and OUT on a shared disk, RANK=0 first, MAIN its address:
#     RANK=0 MAIN=10.0.0.1 runs/paper_wan.sh
#   On other machines: NODES=4 GPUS=8 PER_GPU=32 runs/paper_wan.sh     (PER_GPU x NODES x GPUS must divide 14,336)
#   Under Slurm: runs/slurm.sbatch for the training, see there.
#
# After an interruption run it again: every step passes over what is there, training goes on from its last checkpoint.
# Words behind the script's name go to the training: runs/paper_wan.sh save_every=20.
#
# Raw data that must lie there (OpenVid has its own licence, nuScenes a form to sign):
#   hf download nkp37/OpenVid-1M --repo-type dataset --local-dir "$DATA/openvid"   zips, data/train/OpenVid-1M.csv
#   https://www.nuscenes.org, trainval, unpacked into $DATA/nuscenes              for the evaluation only
#
# Not run where it was written, for want of GPUs. runs/paper_ltxv.sh, which has the same steps, was run through with a
# tiny model on a CPU.
set -euo pipefail
cd "$(dirname "$0")/.."

DATA=${DATA:-data}
OUT=${OUT:-outputs/paper_wan}
NODES=${NODES:-7}
GPUS=${GPUS:-8}
PER_GPU=${PER_GPU:-32}
RANK=${RANK:-0}
MAIN=${MAIN:-127.0.0.1}
PORT=${PORT:-29500}
SOURCE=${SOURCE:-Wan-AI/Wan2.1-T2V-1.3B-Diffusers}
PRESET=flowframes_wan
FRAME_RATE=${FRAME_RATE:-24}

. runs/paper_steps.sh
