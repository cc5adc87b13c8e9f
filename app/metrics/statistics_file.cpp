#include "app/metrics/statistics_file.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "model/io/npz.h"

namespace uvic {
namespace {

constexpr const char* kOwnArray = "uvic";

OwnedTensor numbers(const NpzFile& file, const std::string& name) {
  UVIC_CHECK(file.contains(name), file.path().string(), ": not statistics: it has no array ", name);
  OwnedTensor t = file.read(name);
  const DType type = t.tensor.dtype();
  UVIC_CHECK(type == DType::f32 || type == DType::f64, file.path().string(), ": ", name, " is ", type,
             ", not f32 or f64");
  return t;
}

std::vector<double> doubles(Tensor t, const std::string& name) {
  std::vector<double> v(static_cast<size_t>(t.numel()));
  if (t.dtype() == DType::f32) {
    std::copy_n(t.data<float>(), v.size(), v.begin());
  } else {
    std::copy_n(t.data<double>(), v.size(), v.begin());
  }
  UVIC_CHECK(std::all_of(v.begin(), v.end(), [](double x) { return std::isfinite(x); }), name,
             " holds a number that is not finite");
  return v;
}

// Rounding in f32 leaves far less than this share of the largest variance.
void check_covariance(const std::vector<double>& sigma, int64_t dims, const std::string& name) {
  const auto at = [&](int64_t r, int64_t c) { return sigma[static_cast<size_t>(r * dims + c)]; };
  double largest = 0;
  for (int64_t i = 0; i < dims; ++i) largest = std::max(largest, std::abs(at(i, i)));
  for (int64_t r = 0; r < dims; ++r) {
    UVIC_CHECK(at(r, r) >= -1e-3 * largest, name, " is no covariance: variance ", r, " is ", at(r, r));
    for (int64_t c = 0; c < r; ++c)
      UVIC_CHECK(std::abs(at(r, c) - at(c, r)) <= 1e-3 * largest, name, " is no covariance: it is not symmetric at [",
                 r, ", ", c, "]");
  }
}

Gaussian gaussian(const NpzFile& file, const std::string& mu, const std::string& sigma) {
  const OwnedTensor mean = numbers(file, mu), covariance = numbers(file, sigma);
  const int64_t d = mean.tensor.numel();
  const std::string name = file.path().string() + ": ";
  UVIC_CHECK(mean.tensor.rank() == 1 && d > 0 && covariance.tensor.shape() == Shape({d, d}), name, mu, " is ",
             mean.tensor.shape(), " and ", sigma, " is ", covariance.tensor.shape(), ", not [D] and [D, D]");
  Gaussian g{doubles(mean.tensor, name + mu), doubles(covariance.tensor, name + sigma)};
  check_covariance(g.covariance, d, name + sigma);
  return g;
}

Tensor view(const std::vector<double>& v, Shape shape) {
  return {const_cast<double*>(v.data()), DType::f64, shape};  // write_npz reads it
}

}  // namespace

bool holds_statistics(const std::filesystem::path& path) {
  if (path.extension() != ".npz" || !std::filesystem::is_regular_file(path)) return false;
  const NpzFile file(path);
  return file.contains("mu") || file.contains("sigma");
}

Statistics read_statistics(const std::filesystem::path& path) {
  const NpzFile file(path);
  Statistics s{.pool3 = gaussian(file, "mu", "sigma")};
  if (file.contains("mu_s")) s.spatial = gaussian(file, "mu_s", "sigma_s");
  if (!file.contains(kOwnArray)) return s;
  const OwnedTensor text = file.read(kOwnArray, 1 << 16);
  const auto* bytes = static_cast<const char*>(text.tensor.raw());
  try {
    const auto j = nlohmann::json::parse(bytes, bytes + text.tensor.bytes());
    s.kind = {j.at("protocol"), j.at("network"), j.at("pool"), j.at("unit")};
    s.images = j.at("images");
    UVIC_CHECK(s.images >= 0, path.string(), ": ", kOwnArray, " says that it is made from ", s.images, " images");
  } catch (const nlohmann::json::exception&) {
    fail(path.string(), ": ", kOwnArray, ", which says how its features were made, cannot be read");
  }
  return s;
}

void write_statistics(const std::filesystem::path& path, const Statistics& s) {
  const nlohmann::ordered_json j{{"protocol", s.kind.protocol},
                                 {"network", s.kind.network},
                                 {"pool", s.kind.pool},
                                 {"unit", s.kind.unit},
                                 {"images", s.images}};
  std::string text = j.dump();
  std::vector<NamedTensor> arrays;
  const auto add = [&](const Gaussian& g, const std::string& suffix) {
    arrays.push_back({"mu" + suffix, view(g.mean, {g.dims()})});
    arrays.push_back({"sigma" + suffix, view(g.covariance, {g.dims(), g.dims()})});
  };
  add(s.pool3, "");
  if (s.spatial) add(*s.spatial, "_s");
  arrays.push_back({kOwnArray, Tensor(text.data(), DType::u8, {static_cast<int64_t>(text.size())})});
  write_npz(path, arrays);
}

}  // namespace uvic
