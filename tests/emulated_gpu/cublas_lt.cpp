#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#include "cublasLt.h"
#include "gpu.h"
#include "kernels/core/tensor.h"

struct cublasLtContext {
  int device;
};
struct cublasLtMatmulDescOpaque_t {
  int32_t transposed_a = CUBLAS_OP_N, transposed_b = CUBLAS_OP_N;
  uint32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;
  int32_t bias_type = -1;
};
struct cublasLtMatrixLayoutOpaque_t {
  cudaDataType_t type;
  uint64_t rows, columns;
  int64_t stride;
  int32_t order = CUBLASLT_ORDER_COL, batch = 1;
  int64_t batch_stride = 0;
};
struct cublasLtMatmulPreferenceOpaque_t {
  uint64_t workspace = 0;
  uint32_t schemes = ~0u;
  uint32_t alignment[4] = {256, 256, 256, 256};
};

namespace {

using Layout = cublasLtMatrixLayoutOpaque_t;

size_t size_of(int type) { return type == CUDA_R_16BF ? 2 : 4; }
float load(const void* data, int type, int64_t i) {
  return type == CUDA_R_16BF ? uvic::to_float(static_cast<const uvic::bf16*>(data)[i])
                             : static_cast<const float*>(data)[i];
}
void store(void* data, int type, int64_t i, float x) {
  if (type == CUDA_R_16BF) {
    static_cast<uvic::bf16*>(data)[i] = uvic::to_bf16(x);
  } else {
    static_cast<float*>(data)[i] = x;
  }
}

// Element (r, c) of matrix number n.
int64_t place(const Layout& l, int64_t n, int64_t r, int64_t c) {
  return n * l.batch_stride + (l.order == CUBLASLT_ORDER_COL ? c * l.stride + r : r * l.stride + c);
}
size_t bytes_of(const Layout& l) {
  const int64_t last = place(l, l.batch - 1, static_cast<int64_t>(l.rows) - 1, static_cast<int64_t>(l.columns) - 1);
  return static_cast<size_t>(last + 1) * size_of(l.type);
}
bool is_whole(const Layout& l) {
  const auto along = static_cast<int64_t>(l.order == CUBLASLT_ORDER_COL ? l.rows : l.columns);
  return l.rows > 0 && l.columns > 0 && l.stride >= along && (l.type == CUDA_R_32F || l.type == CUDA_R_16BF);
}

// d [m, n] = alpha op(a) [m, k] op(b) [k, n] + beta c + bias [m]
struct Problem {
  cublasLtMatmulDescOpaque_t desc;
  Layout a, b, c, d;
  int64_t m = 0, n = 0, k = 0;

  bool is_possible() {
    for (const Layout* l : {&a, &b, &c, &d})
      if (!is_whole(*l) || l->batch != d.batch) return false;
    const bool ta = desc.transposed_a == CUBLAS_OP_T, tb = desc.transposed_b == CUBLAS_OP_T;
    m = static_cast<int64_t>(d.rows), n = static_cast<int64_t>(d.columns);
    k = static_cast<int64_t>(ta ? a.rows : a.columns);
    const auto is = [](uint64_t x, int64_t y) { return static_cast<int64_t>(x) == y; };
    if (!is(ta ? a.columns : a.rows, m) || !is(tb ? b.rows : b.columns, n) || !is(tb ? b.columns : b.rows, k))
      return false;
    if (c.rows != d.rows || c.columns != d.columns) return false;
    const bool has_types = a.type == b.type && c.type == d.type && (d.type == a.type || d.type == CUDA_R_32F);
    if (desc.epilogue == CUBLASLT_EPILOGUE_BIAS)
      return has_types && desc.bias && (desc.bias_type == -1 || desc.bias_type == d.type);
    return has_types && desc.epilogue == CUBLASLT_EPILOGUE_DEFAULT;
  }

  // What an algorithm depends on.
  uint64_t hash() const {
    uint64_t h = 14695981039346656037u;
    const auto add = [&h](auto x) { h = (h ^ static_cast<uint64_t>(x)) * 1099511628211u; };
    add(desc.transposed_a), add(desc.transposed_b), add(desc.epilogue);
    for (const Layout* l : {&a, &b, &c, &d})
      add(l->type), add(l->rows), add(l->columns), add(l->stride), add(l->order), add(l->batch), add(l->batch_stride);
    return h;
  }

  void run(float alpha, const void* pa, const void* pb, float beta, const void* pc, void* pd) const {
    std::vector<float> left(static_cast<size_t>(k * m)), right(static_cast<size_t>(n * k)), sum(static_cast<size_t>(m));
    const bool ta = desc.transposed_a == CUBLAS_OP_T, tb = desc.transposed_b == CUBLAS_OP_T;
    for (int64_t batch = 0; batch < d.batch; ++batch) {
      for (int64_t p = 0; p < k; ++p)
        for (int64_t i = 0; i < m; ++i)
          left[static_cast<size_t>(p * m + i)] = load(pa, a.type, ta ? place(a, batch, p, i) : place(a, batch, i, p));
      for (int64_t j = 0; j < n; ++j)
        for (int64_t p = 0; p < k; ++p)
          right[static_cast<size_t>(j * k + p)] = load(pb, b.type, tb ? place(b, batch, j, p) : place(b, batch, p, j));
      for (int64_t j = 0; j < n; ++j) {
        std::fill(sum.begin(), sum.end(), 0.0f);
        for (int64_t p = 0; p < k; ++p) {
          const float x = right[static_cast<size_t>(j * k + p)];
          const float* const column = left.data() + p * m;
          for (int64_t i = 0; i < m; ++i) sum[static_cast<size_t>(i)] += column[i] * x;
        }
        for (int64_t i = 0; i < m; ++i) {
          float y = alpha * sum[static_cast<size_t>(i)];
          if (beta != 0) y += beta * load(pc, c.type, place(c, batch, i, j));
          if (desc.epilogue == CUBLASLT_EPILOGUE_BIAS) y += load(desc.bias, d.type, i);
          store(pd, d.type, place(d, batch, i, j), y);
        }
      }
    }
  }
};

template <class T>
cublasStatus_t set(T& to, const void* value, size_t bytes) {
  if (!value || bytes != sizeof to) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(&to, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

void check(int device, const char* what, const void* p, size_t bytes) {
  if (!emulated_gpu::reaches(device, p, bytes))
    emulated_gpu::stop("cublasLtMatmul on cuda:%d is given %zu bytes as %s at %s", device, bytes, what,
                       emulated_gpu::describe(p).c_str());
}

bool is_aligned(const void* p, uint64_t alignment) { return reinterpret_cast<uintptr_t>(p) % alignment == 0; }

}  // namespace

const char* cublasLtGetStatusString(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS: return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED: return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_INVALID_VALUE: return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_NOT_SUPPORTED: return "CUBLAS_STATUS_NOT_SUPPORTED";
  }
  return "unknown status";
}

size_t cublasLtGetVersion() { return 1; }
cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  *handle = new cublasLtContext{emulated_gpu::current_device()};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* desc, cublasComputeType_t compute, cudaDataType_t scale) {
  if (compute != CUBLAS_COMPUTE_32F || scale != CUDA_R_32F) return CUBLAS_STATUS_NOT_SUPPORTED;
  *desc = new cublasLtMatmulDescOpaque_t;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) {
  delete desc;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t what,
                                              const void* value, size_t bytes) {
  switch (what) {
    case CUBLASLT_MATMUL_DESC_TRANSA: return set(desc->transposed_a, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB: return set(desc->transposed_b, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE: return set(desc->epilogue, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER: return set(desc->bias, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE: return set(desc->bias_type, value, bytes);
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType_t type, uint64_t rows,
                                          uint64_t columns, int64_t stride) {
  *layout = new Layout{type, rows, columns, stride};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete layout;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout, cublasLtMatrixLayoutAttribute_t what,
                                                const void* value, size_t bytes) {
  switch (what) {
    case CUBLASLT_MATRIX_LAYOUT_ORDER: return set(layout->order, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT: return set(layout->batch, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET: return set(layout->batch_stride, value, bytes);
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = new cublasLtMatmulPreferenceOpaque_t;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete preference;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t what, const void* value,
                                                    size_t bytes) {
  switch (what) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES: return set(preference->workspace, value, bytes);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK: return set(preference->schemes, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES: return set(preference->alignment[0], value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES: return set(preference->alignment[1], value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES: return set(preference->alignment[2], value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES: return set(preference->alignment[3], value, bytes);
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}

// An algorithm is: the hash of its problem, the alignments it relies on, the workspace it may use.
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a,
                                              cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                                              cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t preference,
                                              int wanted, cublasLtMatmulHeuristicResult_t* results, int* found) {
  *found = 0;
  Problem problem{*desc, *a, *b, *c, *d};
  if (wanted < 1) return CUBLAS_STATUS_INVALID_VALUE;
  const auto* alignment = preference->alignment;
  for (int i = 0; i < 4; ++i)
    if (!std::has_single_bit(alignment[i])) return CUBLAS_STATUS_INVALID_VALUE;
  if (!problem.is_possible() || alignment[0] < size_of(a->type) || alignment[1] < size_of(b->type) ||
      alignment[2] < size_of(c->type) || alignment[3] < size_of(d->type))
    return CUBLAS_STATUS_NOT_SUPPORTED;
  // Several, for who wants to choose; they differ in name only.
  for (uint64_t i = 0; i < 3 && *found < wanted; ++i, ++*found) {
    results[i] = {};
    results[i].algo = {
        {problem.hash(), alignment[0], alignment[1], alignment[2], alignment[3], preference->workspace, i}};
    results[i].workspaceSize = preference->workspace;
  }
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a,
                                       cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                       const cublasLtMatmulAlgo_t* algo, cublasLtMatmulHeuristicResult_t* result) {
  Problem problem{*desc, *a, *b, *c, *d};
  if (!problem.is_possible() || algo->data[0] != problem.hash()) return CUBLAS_STATUS_NOT_SUPPORTED;
  *result = {};
  result->algo = *algo;
  result->workspaceSize = algo->data[5];
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void* alpha, const void* a,
                              cublasLtMatrixLayout_t a_layout, const void* b, cublasLtMatrixLayout_t b_layout,
                              const void* beta, const void* c, cublasLtMatrixLayout_t c_layout, void* d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* algo, void* workspace,
                              size_t workspace_bytes, cudaStream_t stream) {
  const auto hold = emulated_gpu::lock();
  Problem problem{*desc, *a_layout, *b_layout, *c_layout, *d_layout};
  if (!handle || handle->device != emulated_gpu::device_of(stream)) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (!problem.is_possible() || algo->data[0] != problem.hash()) return CUBLAS_STATUS_INVALID_VALUE;
  if (!is_aligned(a, algo->data[1]) || !is_aligned(b, algo->data[2]) || !is_aligned(c, algo->data[3]) ||
      !is_aligned(d, algo->data[4]) || !is_aligned(workspace, 256) || workspace_bytes < algo->data[5])
    return CUBLAS_STATUS_INVALID_VALUE;
  const float by = *static_cast<const float*>(alpha), added = *static_cast<const float*>(beta);
  if (desc->epilogue == CUBLASLT_EPILOGUE_BIAS && !is_aligned(desc->bias, 16))
    emulated_gpu::stop("cublasLtMatmul is given a bias at %p, not a multiple of 16 bytes", desc->bias);
  if (c == d && (c_layout->stride != d_layout->stride || c_layout->order != d_layout->order))
    return CUBLAS_STATUS_INVALID_VALUE;
  check(handle->device, "A", a, bytes_of(*a_layout));
  check(handle->device, "B", b, bytes_of(*b_layout));
  check(handle->device, "D", d, bytes_of(*d_layout));
  if (added != 0) check(handle->device, "C", c, bytes_of(*c_layout));
  if (desc->epilogue == CUBLASLT_EPILOGUE_BIAS)
    check(handle->device, "bias", desc->bias, static_cast<size_t>(problem.m) * size_of(d_layout->type));
  if (workspace_bytes > 0) check(handle->device, "workspace", workspace, workspace_bytes);
  const cudaError_t status = emulated_gpu::enqueue(stream, [=] { problem.run(by, a, b, added, c, d); });
  return status == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}
