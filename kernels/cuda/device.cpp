#include "kernels/cuda/device.h"

#include <cctype>

namespace uvic {

int gpu_count() {
  int all = 0, usable = 0;
  if (cudaGetDeviceCount(&all) != cudaSuccess) {
    cudaGetLastError();  // a machine without a driver is no error here
    return 0;
  }
  for (int i = 0; i < all; ++i) {
    int major = 0;
    if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, i) == cudaSuccess && major >= 8) ++usable;
  }
  return usable;
}

}  // namespace uvic

namespace uvic::cuda {
namespace {

constexpr size_t kWorkspace = size_t{32} << 20;  // what NVIDIA advises for Hopper

// What the speed of an algorithm depends on beside its problem, in one word.
std::string name_of_gpu(int index) {
  cudaDeviceProp properties;
  UVIC_CUDA_CHECK(cudaGetDeviceProperties(&properties, index));
  std::string name = properties.name;
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '-';
  return name;
}

}  // namespace

void check(cudaError_t status, const char* call, const char* file, int line) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // else the next check would report it again
  if (status == cudaErrorNoKernelImageForDevice)
    throw Error("this uvic has no code for this GPU", "build it with -DCMAKE_CUDA_ARCHITECTURES=native");
  fail("CUDA: ", cudaGetErrorString(status), " (", cudaGetErrorName(status), ") in ", call, ", ", file, ":", line);
}

void check(cublasStatus_t status, const char* call, const char* file, int line) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  fail("cuBLASLt: ", cublasLtGetStatusString(status), " in ", call, ", ", file, ":", line);
}

void select(int index) {
  int current = -1;
  if (cudaGetDevice(&current) == cudaSuccess && current == index) {
    // The current device is 0 before anyone chose one, so that it is there and usable is still to be seen.
    static thread_local int known = -1;
    if (known == index) return;
    known = -1;
    int major = 0, minor = 0;
    UVIC_CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, index));
    UVIC_CUDA_CHECK(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, index));
    UVIC_CHECK(major >= 8, "cuda:", index, " has compute capability ", major, ".", minor,
               ", wanted 8.0 (Ampere) or more");
    known = index;
    return;
  }
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  cudaGetLastError();
  if (status != cudaSuccess)
    throw Error(concat("no GPU can be used: ", cudaGetErrorString(status)), "use --device cpu");
  UVIC_CHECK(index >= 0 && index < count, "there is no cuda:", index, ": this machine has ", count, " GPUs");
  UVIC_CUDA_CHECK(cudaSetDevice(index));
  select(index);
}

DeviceState::DeviceState(Context& ctx) {
  const Device device = ctx.device();
  select(device.index);
  workspace = Buffer(device, kWorkspace);
  UVIC_CUDA_CHECK(cublasLtCreate(&blas));
  UVIC_CUDA_CHECK(cudaStreamCreate(&stream));
  if (ctx.timed_plans().empty()) return;
  const std::string maker = concat("cublaslt-", cublasLtGetVersion(), '-', name_of_gpu(device.index));
  timed = PlanCache(std::filesystem::path(ctx.timed_plans()) / (maker + ".txt"), maker);
}

DeviceState::~DeviceState() {
  plans.clear();
  cudnn.reset();
  if (stream) cudaStreamDestroy(stream);
  if (blas) cublasLtDestroy(blas);
}

DeviceState& state(Context& ctx) {
  select(ctx.device().index);
  return ctx.backend_state<DeviceState>();
}

cudaMemoryType memory_of(const Tensor& t) {
  cudaPointerAttributes attributes{};
  UVIC_CUDA_CHECK(cudaPointerGetAttributes(&attributes, t.raw()));
  return attributes.type;
}

}  // namespace uvic::cuda
