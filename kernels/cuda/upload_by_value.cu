#include "kernels/cuda/upload_by_value.h"

#include <cstring>

#include "kernels/cuda/launch.cuh"

namespace uvic::cuda {
namespace {

struct StoreBytes {
  unsigned char bytes[kMostByValue];
  unsigned char* to;
  __device__ void operator()(int64_t i) const { to[i] = bytes[i]; }
};

}  // namespace

void upload_by_value(Context& ctx, const Tensor& from, const Tensor& to) {
  StoreBytes store{{}, static_cast<unsigned char*>(to.raw())};
  std::memcpy(store.bytes, from.raw(), from.bytes());
  for_each(ctx, static_cast<int64_t>(from.bytes()), store);
}

}  // namespace uvic::cuda
