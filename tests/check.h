#pragma once

// What every test shares: where it runs (instruction set x dtype), how near is near, where golden data lies.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "kernels/core/context.h"

namespace uvic {
inline void PrintTo(const Device& d, std::ostream* out) { *out << d.str(); }  // for gtest, which looks beside Device
}  // namespace uvic

namespace uvic::test {

// ---- where -------------------------------------------------------------------------------------------------------
struct Where {
  Device device;
  Isa isa = Isa::avx2;
  DType dtype = DType::f32;
};

inline std::vector<Isa> isas() {
  std::vector<Isa> all;
  for (const Isa isa : {Isa::avx2, Isa::avx512, Isa::amx})
    if (isa <= best_isa()) all.push_back(isa);
  return all;
}

// Every instruction set of this machine's CPU, every working dtype.
inline std::vector<Where> everywhere(std::vector<DType> dtypes = {DType::f32, DType::bf16}) {
  std::vector<Where> all;
  for (const Isa isa : isas())
    for (const DType dtype : dtypes) all.push_back({{}, isa, dtype});
  return all;
}

// The CPU, and the first GPU if there is one.
inline std::vector<Device> devices() {
  std::vector<Device> all{Device{}};
  if (gpu_count() > 0) all.push_back({DeviceKind::cuda, 0});
  return all;
}

// What tests of code for every device run on: everywhere, and the first GPU if there is one.
inline std::vector<Where> everywhere_and_gpu(std::vector<DType> dtypes = {DType::f32, DType::bf16}) {
  std::vector<Where> all = everywhere(dtypes);
  if (gpu_count() > 0)
    for (const DType dtype : dtypes) all.push_back({{DeviceKind::cuda, 0}, Isa::avx2, dtype});
  return all;
}

// Where a test's tensors lie: in memory that the GPU reaches too, where there is one.
inline Device host() { return {gpu_count() > 0 ? DeviceKind::pinned : DeviceKind::cpu, 0}; }

// Before the host reads what an op wrote, or changes what it reads: a GPU may still be at it.
inline void settle() {
  if (gpu_count() > 0) synchronize({DeviceKind::cuda, 0});
}

inline Context context(const Where& w) { return Context({.device = w.device, .threads = 2, .isa = w.isa}); }

inline std::string label(const Where& w) {
  return std::string(w.device.kind == DeviceKind::cuda ? "cuda" : name_of(w.isa)) + "_" + name_of(w.dtype);
}
inline void PrintTo(const Where& w, std::ostream* out) { *out << label(w); }
inline std::string device_name(const ::testing::TestParamInfo<Device>& info) {
  return info.param.kind == DeviceKind::cuda ? "cuda" : "cpu";
}
inline std::string where_name(const ::testing::TestParamInfo<Where>& info) { return label(info.param); }

// ---- tensors on the host ------------------------------------------------------------------------------------------
inline double element(Tensor t, int64_t i) {
  switch (t.dtype()) {
    case DType::f32: return static_cast<const float*>(t.raw())[i];
    case DType::bf16: return to_float(static_cast<const bf16*>(t.raw())[i]);
    case DType::f64: return static_cast<const double*>(t.raw())[i];
    case DType::i64: return static_cast<double>(static_cast<const int64_t*>(t.raw())[i]);
    case DType::i32: return static_cast<const int32_t*>(t.raw())[i];
    case DType::u8: return static_cast<const uint8_t*>(t.raw())[i];
    default: throw Error("test::element: dtype " + std::string(name_of(t.dtype())));
  }
}

inline double at(Tensor t, int64_t i) {
  settle();
  return element(t, i);
}

// Of a tensor anywhere: a GPU's own memory, too.
inline std::vector<double> values(Tensor t) {
  OwnedTensor copied;
  if (gpu_count() > 0) {
    copied = OwnedTensor({}, t.dtype(), t.shape());
    copy({DeviceKind::cuda, 0}, t, {}, copied.tensor);
    t = copied.tensor;
  }
  std::vector<double> v(static_cast<size_t>(t.numel()));
  for (size_t i = 0; i < v.size(); ++i) v[i] = element(t, static_cast<int64_t>(i));
  return v;
}

inline void assign(Tensor to, const std::vector<double>& v) {
  ASSERT_EQ(static_cast<size_t>(to.numel()), v.size());
  OwnedTensor copied;
  if (gpu_count() > 0) copied = OwnedTensor({}, to.dtype(), to.shape());
  const Tensor t = gpu_count() > 0 ? copied.tensor : to;
  for (size_t i = 0; i < v.size(); ++i) {
    switch (t.dtype()) {
      case DType::f32: static_cast<float*>(t.raw())[i] = static_cast<float>(v[i]); break;
      case DType::bf16: static_cast<bf16*>(t.raw())[i] = to_bf16(static_cast<float>(v[i])); break;
      case DType::f64: static_cast<double*>(t.raw())[i] = v[i]; break;
      case DType::i32: static_cast<int32_t*>(t.raw())[i] = static_cast<int32_t>(v[i]); break;
      case DType::u8: static_cast<uint8_t*>(t.raw())[i] = static_cast<uint8_t>(v[i]); break;
      default: FAIL() << "assign to " << name_of(t.dtype());
    }
  }
  if (gpu_count() > 0) copy({}, t, {DeviceKind::cuda, 0}, to);
}

inline OwnedTensor tensor_of(DType dtype, Shape shape, const std::vector<double>& v) {
  OwnedTensor t(host(), dtype, shape);
  assign(t.tensor, v);
  return t;
}

// Reproducible numbers in about [-1, 1] * scale (SplitMix64), rounded to dtype so that both sides start equal.
inline OwnedTensor random_tensor(DType dtype, Shape shape, uint64_t seed, double scale = 1) {
  std::vector<double> v(static_cast<size_t>(shape.numel()));
  uint64_t state = seed * 0x9E3779B97F4A7C15u + 1;
  for (double& x : v) {
    state += 0x9E3779B97F4A7C15u;
    uint64_t z = state;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    x = scale * (static_cast<double>(z >> 40) * 0x1p-23 - 1);
  }
  return tensor_of(dtype, shape, v);
}

// ---- how near -----------------------------------------------------------------------------------------------------
// max|a - b| / max|b| and |a - b|_2 / |b|_2, b being the truth. NaN where a has one.
inline double relative_max(const std::vector<double>& a, const std::vector<double>& b) {
  double d = 0, m = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    const double e = std::abs(a[i] - b[i]);
    if (std::isnan(e)) return e;
    d = std::max(d, e);
    m = std::max(m, std::abs(b[i]));
  }
  return m > 0 ? d / m : d;
}

inline double relative_l2(const std::vector<double>& a, const std::vector<double>& b) {
  double d = 0, m = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    d += (a[i] - b[i]) * (a[i] - b[i]);
    m += b[i] * b[i];
  }
  return m > 0 ? std::sqrt(d / m) : std::sqrt(d);
}

// Tolerances, in one place. An op in f32 differs from the double truth by rounding alone; in bf16 its inputs are equal
// and its result is rounded once (2^-9), a little more where an intermediate is stored.
inline double op_tolerance(DType dtype) { return dtype == DType::f32 ? 2e-6 : 6e-3; }

#define EXPECT_CLOSE_MAX(got, want, tolerance) EXPECT_LE(::uvic::test::relative_max(got, want), tolerance)
#define EXPECT_CLOSE_L2(got, want, tolerance) EXPECT_LE(::uvic::test::relative_l2(got, want), tolerance)

// The message of the Error that f throws; fails the test if it throws none.
inline std::string error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  ADD_FAILURE() << "no Error was thrown";
  return {};
}

// ---- golden data --------------------------------------------------------------------------------------------------
// The folder of golden files of one kind ("uvic", "sampler", "eval"): UVIC_REFERENCE_DIR (such a folder, or one that
// holds it), else the full set beside the checkout, else the small copy in tests/data.
inline std::filesystem::path reference_dir(const std::string& kind) {
  namespace fs = std::filesystem;
  if (const char* dir = std::getenv("UVIC_REFERENCE_DIR"); dir && *dir) {
    if (fs::exists(fs::path(dir) / kind)) return fs::path(dir) / kind;
    if (kind == "uvic") return dir;
  }
  const fs::path source = UVIC_SOURCE_DIR;
  if (const fs::path full = source.parent_path() / "shared" / "reference" / kind; fs::exists(full)) return full;
  return source / "tests" / "data" / kind;
}

// Golden files there whose name begins with prefix and ends with suffix, sorted. Never empty: a test over nothing
// fails.
inline std::vector<std::filesystem::path> golden_files(const std::filesystem::path& dir, const std::string& prefix,
                                                       const std::string& suffix) {
  std::vector<std::filesystem::path> found;
  for (const auto& entry : std::filesystem::directory_iterator(dir)) {
    const std::string n = entry.path().filename().string();
    if (n.starts_with(prefix) && n.ends_with(suffix)) found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  EXPECT_FALSE(found.empty()) << "no " << prefix << "*" << suffix << " in " << dir;
  return found;
}

}  // namespace uvic::test
