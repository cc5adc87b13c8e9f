#include "kernels/cuda/matmul.h"

#include <cstdint>

#include "kernels/cuda/device.h"

namespace uvic::cuda {
namespace {

cudaDataType_t type_of(DType dtype) { return dtype == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F; }

struct Layout {
  cublasLtMatrixLayout_t handle = nullptr;
  Layout(DType dtype, int64_t rows, int64_t columns, int64_t stride) {
    UVIC_CUDA_CHECK(cublasLtMatrixLayoutCreate(&handle, type_of(dtype), static_cast<uint64_t>(rows),
                                               static_cast<uint64_t>(columns), stride));
  }
  // As the library stores matrices, by columns, a row-major one is its own transpose.
  explicit Layout(const Matrix& m)
      : Layout(m.dtype, m.is_transposed ? m.rows : m.columns, m.is_transposed ? m.columns : m.rows, m.stride) {}
  ~Layout() { cublasLtMatrixLayoutDestroy(handle); }
  Layout(const Layout&) = delete;
  Layout& operator=(const Layout&) = delete;
};

struct Operation {
  cublasLtMatmulDesc_t handle = nullptr;
  Operation() { UVIC_CUDA_CHECK(cublasLtMatmulDescCreate(&handle, CUBLAS_COMPUTE_32F, CUDA_R_32F)); }
  ~Operation() { cublasLtMatmulDescDestroy(handle); }
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;
  template <class T>
  void set(cublasLtMatmulDescAttributes_t what, const T& value) {
    UVIC_CUDA_CHECK(cublasLtMatmulDescSetAttribute(handle, what, &value, sizeof value));
  }
};

struct Preference {
  cublasLtMatmulPreference_t handle = nullptr;
  Preference() { UVIC_CUDA_CHECK(cublasLtMatmulPreferenceCreate(&handle)); }
  ~Preference() { cublasLtMatmulPreferenceDestroy(handle); }
  Preference(const Preference&) = delete;
  Preference& operator=(const Preference&) = delete;
  template <class T>
  void set(cublasLtMatmulPreferenceAttributes_t what, const T& value) {
    UVIC_CUDA_CHECK(cublasLtMatmulPreferenceSetAttribute(handle, what, &value, sizeof value));
  }
};

// The largest power of two up to 256 that divides an address: what the algorithm may rely on.
uint32_t alignment(const void* p) {
  const auto address = reinterpret_cast<uintptr_t>(p) | 256u;
  return static_cast<uint32_t>(address & (~address + 1));
}

PlanKey key_of(const Product& p) {
  const auto matrix = [](const Matrix& m) { return int64_t{m.is_transposed} | int64_t{m.dtype == DType::bf16} << 1; };
  return {p.a.rows,          p.a.columns,         p.b.columns,         p.a.stride,          p.b.stride,
          p.c.stride,        p.added.stride,      matrix(p.a),         matrix(p.b),         matrix(p.c),
          p.bias != nullptr, alignment(p.a.data), alignment(p.b.data), alignment(p.c.data), alignment(p.added.data),
          alignment(p.bias)};
}

}  // namespace

// cuBLASLt makes c^T = b^T a^T, with b as its first operand: read by columns, c^T is c.
struct Plan {
  Operation operation;
  Layout first, second, result, added;
  cublasLtMatmulAlgo_t algorithm;

  Plan(cublasLtHandle_t blas, size_t workspace, const Product& p)
      : first(p.b), second(p.a), result(p.c), added(p.added ? p.added : p.c) {
    operation.set(CUBLASLT_MATMUL_DESC_TRANSA, p.b.is_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
    operation.set(CUBLASLT_MATMUL_DESC_TRANSB, p.a.is_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
    if (p.bias) {
      operation.set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
      operation.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias);
      operation.set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, static_cast<int32_t>(type_of(p.c.dtype)));
    }
    Preference preference;
    preference.set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<uint64_t>(workspace));
    // Partial sums meet in the workspace, in f32 and in one order.
    preference.set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                   static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
    preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment(p.b.data));
    preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment(p.a.data));
    preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment(p.added ? p.added.data : p.c.data));
    preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment(p.c.data));
    cublasLtMatmulHeuristicResult_t best{};
    int found = 0;
    UVIC_CUDA_CHECK(cublasLtMatmulAlgoGetHeuristic(blas, operation.handle, first.handle, second.handle, added.handle,
                                                   result.handle, preference.handle, 1, &best, &found));
    UVIC_CHECK(found == 1, "cuBLASLt has no way to multiply [", p.a.rows, ", ", p.a.columns, "] by [", p.b.rows, ", ",
               p.b.columns, "] in ", p.a.dtype);
    algorithm = best.algo;
  }
};

void product(Context& ctx, const Product& p) {
  if (p.c.rows == 0 || p.c.columns == 0) return;
  DeviceState& s = state(ctx);
  std::shared_ptr<Plan>& plan = s.plans[key_of(p)];
  if (!plan) plan = std::make_shared<Plan>(s.blas, s.workspace.size(), p);
  if (p.bias) plan->operation.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias);
  const float alpha = 1, beta = p.added ? 1 : 0;
  UVIC_CUDA_CHECK(cublasLtMatmul(s.blas, plan->operation.handle, &alpha, p.b.data, plan->first.handle, p.a.data,
                                 plan->second.handle, &beta, p.added ? p.added.data : p.c.data, plan->added.handle,
                                 p.c.data, plan->result.handle, &plan->algorithm, s.workspace.data(),
                                 s.workspace.size(), s.stream));
}

}  // namespace uvic::cuda
