#!/usr/bin/env bash
# Builds uvic and runs every test. Arguments go to ctest: ./test.sh -R attention
# The CUDA code runs on an emulated GPU, in three orders of its threads; where nvcc is, it has to compile and link as
# well; where there is no GPU, what needs one says so.
set -euo pipefail
cd "$(dirname "$0")"
source .ci/setup.sh test

cmake --preset "${UVIC_PRESET:-cpu}" >/dev/null
cmake --build --preset "${UVIC_PRESET:-cpu}"
ctest --preset "${UVIC_PRESET:-cpu}" -j "$(nproc)" "$@"

[ -z "${UVIC_PRESET:-}" ] || exit 0

cmake --preset emulated >/dev/null
cmake --build --preset emulated --target {kernels,model,engine,app}_tests uvic-{train,sample,fid,encode,bench}
for order in forward reverse shuffle; do
  UVIC_GPU_ORDER=$order build/emulated/bin/kernels_tests --gtest_brief=1 --gtest_filter='*Cuda*:*cuda*:*EmulatedGpu*'
done
build/emulated/bin/model_tests --gtest_brief=1 --gtest_filter='*cuda*-*KlF8*:*FullSize*'
build/emulated/bin/engine_tests --gtest_brief=1 --gtest_filter='*cuda*-Everywhere/InceptionTest*'
UVIC_GPUS=2 build/emulated/bin/app_tests --gtest_brief=1 --gtest_filter="$(
  )Devices/ProgramsOn.*cuda:*DividedState*cuda_each:StepCalls.*:*RunSteps*cuda:*AGpu*"

if command -v nvcc >/dev/null; then
  cmake --preset cuda >/dev/null
  cmake --build --preset cuda --target kernels_tests -j 2
  build/cuda/bin/kernels_tests --gtest_brief=1 --gtest_filter='*Cuda*:*cuda*'
fi
