#include <cudnn.h>

#include <map>

#include "kernels/cuda/dense_conv.h"
#include "kernels/cuda/device.h"

namespace uvic::cuda {
namespace {

constexpr size_t kMostWorkspace = size_t{256} << 20;

void check(cudnnStatus_t status, const char* call, const char* file, int line) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  fail("cuDNN: ", cudnnGetErrorString(status), " in ", call, ", ", file, ":", line);
}
#define UVIC_CUDNN_CHECK(call) check((call), #call, __FILE__, __LINE__)

// A descriptor, or cuDNN itself.
template <class T, cudnnStatus_t (*create)(T*), cudnnStatus_t (*destroy)(T)>
struct Handle {
  T it = nullptr;
  Handle() { UVIC_CUDNN_CHECK(create(&it)); }
  ~Handle() { destroy(it); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  operator T() const { return it; }
};
using Library = Handle<cudnnHandle_t, cudnnCreate, cudnnDestroy>;
using TensorShape = Handle<cudnnTensorDescriptor_t, cudnnCreateTensorDescriptor, cudnnDestroyTensorDescriptor>;
using FilterShape = Handle<cudnnFilterDescriptor_t, cudnnCreateFilterDescriptor, cudnnDestroyFilterDescriptor>;
using Operation =
    Handle<cudnnConvolutionDescriptor_t, cudnnCreateConvolutionDescriptor, cudnnDestroyConvolutionDescriptor>;

int extent(int64_t n) { return static_cast<int>(n); }

// Algorithms that add up products as they are: Winograd's and those by Fourier transforms lose digits.
bool is_exact(cudnnConvolutionFwdAlgo_t algorithm) {
  return algorithm == CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM ||
         algorithm == CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM || algorithm == CUDNN_CONVOLUTION_FWD_ALGO_GEMM;
}

using ConvKey = std::array<int64_t, 9>;
ConvKey key_of(const DenseConv& c) {
  return {c.x.dim(0),       c.x.dim(1),       c.x.dim(2),
          c.x.dim(3),       c.filters.dim(0), c.filters.dim(1),
          c.filters.dim(2), c.stride,         c.x.dtype() == DType::bf16};
}

// What describes a convolution, and how cuDNN does it, if it does.
struct ConvPlan {
  TensorShape x, y;
  FilterShape w;
  Operation operation;
  bool exists = false;
  cudnnConvolutionFwdAlgo_t algorithm{};
  size_t workspace = 0;

  ConvPlan(cudnnHandle_t library, const DenseConv& c) {
    const cudnnDataType_t type = c.x.dtype() == DType::bf16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
    const auto describe = [&](cudnnTensorDescriptor_t tensor, const Shape& s) {
      UVIC_CUDNN_CHECK(cudnnSetTensor4dDescriptor(tensor, CUDNN_TENSOR_NHWC, type, extent(s[0]), extent(s[3]),
                                                  extent(s[1]), extent(s[2])));
    };
    describe(x, c.x.shape());
    describe(y, c.y());
    UVIC_CUDNN_CHECK(cudnnSetFilter4dDescriptor(w, type, CUDNN_TENSOR_NHWC, extent(c.filters.dim(0)),
                                                extent(c.filters.dim(3)), extent(c.filters.dim(1)),
                                                extent(c.filters.dim(2))));
    const int stride = extent(c.stride);
    UVIC_CUDNN_CHECK(cudnnSetConvolution2dDescriptor(operation, 0, 0, stride, stride, 1, 1, CUDNN_CROSS_CORRELATION,
                                                     CUDNN_DATA_FLOAT));
    // The default would be free to round f32 to TF32.
    const bool wide = c.x.dtype() == DType::f32;
    UVIC_CUDNN_CHECK(cudnnSetConvolutionMathType(operation, wide ? CUDNN_FMA_MATH : CUDNN_TENSOR_OP_MATH));
    cudnnConvolutionFwdAlgoPerf_t offers[CUDNN_CONVOLUTION_FWD_ALGO_COUNT];  // the fastest first, as cuDNN thinks
    int count = 0;
    UVIC_CUDNN_CHECK(cudnnGetConvolutionForwardAlgorithm_v7(library, x, w, operation, y,
                                                            CUDNN_CONVOLUTION_FWD_ALGO_COUNT, &count, offers));
    for (int i = 0; i < count && !exists; ++i) {
      const cudnnConvolutionFwdAlgoPerf_t& offer = offers[i];
      if (offer.status != CUDNN_STATUS_SUCCESS || offer.determinism != CUDNN_DETERMINISTIC || !is_exact(offer.algo))
        continue;
      const bool rounds = offer.mathType != CUDNN_FMA_MATH && offer.mathType != CUDNN_DEFAULT_MATH;
      if (wide && rounds) continue;
      if (!wide) UVIC_CUDNN_CHECK(cudnnSetConvolutionMathType(operation, offer.mathType));
      exists = cudnnGetConvolutionForwardWorkspaceSize(library, x, w, operation, y, offer.algo, &workspace) ==
                   CUDNN_STATUS_SUCCESS &&
               workspace <= kMostWorkspace;
      algorithm = offer.algo;
    }
  }
};

}  // namespace

// Made by the first convolution: most runs have none, and it takes hundreds of megabytes.
struct Cudnn {
  Library library;
  std::map<ConvKey, ConvPlan> plans;
};

Tensor cudnn_conv(Context& ctx, const DenseConv& c) {
  if (c.x.numel() > INT32_MAX || c.y().numel() > INT32_MAX) return {};  // cuDNN counts in int
  DeviceState& s = state(ctx);
  if (!s.cudnn) {
    s.cudnn = std::make_shared<Cudnn>();
    UVIC_CUDNN_CHECK(cudnnSetStream(s.cudnn->library, s.stream));
  }
  const ConvPlan& plan = s.cudnn->plans.try_emplace(key_of(c), s.cudnn->library, c).first->second;
  if (!plan.exists) return {};
  const Tensor y = ctx.empty(c.x.dtype(), c.y());
  const auto scope = ctx.scope("cudnn");
  void* workspace = ctx.arena().allocate(plan.workspace);
  const float alpha = 1, beta = 0;
  UVIC_CUDNN_CHECK(cudnnConvolutionForward(s.cudnn->library, &alpha, plan.x, c.x.raw(), plan.w, c.filters.raw(),
                                           plan.operation, plan.algorithm, workspace, plan.workspace, &beta, plan.y,
                                           y.raw()));
  return y;
}

}  // namespace uvic::cuda
