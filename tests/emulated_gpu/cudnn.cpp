#include "cudnn.h"

#include <vector>

#include "gpu.h"
#include "kernels/core/tensor.h"

struct cudnnContext {
  int device;
  cudaStream_t stream;
};
struct cudnnTensorStruct {
  cudnnDataType_t type;
  cudnnTensorFormat_t format;
  int64_t n = 0, c, h, w;
};
struct cudnnFilterStruct : cudnnTensorStruct {};
struct cudnnConvolutionStruct {
  int64_t pad_h, pad_w, step_h, step_w;
  cudnnMathType_t math = CUDNN_DEFAULT_MATH;
  bool set = false;
};

namespace {

constexpr size_t kWorkspace = 4096;
constexpr cudnnConvolutionFwdAlgo_t kAlgorithm = CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM;

using Tensor4 = cudnnTensorStruct;
size_t size_of(cudnnDataType_t type) { return type == CUDNN_DATA_BFLOAT16 ? 2 : 4; }
int64_t count(const Tensor4& t) { return t.n * t.c * t.h * t.w; }
size_t bytes_of(const Tensor4& t) { return static_cast<size_t>(count(t)) * size_of(t.type); }

std::vector<float> load(const void* data, const Tensor4& t) {
  std::vector<float> v(static_cast<size_t>(count(t)));
  for (size_t i = 0; i < v.size(); ++i)
    v[i] = t.type == CUDNN_DATA_BFLOAT16 ? uvic::to_float(static_cast<const uvic::bf16*>(data)[i])
                                         : static_cast<const float*>(data)[i];
  return v;
}
void store(const std::vector<float>& v, void* data, const Tensor4& t) {
  for (size_t i = 0; i < v.size(); ++i) {
    if (t.type == CUDNN_DATA_BFLOAT16) {
      static_cast<uvic::bf16*>(data)[i] = uvic::to_bf16(v[i]);
    } else {
      static_cast<float*>(data)[i] = v[i];
    }
  }
}

struct Problem {
  Tensor4 x, w, y;
  cudnnConvolutionStruct conv;

  bool is_possible() const {
    for (const Tensor4* t : {&x, &w, &y})
      if (count(*t) <= 0 || t->format != CUDNN_TENSOR_NHWC || t->type != x.type) return false;
    const auto steps = [](int64_t n, int64_t pad, int64_t k, int64_t step) { return (n + 2 * pad - k) / step + 1; };
    return conv.set && w.c == x.c && y.n == x.n && y.c == w.n && y.h == steps(x.h, conv.pad_h, w.h, conv.step_h) &&
           y.w == steps(x.w, conv.pad_w, w.w, conv.step_w);
  }

  void run(const void* x_data, const void* w_data, void* y_data) const {
    const std::vector<float> in = load(x_data, x), filters = load(w_data, w);
    const int64_t taps = w.h * w.w;
    std::vector<float> by_input(filters.size());  // [tap, c, m]: so that the inner loop runs over results
    for (int64_t m = 0; m < w.n; ++m)
      for (int64_t k = 0; k < taps * w.c; ++k)
        by_input[static_cast<size_t>(k * w.n + m)] = filters[static_cast<size_t>(m * taps * w.c + k)];
    std::vector<float> out(static_cast<size_t>(count(y)));
    for (int64_t p = 0; p < y.n * y.h * y.w; ++p) {
      const int64_t n = p / (y.h * y.w), top = p / y.w % y.h * conv.step_h - conv.pad_h,
                    left = p % y.w * conv.step_w - conv.pad_w;
      float* const sum = out.data() + p * y.c;
      for (int64_t tap = 0; tap < taps; ++tap) {
        const int64_t i = top + tap / w.w, j = left + tap % w.w;
        if (i < 0 || i >= x.h || j < 0 || j >= x.w) continue;
        const float* const a = in.data() + ((n * x.h + i) * x.w + j) * x.c;
        for (int64_t c = 0; c < x.c; ++c) {
          const float* const b = by_input.data() + (tap * w.c + c) * w.n;
          for (int64_t m = 0; m < w.n; ++m) sum[m] += a[c] * b[m];
        }
      }
    }
    store(out, y_data, y);
  }
};

void check(int device, const char* what, const void* p, size_t bytes) {
  if (!emulated_gpu::reaches(device, p, bytes))
    emulated_gpu::stop("cudnnConvolutionForward on cuda:%d is given %zu bytes as %s at %s", device, bytes, what,
                       emulated_gpu::describe(p).c_str());
}

template <class T>
cudnnStatus_t create(T** it) {
  *it = new T{};
  return CUDNN_STATUS_SUCCESS;
}
template <class T>
cudnnStatus_t destroy(T* it) {
  delete it;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t describe(Tensor4& t, cudnnTensorFormat_t format, cudnnDataType_t type, int n, int c, int h, int w) {
  if (n <= 0 || c <= 0 || h <= 0 || w <= 0) return CUDNN_STATUS_BAD_PARAM;
  t = {type, format, n, c, h, w};
  return CUDNN_STATUS_SUCCESS;
}

}  // namespace

const char* cudnnGetErrorString(cudnnStatus_t status) {
  switch (status) {
    case CUDNN_STATUS_SUCCESS: return "CUDNN_STATUS_SUCCESS";
    case CUDNN_STATUS_NOT_INITIALIZED: return "CUDNN_STATUS_NOT_INITIALIZED";
    case CUDNN_STATUS_BAD_PARAM: return "CUDNN_STATUS_BAD_PARAM";
    case CUDNN_STATUS_NOT_SUPPORTED: return "CUDNN_STATUS_NOT_SUPPORTED";
    case CUDNN_STATUS_EXECUTION_FAILED: return "CUDNN_STATUS_EXECUTION_FAILED";
  }
  return "unknown status";
}

cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  *handle = new cudnnContext{emulated_gpu::current_device(), nullptr};
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) { return destroy(handle); }
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  const auto hold = emulated_gpu::lock();
  if (emulated_gpu::device_of(stream) != handle->device) return CUDNN_STATUS_BAD_PARAM;
  handle->stream = stream;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t* tensor) { return create(tensor); }
cudnnStatus_t cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t tensor) { return destroy(tensor); }
cudnnStatus_t cudnnSetTensor4dDescriptor(cudnnTensorDescriptor_t tensor, cudnnTensorFormat_t format,
                                         cudnnDataType_t type, int n, int c, int h, int w) {
  return describe(*tensor, format, type, n, c, h, w);
}
cudnnStatus_t cudnnCreateFilterDescriptor(cudnnFilterDescriptor_t* filter) { return create(filter); }
cudnnStatus_t cudnnDestroyFilterDescriptor(cudnnFilterDescriptor_t filter) { return destroy(filter); }
cudnnStatus_t cudnnSetFilter4dDescriptor(cudnnFilterDescriptor_t filter, cudnnDataType_t type,
                                         cudnnTensorFormat_t format, int k, int c, int h, int w) {
  return describe(*filter, format, type, k, c, h, w);
}

cudnnStatus_t cudnnCreateConvolutionDescriptor(cudnnConvolutionDescriptor_t* conv) { return create(conv); }
cudnnStatus_t cudnnDestroyConvolutionDescriptor(cudnnConvolutionDescriptor_t conv) { return destroy(conv); }
cudnnStatus_t cudnnSetConvolution2dDescriptor(cudnnConvolutionDescriptor_t conv, int pad_h, int pad_w, int u, int v,
                                              int dilation_h, int dilation_w, cudnnConvolutionMode_t mode,
                                              cudnnDataType_t compute) {
  if (pad_h < 0 || pad_w < 0 || u <= 0 || v <= 0) return CUDNN_STATUS_BAD_PARAM;
  if (dilation_h != 1 || dilation_w != 1 || mode != CUDNN_CROSS_CORRELATION || compute != CUDNN_DATA_FLOAT)
    return CUDNN_STATUS_NOT_SUPPORTED;
  *conv = {pad_h, pad_w, u, v, CUDNN_DEFAULT_MATH, true};
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t conv, cudnnMathType_t math) {
  conv->math = math;
  return CUDNN_STATUS_SUCCESS;
}

// First one that is not exact, then one that is not deterministic, then one that rounds f32 to TF32; then the right
// one.
cudnnStatus_t cudnnGetConvolutionForwardAlgorithm_v7(cudnnHandle_t, cudnnTensorDescriptor_t x,
                                                     cudnnFilterDescriptor_t w, cudnnConvolutionDescriptor_t conv,
                                                     cudnnTensorDescriptor_t y, int wanted, int* found,
                                                     cudnnConvolutionFwdAlgoPerf_t* results) {
  if (!Problem{*x, *w, *y, *conv}.is_possible() || wanted < 1) return CUDNN_STATUS_BAD_PARAM;
  const cudnnStatus_t right = x->n == 2 ? CUDNN_STATUS_NOT_SUPPORTED : CUDNN_STATUS_SUCCESS;
  const bool is_f32 = x->type == CUDNN_DATA_FLOAT;
  const cudnnConvolutionFwdAlgoPerf_t all[] = {
      {CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD, CUDNN_STATUS_SUCCESS, 1, 0, CUDNN_DETERMINISTIC, CUDNN_FMA_MATH, {}},
      {CUDNN_CONVOLUTION_FWD_ALGO_GEMM, CUDNN_STATUS_SUCCESS, 2, 0, CUDNN_NON_DETERMINISTIC, CUDNN_FMA_MATH, {}},
      {kAlgorithm, right, 3, kWorkspace, CUDNN_DETERMINISTIC, CUDNN_TENSOR_OP_MATH, {}},
      {kAlgorithm, is_f32 ? right : CUDNN_STATUS_NOT_SUPPORTED, 4, kWorkspace, CUDNN_DETERMINISTIC, CUDNN_FMA_MATH, {}},
  };
  *found = 0;
  for (const auto& one : all)
    if (*found < wanted) results[(*found)++] = one;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetConvolutionForwardWorkspaceSize(cudnnHandle_t, cudnnTensorDescriptor_t x,
                                                      cudnnFilterDescriptor_t w, cudnnConvolutionDescriptor_t conv,
                                                      cudnnTensorDescriptor_t y, cudnnConvolutionFwdAlgo_t algo,
                                                      size_t* bytes) {
  if (!Problem{*x, *w, *y, *conv}.is_possible()) return CUDNN_STATUS_BAD_PARAM;
  if (algo != kAlgorithm) return CUDNN_STATUS_NOT_SUPPORTED;
  *bytes = kWorkspace;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnConvolutionForward(cudnnHandle_t handle, const void* alpha, cudnnTensorDescriptor_t x_desc,
                                      const void* x, cudnnFilterDescriptor_t w_desc, const void* w,
                                      cudnnConvolutionDescriptor_t conv, cudnnConvolutionFwdAlgo_t algo,
                                      void* workspace, size_t workspace_bytes, const void* beta,
                                      cudnnTensorDescriptor_t y_desc, void* y) {
  const auto hold = emulated_gpu::lock();
  const Problem problem{*x_desc, *w_desc, *y_desc, *conv};
  if (!problem.is_possible() || workspace_bytes < kWorkspace) return CUDNN_STATUS_BAD_PARAM;
  const cudnnMathType_t math = x_desc->type == CUDNN_DATA_FLOAT ? CUDNN_FMA_MATH : CUDNN_TENSOR_OP_MATH;
  const bool plain = *static_cast<const float*>(alpha) == 1 && *static_cast<const float*>(beta) == 0;
  if (algo != kAlgorithm || conv->math != math || !plain || x_desc->n == 2) return CUDNN_STATUS_NOT_SUPPORTED;
  check(handle->device, "x", x, bytes_of(*x_desc));
  check(handle->device, "w", w, bytes_of(*w_desc));
  check(handle->device, "y", y, bytes_of(*y_desc));
  check(handle->device, "workspace", workspace, workspace_bytes);
  const cudaError_t status = emulated_gpu::enqueue(handle->stream, [=] { problem.run(x, w, y); });
  return status == cudaSuccess ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_EXECUTION_FAILED;
}
