#!/usr/bin/env bash
# Checks uvic on a machine with a GPU that has the CUDA toolkit, CMake, Ninja and a C++20 compiler, and may have no
# network: builds the core and uvic-bench, runs every test that has a row for the GPU, times attention, a training step
# and sampling, in turn with a peer where python3 has torch, and looks for bad memory accesses and races on small shapes.
# Prints as it goes, and one table at the end. Ends within eight minutes: what does not fit is left out, and said.
#
#   tests/gpu/check.sh                  all of it; or some of: build test bench sanitize
#   UVIC_PACKAGES=folder                from tests/gpu/packages.sh, where CLI11, GoogleTest, nlohmann_json or zlib are not
#                                       installed
#   UVIC_PEER=file                      the peer (default: tests/bench/uvic_torch.py)
#   UVIC_PEER_OPTIONS=--compile         more of its options
#   UVIC_BUILD=folder                   where to build (default: build/gpu); check.log there holds all that was printed
#   UVIC_CMAKE="-DCUDNN_ROOT=folder"    more options for CMake
#   UVIC_SECONDS=470                    for all of it
#   UVIC_GPU=emulated                   on the host, with little work: to try this script
set -uo pipefail
cd "$(dirname "$0")/../.."
export PATH=$PATH:/usr/local/cuda/bin UVIC_PLANS=${UVIC_PLANS:-${UVIC_BUILD:-build/gpu}/plans}
build=${UVIC_BUILD:-build/gpu} peer=${UVIC_PEER:-tests/bench/uvic_torch.py} gpu=${UVIC_GPU:-ON}
parts=" ${*:-build test bench sanitize} " bench=$build/bin/uvic-bench log=$build/check.log
results=()
mkdir -p "$build"
: >"$log"

say() { echo "$*" | tee -a "$log"; }
wanted() { [[ $parts == *" $1 "* ]]; }

# step NAME SECONDS COMMAND...: what it prints as it comes, then whether it worked and how long it took.
step() {
  local name=$1 limit=$2 start=$SECONDS left=$((${UVIC_SECONDS:-470} - SECONDS)) status
  shift 2
  [ "$gpu" != emulated ] || limit=$left  # which is slow
  if [ "$left" -lt 5 ]; then
    results+=("$name: left out, no time")
    return 1
  fi
  say "== $name"
  timeout $((limit < left ? limit : left)) "$@" 2>&1 | grep --line-buffered -v '^ *Start ' | tee -a "$log"
  status=${PIPESTATUS[0]}
  case $status in
    0) results+=("$name: ok, $((SECONDS - start)) s") ;;
    124) results+=("$name: FAILED, not done after $((SECONDS - start)) s") ;;
    *) results+=("$name: FAILED with status $status, $((SECONDS - start)) s") ;;
  esac
  say "== ${results[-1]}"
  return "$status"
}

if wanted build; then
  packages=(${UVIC_PACKAGES:+-DCMAKE_PREFIX_PATH="$(realpath "$UVIC_PACKAGES")/usr"})
  [ -z "${UVIC_PACKAGES:-}" ] || packages+=(-DUVIC_GTEST="$(realpath "$UVIC_PACKAGES")/usr/src/googletest")
  # Machine code for this GPU alone, where it is one of those that have their own.
  case $(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -1) in
    8.*) packages+=(-DCMAKE_CUDA_ARCHITECTURES=80-real) ;;
    9.0) packages+=(-DCMAKE_CUDA_ARCHITECTURES=90a-real) ;;
  esac
  step configure 60 cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DUVIC_CUDA="$gpu" -DUVIC_CORE_ONLY=ON \
    -DUVIC_ONEDNN=OFF -DUVIC_LIBZIP=OFF -DUVIC_NCCL=OFF -DUVIC_WERROR=OFF "${packages[@]}" ${UVIC_CMAKE:-} &&
    step build 270 cmake --build "$build" || { [ -n "${UVIC_PACKAGES:-}" ] ||
      say "on a machine without a network, UVIC_PACKAGES may help: see the head of $0"; exit 1; }
fi

if wanted test; then  # each one a process of its own: an error that a GPU cannot forget must not fail those behind it
  step test 120 ctest --test-dir "$build" -R "${UVIC_TESTS:-[Cc]uda}" -j $(($(nproc) < 8 ? $(nproc) : 8)) --timeout 60 \
    --output-on-failure --no-tests=error
fi

if wanted bench; then
  memory=$(nvidia-smi --query-gpu=memory.total --format=csv,noheader,nounits 2>/dev/null | head -1)
  batch=$((${memory:-0} > 120000 ? 128 : ${memory:-0} > 70000 ? 64 : 16))  # PyTorch's eager step of 128 needs 70 GB
  attention=(--seconds 0.15) train=(--model L2 --batch $batch --seconds 2)
  samples=(--model L2 --batch 64 --seconds 2) sample=(--model S2 --batch 8 --seconds 2)
  if [ "$gpu" = emulated ]; then
    attention=(--shape 1,2,17,16 --seconds 0) train=(--model mini4 --batch 1 --seconds 0)
    samples=(--model mini4 --batch 2 --steps 1 --seconds 0) sample=(--model mini4 --batch 1 --steps 1 --seconds 0)
  fi
  in_turn=()
  if python3 -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null || [ "$gpu" = emulated ]; then
    in_turn=(--rounds 2 "--compare=python3 $peer ${UVIC_PEER_OPTIONS:-}")
  else
    results+=("peer: left out, python3 has no torch that sees a GPU")
  fi
  time_it() { step "$1" "$2" "$bench" "${@:3}" --device cuda --dtype bf16; }
  time_it matrix 30 matrix
  time_it attention 100 attention "${attention[@]}" "${in_turn[@]}"
  time_it train 80 train "${train[@]}" "${in_turn[@]}"
  time_it "sample many" 80 sample "${samples[@]}" "${in_turn[@]}"
  time_it "sample few" 60 sample "${sample[@]}" "${in_turn[@]}"
fi

if wanted sanitize; then
  if command -v compute-sanitizer >/dev/null; then
    check=(compute-sanitizer --error-exitcode 1 --report-api-errors no --print-limit 20 --tool)
    step racecheck 60 "${check[@]}" racecheck "$build/bin/kernels_tests" --gtest_brief=1 --gtest_filter="$(
      )*Attention*OddShapes/cuda*:*NormTest.*/cuda*:*ConvTest.Backward*/cuda*:*UpdateTest.Squared*/cuda*"
    step memcheck 120 "${check[@]}" memcheck "$build/bin/kernels_tests" --gtest_brief=1 --gtest_filter="$(
      )*/cuda*-*ShapesOfTheModels*:*ForwardMatches*:*ThreadsDoNotChange*:*MemoryIs*"
  else
    results+=("racecheck, memcheck: left out, there is no compute-sanitizer")
  fi
fi

say
if grep '^{' "$log" >"$build/records.jsonl"; then "$bench" table --file "$build/records.jsonl" | tee -a "$log"; fi
say
printf '%s\n' "${results[@]}" | tee -a "$log"
[[ ${results[*]} != *FAILED* ]]
