#!/usr/bin/env bash
# Builds uvic and samples a grid of images, ten classes side by side, from the model in assets/.
set -euo pipefail
cd "$(dirname "$0")"
source .ci/setup.sh

cmake --preset cpu -DUVIC_TESTS=OFF -B build/demo >/dev/null
cmake --build build/demo --target uvic-sample uvic-info
build/demo/bin/uvic-info assets/mini.safetensors
mkdir -p samples
build/demo/bin/uvic-sample -m assets/mini.safetensors -n 80 -b 40 --class all --cfg-scale 4 --steps 40 --grid samples/grid.png
echo "look at samples/grid.png"
