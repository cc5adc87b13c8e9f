#include "cublasLt.h"

#include <bit>
#include <cstring>

#include "gpu.h"
#include "matrix_product.h"

struct cublasLtContext {
  int device;
};
struct cublasLtMatmulPreferenceOpaque_t {
  uint64_t workspace = 0;
  uint32_t schemes = ~0u;
  uint32_t alignment[4] = {256, 256, 256, 256};
};

namespace {

using emulated_gpu::bytes_of, emulated_gpu::size_of, emulated_gpu::MatrixProduct;

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
  *layout = new emulated_gpu::MatrixLayout{type, rows, columns, stride};
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
  MatrixProduct problem{*desc, *a, *b, *c, *d};
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
  MatrixProduct problem{*desc, *a, *b, *c, *d};
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
  MatrixProduct problem{*desc, *a_layout, *b_layout, *c_layout, *d_layout};
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
