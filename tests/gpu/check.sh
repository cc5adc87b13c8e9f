#!/usr/bin/env bash
# Checks kernels/ on a machine with a GPU that has the CUDA toolkit, CMake, Ninja and a C++20 compiler, and may have
# nothing else: builds kernels/ and their tests without any package, runs the tests (each op's "cuda" rows are those on
# the GPU), times attention, and where python3 has torch, times the peer beside it. Prints as it goes; ends within eight
# minutes.
#   UVIC_GTEST=folder   GoogleTest's source, if CMake cannot find the library (Debian: libgtest-dev, /usr/src/googletest)
#   UVIC_PEER=file      the peer (default: tests/bench/uvic_torch.py)
#   UVIC_BUILD=folder   where to build (default: build/gpu)
set -uo pipefail
cd "$(dirname "$0")/../.."
build=${UVIC_BUILD:-build/gpu} peer=${UVIC_PEER:-tests/bench/uvic_torch.py} failed=0
export PATH=$PATH:/usr/local/cuda/bin

# step NAME SECONDS COMMAND...: its output as it comes; on stderr, whether it worked, and how long it took.
step() {
  local name=$1 limit=$2 start=$SECONDS
  shift 2
  echo "== $name" >&2
  if timeout "$limit" "$@"; then
    echo "== $name: ok, $((SECONDS - start)) s" >&2
  else
    echo "== $name: FAILED (status $?), $((SECONDS - start)) s" >&2
    failed=1
    return 1
  fi
}

step configure 60 cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DUVIC_CUDA=ON -DUVIC_ONEDNN=OFF \
  -DUVIC_KERNELS_ONLY=ON ${UVIC_GTEST:+-DUVIC_GTEST="$UVIC_GTEST"} || exit 1
step build 240 cmake --build "$build" || exit 1
step tests 100 "$build/bin/kernels_tests" --gtest_brief=1 --gtest_filter='*Cuda*:*cuda*'
step attention 30 "$build/bin/attention_times" >"$build/ours.jsonl"
cat "$build/ours.jsonl"

if python3 -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null && [ -f "$peer" ]; then
  step peer 45 python3 "$peer" attention --device cuda --seconds 0.3 >"$build/theirs.jsonl"
  python3 - "$build/ours.jsonl" "$build/theirs.jsonl" <<'PYTHON'
import json, sys

ours, theirs = ([json.loads(line) for line in open(path)] for path in sys.argv[1:])
print("| attention | ours, TFLOP/s | theirs | ratio | with backward | theirs | ratio |\n|---|---|---|---|---|---|---|")
for a in ours:
    for b in theirs:
        kind = {"sdpa": "softmax"}.get(b["kind"], b["kind"])
        if kind != a["kind"] or b["shape"] != a["shape"]:
            continue
        row = [f"{a['kind']} {a['shape']} against {b['kind']}"]
        for key in ("forward", "both"):
            row += [f"{a[key + '_tflops']:.0f}", f"{b[key + '_tflops']:.0f}", f"{b[key + '_s'] / a[key + '_s']:.2f}"]
        print("| " + " | ".join(row) + " |")
PYTHON
else
  echo "== peer: skipped: python3 has no torch that sees a GPU, or there is no $peer"
fi
exit $failed
