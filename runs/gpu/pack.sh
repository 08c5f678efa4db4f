#!/usr/bin/env bash
# One folder that runs on a bare x86-64 machine with Python 3.12, torch 2.11, transformers, accelerate, peft,
# torchmetrics, pyarrow, safetensors and numpy, and without a network: this package, the wheels that are missing there,
# the tiny model's VAE and, if given, the data of runs/gpu/tiny_data.py.
#
#   runs/gpu/pack.sh [OUT]                 OUT is .gpukit unless said
#   DATA=outputs/tiny_data runs/gpu/pack.sh
#   WHEELS=none runs/gpu/pack.sh           without downloads, for tests
#
# There: see docs/gpu.md.
set -euo pipefail
cd "$(dirname "$0")/../.."

OUT=${1:-.gpukit}
PYTHON=${PYTHON:-python3}
DATA=${DATA:-}
WHEELS=${WHEELS:-all}
MOST_MB=${MOST_MB:-40}
PINS=(diffusers==0.42.1 hydra-core==1.3.8 omegaconf==2.3.1 msgspec==0.22.0)
PINS+=(pillow==13.0.0 jaxtyping==0.3.11 wadler_lindig==0.1.8)
PINS+=(requests==2.34.2 idna==3.20 urllib3==2.8.0 certifi==2026.10.19.post1 charset_normalizer==3.5.3)  # of diffusers
SOURCE=antlr4-python3-runtime==4.9.3   # on the index as source only

part="$OUT.part"
rm -rf "$part"
mkdir -p "$part/package/worldmodel" "$part/wheels" "$part/gpu"

# The package with its three linked folders as real ones; weights stay behind, but for the tiny model's VAE.
tracked() { git ls-files -z -- "$@"; }
tracked worldmodel | grep -zvE '^worldmodel/(datasets|benchmarks|export)$|/transformer/.*\.safetensors$' |
  tar --null -cf - -T - | tar -xf - -C "$part/package"
tracked datasets benchmarks export | grep -zvE '^benchmarks/results/' |
  tar --null -cf - -T - | tar -xf - -C "$part/package/worldmodel"
tracked runs/gpu | tar --null -cf - -T - | tar -xf - -C "$part/gpu" --strip-components=2

if [ "$WHEELS" = all ]; then
  "$PYTHON" -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 --platform any \
    -d "$part/wheels" "${PINS[@]}"
  "$PYTHON" -m pip wheel -q --no-deps -w "$part/wheels" "$SOURCE"
fi
if [ -n "$DATA" ]; then cp -r "$DATA" "$part/data"; fi

commit=$(git rev-parse --short HEAD)
if ! git diff --quiet HEAD; then commit="$commit, changed"; fi
printf '{"commit": "%s", "wheels": "%s", "date": "%s"}\n' "$commit" "${PINS[*]} $SOURCE" "$(date -u +%F)" >"$part/kit.json"
bytes=$(du -sb "$part" | cut -f1)
if [ "$bytes" -gt $((MOST_MB * 1000000)) ]; then
  echo "pack.sh: $part has $bytes bytes, more than $MOST_MB MB; carry less data" >&2
  exit 1
fi
rm -rf "$OUT"
mv "$part" "$OUT"
du -sb "$OUT"/* | awk '{printf "%8.2f MB  %s\n", $1 / 1e6, $2}'
printf '%8.2f MB  in all\n' "$(awk "BEGIN {print $bytes / 1e6}")"
