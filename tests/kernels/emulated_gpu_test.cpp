// The emulated GPU itself: that it finds what it is there to find.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <set>
#include <string>
#include <vector>

#include "cublasLt.h"
#include "cuda_runtime.h"

namespace uvic::cuda {
extern thread_local uint4 dynamic_shared[];
}

namespace uvic::test {
namespace {

void expect_done(cudaError_t status) { ASSERT_EQ(status, cudaSuccess) << cudaGetErrorString(status); }

struct Shape {
  unsigned blocks = 1, threads = 64;
  size_t shared = 0;
};
template <class... Params, class... Args>
void queue(cudaStream_t stream, const Shape& shape, void (*kernel)(Params...), Args... args) {
  cudaLaunchConfig_t config{};
  config.gridDim = shape.blocks;
  config.blockDim = shape.threads;
  config.dynamicSmemBytes = shape.shared;
  config.stream = stream;
  expect_done(cudaLaunchKernelEx(&config, kernel, args...));
}
template <class... Params, class... Args>
void run(const Shape& shape, void (*kernel)(Params...), Args... args) {
  queue(nullptr, shape, kernel, args...);
}

template <class T>
T* on_device(size_t count) {
  void* data = nullptr;
  expect_done(cudaMalloc(&data, count * sizeof(T)));
  expect_done(cudaMemset(data, 0, count * sizeof(T)));
  return static_cast<T*>(data);
}
template <class T>
T* pinned(size_t count) {
  void* data = nullptr;
  expect_done(cudaHostAlloc(&data, count * sizeof(T), cudaHostAllocMapped));
  std::fill_n(static_cast<T*>(data), count, T{});
  return static_cast<T*>(data);
}

class EmulatedGpu : public ::testing::Test {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
  void TearDown() override { unsetenv("UVIC_GPU_ORDER"); }
};
using EmulatedGpuDeathTest = EmulatedGpu;

// ---- threads together -----------------------------------------------------------------------------------------------
void reverse_kernel(int* x) {
  __shared__ int held[64];
  held[threadIdx.x] = x[blockIdx.x * 64 + threadIdx.x];
  __syncthreads();
  x[blockIdx.x * 64 + threadIdx.x] = held[63 - threadIdx.x];
}

TEST_F(EmulatedGpu, ThreadsMeetAtBarriers) {
  int* x = pinned<int>(128);
  for (int i = 0; i < 128; ++i) x[i] = i;
  run({2, 64}, reverse_kernel, x);
  for (int i = 0; i < 128; ++i) EXPECT_EQ(x[i], i / 64 * 64 + 63 - i % 64);
  cudaFreeHost(x);
}

void shuffles_kernel(int* x) {
  const int t = static_cast<int>(threadIdx.x), lane = t % 32;
  int* own = x + 6 * t;
  own[0] = __shfl_xor_sync(~0u, t, 5);
  own[1] = __shfl_sync(~0u, t, 7);
  own[2] = __shfl_down_sync(~0u, t, 3);
  own[3] = __shfl_up_sync(~0u, t, 3, 8);
  own[4] = static_cast<int>(__ballot_sync(~0u, lane % 3 == 0));
  own[5] = __syncthreads_count(t % 5 == 0);
}

TEST_F(EmulatedGpu, WarpsExchange) {
  int* x = pinned<int>(6 * 64);
  for (const char* order : {"forward", "reverse", "shuffle:1"}) {
    setenv("UVIC_GPU_ORDER", order, 1);
    run({}, shuffles_kernel, x);
    for (int t = 0; t < 64; ++t) {
      EXPECT_EQ(x[6 * t], t ^ 5);
      EXPECT_EQ(x[6 * t + 1], t / 32 * 32 + 7);
      EXPECT_EQ(x[6 * t + 2], t % 32 < 29 ? t + 3 : t);
      EXPECT_EQ(x[6 * t + 3], t % 8 >= 3 ? t - 3 : t);
      EXPECT_EQ(x[6 * t + 4], 0x49249249);
      EXPECT_EQ(x[6 * t + 5], 13);
    }
  }
  cudaFreeHost(x);
}

void leaves_early_kernel() {
  if (threadIdx.x == 40) return;
  __syncthreads();
}
void parted_warp_kernel() {
  if (threadIdx.x % 32 < 16) __shfl_sync(~0u, 1, 0);
  __syncthreads();
}

TEST_F(EmulatedGpuDeathTest, ThreadsThatDoNotMeet) {
  EXPECT_DEATH(run({}, leaves_early_kernel), "leaves_early_kernel.*waits for ever at __syncthreads: thread 40 has");
  EXPECT_DEATH(run({}, parted_warp_kernel), "waits for ever at __shfl_sync: thread 16 waits at __syncthreads");
}

// Without a barrier, what a thread reads depends on who was first.
void race_kernel(int* x) {
  __shared__ int held[64];
  held[threadIdx.x] = 1;
  __syncthreads();
  held[threadIdx.x] += held[(threadIdx.x + 1) % 64];
  __syncthreads();
  x[threadIdx.x] = held[threadIdx.x];
}

TEST_F(EmulatedGpu, OrdersShowARace) {
  int* x = pinned<int>(128);
  const auto results = [&](void (*kernel)(int*)) {
    std::set<std::vector<int>> all;
    for (const char* order : {"forward", "reverse", "shuffle:1", "shuffle:2"}) {
      setenv("UVIC_GPU_ORDER", order, 1);
      for (int i = 0; i < 128; ++i) x[i] = i;
      run({}, kernel, x);
      all.insert(std::vector<int>(x, x + 128));
    }
    return all.size();
  };
  EXPECT_GT(results(race_kernel), 1u);
  EXPECT_EQ(results(reverse_kernel), 1u);
  cudaFreeHost(x);
}

// ---- memory --------------------------------------------------------------------------------------------------------
void reads_shared_kernel(float* x) {
  __shared__ float held[64];
  const float* dynamic = reinterpret_cast<const float*>(uvic::cuda::dynamic_shared);
  x[blockIdx.x * 64 + threadIdx.x] = held[threadIdx.x] + dynamic[threadIdx.x];
  held[threadIdx.x] = 0;
  reinterpret_cast<float*>(uvic::cuda::dynamic_shared)[threadIdx.x] = 0;
  __syncthreads();
}
void writes_behind_shared_kernel() {
  reinterpret_cast<float*>(uvic::cuda::dynamic_shared)[64] = 1;
  __syncthreads();
}

TEST_F(EmulatedGpu, SharedMemoryBeginsAsNaNInEveryBlock) {
  float* x = pinned<float>(128);
  run({2, 64, 256}, reads_shared_kernel, x);
  for (int i = 0; i < 128; ++i) EXPECT_TRUE(std::isnan(x[i]));
  cudaFreeHost(x);
}

void write_kernel(int* x, int64_t at) { x[at] = 1; }

TEST_F(EmulatedGpuDeathTest, MemoryThatIsOutOfReach) {
  int* const x = on_device<int>(64);
  int on_stack = 0;
  EXPECT_DEATH(x[3] = 1, "host code touched byte 12 of 256 bytes on cuda:0");
  EXPECT_DEATH(run({}, write_kernel, x, 64), "write_kernel.*touched byte 256 of 256 bytes on cuda:0");
  EXPECT_DEATH(run({}, write_kernel, &on_stack, 0), "given a pointer that it cannot follow");
  EXPECT_DEATH(run({1, 64, 256}, writes_behind_shared_kernel), "wrote byte 256 of 256 bytes of dynamic shared memory");
  const auto free_what_was_overrun = [] {
    int* y = on_device<int>(63);
    run({}, write_kernel, y, 63);
    cudaFree(y);
  };
  EXPECT_DEATH(free_what_was_overrun(), "byte 252 of 252 bytes on cuda:0 was written");
  cudaFree(x);
  EXPECT_DEATH(run({}, write_kernel, x, 0), "byte 0 of freed 256 bytes");
}

TEST_F(EmulatedGpu, LimitsOfLaunchesAndCopies) {
  int* x = on_device<int>(4);
  std::vector<int> host(8);
  EXPECT_EQ(cudaMemcpy(host.data(), x, 20, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(host.data(), x, 16, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  cudaLaunchConfig_t config{};
  config.blockDim = 1025;
  EXPECT_EQ(cudaLaunchKernelEx(&config, write_kernel, x, 0), cudaErrorInvalidConfiguration);
  config.blockDim = 1;
  config.dynamicSmemBytes = 50000;
  EXPECT_EQ(cudaLaunchKernelEx(&config, write_kernel, x, 0), cudaErrorInvalidValue);
  expect_done(cudaFuncSetAttribute(write_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 50000));
  expect_done(cudaLaunchKernelEx(&config, write_kernel, x, 0));
  cudaFree(x);
}

// ---- streams -------------------------------------------------------------------------------------------------------
void increment_kernel(int* x) { ++x[threadIdx.x]; }

TEST_F(EmulatedGpu, NothingIsDoneBeforeSomeoneWaits) {
  int* x = pinned<int>(64);
  cudaStream_t first, second;
  cudaEvent_t event;
  expect_done(cudaStreamCreateWithFlags(&first, cudaStreamNonBlocking));
  expect_done(cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking));
  expect_done(cudaEventCreate(&event));
  queue(first, {}, increment_kernel, x);
  EXPECT_EQ(x[0], 0);
  expect_done(cudaEventRecord(event, first));
  queue(first, {}, increment_kernel, x);
  expect_done(cudaStreamSynchronize(second));
  EXPECT_EQ(x[0], 0);
  expect_done(cudaStreamWaitEvent(second, event));
  expect_done(cudaStreamSynchronize(second));
  EXPECT_EQ(x[0], 1);
  expect_done(cudaStreamSynchronize(first));
  EXPECT_EQ(x[0], 2);
  expect_done(cudaEventDestroy(event));
  expect_done(cudaStreamDestroy(first));
  expect_done(cudaStreamDestroy(second));
  cudaFreeHost(x);
}

// From and to pageable memory, too.
TEST_F(EmulatedGpu, CopiesReadWhatIsThereWhenTheyAreDone) {
  int* const x = on_device<int>(1);
  int from = 1, to = 0;
  cudaStream_t stream;
  expect_done(cudaStreamCreate(&stream));
  expect_done(cudaMemcpyAsync(x, &from, sizeof from, cudaMemcpyHostToDevice, stream));
  expect_done(cudaMemcpyAsync(&to, x, sizeof to, cudaMemcpyDeviceToHost, stream));
  from = 2;
  EXPECT_EQ(to, 0);
  expect_done(cudaStreamSynchronize(stream));
  EXPECT_EQ(to, 2);
  expect_done(cudaStreamDestroy(stream));
  expect_done(cudaFree(x));
}

TEST_F(EmulatedGpuDeathTest, EachGpuHasItsMemory) {
  setenv("UVIC_GPUS", "2", 1);
  int* const x = on_device<int>(64);
  expect_done(cudaSetDevice(1));
  int* const y = on_device<int>(64);
  run({}, increment_kernel, y);
  EXPECT_DEATH(run({}, increment_kernel, x), "on cuda:1, is given a pointer that it cannot follow.* on cuda:0");
  expect_done(cudaMemcpy(x, y, 256, cudaMemcpyDefault));
  int seen = 0;
  expect_done(cudaMemcpy(&seen, x + 63, sizeof seen, cudaMemcpyDeviceToHost));
  EXPECT_EQ(seen, 1);
  expect_done(cudaFree(y));
  expect_done(cudaSetDevice(0));
  expect_done(cudaFree(x));
  unsetenv("UVIC_GPUS");
}

// ---- cuBLASLt ------------------------------------------------------------------------------------------------------
TEST_F(EmulatedGpu, AnAlgorithmIsForTheProblemAndTheAlignmentThatItWasChosenFor) {
  float* x = pinned<float>(64);
  for (int i = 0; i < 64; ++i) x[i] = static_cast<float>(i);
  cublasLtHandle_t blas;
  cublasLtMatmulDesc_t desc;
  cublasLtMatrixLayout_t layout, longer;
  cublasLtMatmulPreference_t preference;
  ASSERT_EQ(cublasLtCreate(&blas), CUBLAS_STATUS_SUCCESS);
  cublasLtMatmulDescCreate(&desc, CUBLAS_COMPUTE_32F, CUDA_R_32F);
  cublasLtMatrixLayoutCreate(&layout, CUDA_R_32F, 2, 2, 2);
  cublasLtMatrixLayoutCreate(&longer, CUDA_R_32F, 2, 2, 3);
  cublasLtMatmulPreferenceCreate(&preference);
  cublasLtMatmulHeuristicResult_t best{};
  int found = 0;
  ASSERT_EQ(cublasLtMatmulAlgoGetHeuristic(blas, desc, layout, layout, layout, layout, preference, 1, &best, &found),
            CUBLAS_STATUS_SUCCESS);
  const float one = 1, zero = 0;
  const auto product = [&](float* a, cublasLtMatrixLayout_t a_layout) {
    return cublasLtMatmul(blas, desc, &one, a, a_layout, x, layout, &zero, x, layout, x, layout, &best.algo, nullptr, 0,
                          nullptr);
  };
  EXPECT_EQ(product(x + 1, layout), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(product(x, longer), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(product(x, layout), CUBLAS_STATUS_SUCCESS);  // by columns: (0 2; 1 3) squared
  EXPECT_EQ(std::vector<float>(x, x + 4), (std::vector<float>{2, 3, 6, 11}));
  cublasLtMatmulPreferenceDestroy(preference);
  cublasLtMatrixLayoutDestroy(layout);
  cublasLtMatrixLayoutDestroy(longer);
  cublasLtMatmulDescDestroy(desc);
  cublasLtDestroy(blas);
  cudaFreeHost(x);
}

}  // namespace
}  // namespace uvic::test
