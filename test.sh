#!/usr/bin/env bash
# Builds uvic and runs every test. Arguments go to ctest: ./test.sh -R attention
set -euo pipefail
cd "$(dirname "$0")"
source .ci/setup.sh test

cmake --preset "${UVIC_PRESET:-cpu}" >/dev/null
cmake --build --preset "${UVIC_PRESET:-cpu}"
ctest --preset "${UVIC_PRESET:-cpu}" -j "$(nproc)" "$@"
