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

Gaussian gaussian(const NpzFile& file, const std::string& mu, const std::string& sigma) {
  const OwnedTensor mean = numbers(file, mu), covariance = numbers(file, sigma);
  const int64_t d = mean.tensor.numel();
  const std::string name = file.path().string() + ": ";
  UVIC_CHECK(mean.tensor.rank() == 1 && d > 0 && covariance.tensor.shape() == Shape({d, d}), name, mu, " is ",
             mean.tensor.shape(), " and ", sigma, " is ", covariance.tensor.shape(), ", not [D] and [D, D]");
  return {doubles(mean.tensor, name + mu), doubles(covariance.tensor, name + sigma)};
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
