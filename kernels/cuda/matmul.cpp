#include "kernels/cuda/matmul.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <optional>

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

constexpr uint32_t kMostAligned = 256;
// Kernels load the bias 16 bytes at a time, and no preference tells the library that it lies elsewhere.
constexpr uint32_t kBiasAligned = 16;

// The largest power of two up to kMostAligned that divides an address: what the algorithm may rely on.
uint32_t alignment(const void* p) {
  const auto address = reinterpret_cast<uintptr_t>(p) | kMostAligned;
  return static_cast<uint32_t>(address & (~address + 1));
}

PlanKey key_of(const Product& p) {
  const auto matrix = [](const Matrix& m) { return int64_t{m.is_transposed} | int64_t{m.dtype == DType::bf16} << 1; };
  return {p.a.rows,          p.a.columns,         p.b.columns,         p.a.stride,          p.b.stride,
          p.c.stride,        p.added.stride,      matrix(p.a),         matrix(p.b),         matrix(p.c),
          p.bias != nullptr, alignment(p.a.data), alignment(p.b.data), alignment(p.c.data), alignment(p.added.data),
          alignment(p.bias)};
}

struct Event {
  cudaEvent_t handle = nullptr;
  Event() { UVIC_CUDA_CHECK(cudaEventCreate(&handle)); }
  ~Event() { cudaEventDestroy(handle); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
};

constexpr int kMostChoices = 8;  // of the library's, best first as it thinks, that are timed
constexpr int kTimedRuns = 4;    // of each, after one that is not

}  // namespace

// cuBLASLt makes c^T = b^T a^T, with b as its first operand: read by columns, c^T is c.
struct Plan {
  Operation operation;
  Layout first, second, result, added;
  cublasLtMatmulAlgo_t algorithm;

  Plan(Context& ctx, DeviceState& s, const Product& p)
      : first(p.b), second(p.a), result(p.c), added(p.added ? p.added : p.c) {
    operation.set(CUBLASLT_MATMUL_DESC_TRANSA, p.b.is_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
    operation.set(CUBLASLT_MATMUL_DESC_TRANSB, p.a.is_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
    if (p.bias) {
      operation.set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
      operation.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias);
      operation.set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, static_cast<int32_t>(type_of(p.c.dtype)));
    }
    if (s.timed)
      if (const auto known = remembered(s, p)) {
        algorithm = *known;
        return;
      }
    cublasLtMatmulHeuristicResult_t choices[kMostChoices];
    const int count = choices_for(s, p, s.timed ? kMostChoices : 1, choices);
    algorithm = choices[0].algo;
    if (!s.timed) return;
    algorithm = choices[count > 1 ? fastest(ctx, s, p, choices, count) : 0].algo;
    s.timed.add(key_of(p), std::bit_cast<PlanCache::Algorithm>(algorithm));
    algorithm = remembered(s, p).value_or(algorithm);  // another process may have been first
  }

  void run(DeviceState& s, const Product& p, const cublasLtMatmulAlgo_t& by, const void* plus, void* to) const {
    const float alpha = 1, beta = p.added ? 1 : 0;
    UVIC_CUDA_CHECK(cublasLtMatmul(s.blas, operation.handle, &alpha, p.b.data, first.handle, p.a.data, second.handle,
                                   &beta, plus, added.handle, to, result.handle, &by, s.workspace.data(),
                                   s.workspace.size(), s.stream));
  }

 private:
  int choices_for(DeviceState& s, const Product& p, int most, cublasLtMatmulHeuristicResult_t* choices) const {
    Preference preference;
    preference.set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<uint64_t>(s.workspace.size()));
    // Partial sums meet in the workspace, in f32 and in one order.
    preference.set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                   static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
    preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment(p.b.data));
    preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment(p.a.data));
    preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment(p.added ? p.added.data : p.c.data));
    preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment(p.c.data));
    int found = 0;
    UVIC_CUDA_CHECK(cublasLtMatmulAlgoGetHeuristic(s.blas, operation.handle, first.handle, second.handle, added.handle,
                                                   result.handle, preference.handle, most, choices, &found));
    UVIC_CHECK(found > 0, "cuBLASLt has no way to multiply [", p.a.rows, ", ", p.a.columns, "] by [", p.b.rows, ", ",
               p.b.columns, "] in ", p.a.dtype);
    return found;
  }

  // What the file of timed plans has for this one. It may be wrong, so that the library is asked.
  std::optional<cublasLtMatmulAlgo_t> remembered(DeviceState& s, const Product& p) const {
    const PlanCache::Algorithm* known = s.timed.find(key_of(p));
    if (!known) return {};
    const auto found = std::bit_cast<cublasLtMatmulAlgo_t>(*known);
    cublasLtMatmulHeuristicResult_t answer{};
    const bool works = cublasLtMatmulAlgoCheck(s.blas, operation.handle, first.handle, second.handle, added.handle,
                                               result.handle, &found, &answer) == CUBLAS_STATUS_SUCCESS &&
                       answer.workspaceSize <= s.workspace.size();
    return works ? std::optional(found) : std::nullopt;
  }

  // By the clock, into scratch: p.c may be p.added, and must not be added to twice.
  int fastest(Context& ctx, DeviceState& s, const Product& p, const cublasLtMatmulHeuristicResult_t* choices,
              int count) const {
    const auto scope = ctx.scope("timing");
    const int64_t numbers = (p.c.rows - 1) * std::max(p.c.stride, p.added.stride) + p.c.columns;
    const size_t room = static_cast<size_t>(numbers) * size_of(p.c.dtype) + kMostAligned;
    const auto address = reinterpret_cast<uintptr_t>(ctx.arena().allocate(room));
    void* scratch = reinterpret_cast<void*>((address + kMostAligned - 1) / kMostAligned * kMostAligned);
    const Event start, stop;
    int best = 0;
    float least = INFINITY;
    for (int i = 0; i < count; ++i) {
      if (choices[i].state != CUBLAS_STATUS_SUCCESS) continue;
      const auto once = [&] { run(s, p, choices[i].algo, p.added.data == p.c.data ? scratch : p.added.data, scratch); };
      once();
      UVIC_CUDA_CHECK(cudaEventRecord(start.handle, s.stream));
      for (int n = 0; n < kTimedRuns; ++n) once();
      UVIC_CUDA_CHECK(cudaEventRecord(stop.handle, s.stream));
      UVIC_CUDA_CHECK(cudaEventSynchronize(stop.handle));
      float milliseconds = 0;
      UVIC_CUDA_CHECK(cudaEventElapsedTime(&milliseconds, start.handle, stop.handle));
      if (milliseconds < least) least = milliseconds, best = i;
    }
    return best;
  }
};

void product(Context& ctx, const Product& p) {
  if (p.c.rows == 0 || p.c.columns == 0) return;
  DeviceState& s = state(ctx);
  if (alignment(p.bias) < kBiasAligned) {
    const auto scope = ctx.scope("bias");
    const Tensor bias = ctx.empty(p.c.dtype, {p.c.columns});
    UVIC_CUDA_CHECK(cudaMemcpyAsync(bias.raw(), p.bias, bias.bytes(), cudaMemcpyDefault, s.stream));
    return product(ctx, {.a = p.a, .b = p.b, .c = p.c, .bias = bias.raw(), .added = p.added});
  }
  std::shared_ptr<Plan>& plan = s.plans[key_of(p)];
  if (!plan) plan = std::make_shared<Plan>(ctx, s, p);
  if (p.bias) plan->operation.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias);
  plan->run(s, p, plan->algorithm, p.added ? p.added.data : p.c.data, p.c.data);
}

}  // namespace uvic::cuda
