#include "app/metrics/statistics_file.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "model/io/npz.h"
#include "model/io/torch_arrays.h"

namespace uvic {
namespace fs = std::filesystem;
namespace {

constexpr const char* kOwnArray = "uvic";

bool is_npz(const fs::path& path) { return path.extension() == ".npz"; }
bool is_pt(const fs::path& path) { return path.extension() == ".pt"; }

// The arrays of a file of either kind.
class Arrays {
 public:
  explicit Arrays(const fs::path& path) : path_(path.string()) {
    if (!is_pt(path)) {
      npz_.emplace(path);
      return;
    }
    for (NamedArray& a : read_torch_arrays(path)) held_[a.name] = std::move(a.array);
  }

  const std::string& path() const { return path_; }
  bool contains(const std::string& name) const { return held_.contains(name) || (npz_ && npz_->contains(name)); }
  // Valid as long as this lives.
  Tensor array(const std::string& name, uint64_t max_bytes = uint64_t{1} << 32) {
    UVIC_CHECK(contains(name), path_, ": not statistics: it has no array ", name);
    if (!held_.contains(name)) held_[name] = npz_->read(name, max_bytes);
    return held_[name].tensor;
  }
  Tensor numbers(const std::string& name) {
    const Tensor t = array(name);
    UVIC_CHECK(t.dtype() == DType::f32 || t.dtype() == DType::f64, path_, ": ", name, " is ", t.dtype(),
               ", not f32 or f64");
    return t;
  }

 private:
  std::string path_;
  std::optional<NpzFile> npz_;
  std::map<std::string, OwnedTensor> held_;
};

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

Gaussian gaussian(Arrays& file, const std::string& mu, const std::string& sigma) {
  const Tensor mean = file.numbers(mu), covariance = file.numbers(sigma);
  const int64_t d = mean.numel();
  const std::string name = file.path() + ": ";
  UVIC_CHECK(mean.rank() == 1 && d > 0 && covariance.shape() == Shape({d, d}), name, mu, " is ", mean.shape(), " and ",
             sigma, " is ", covariance.shape(), ", not [D] and [D, D]");
  Gaussian g{doubles(mean, name + mu), doubles(covariance, name + sigma)};
  check_covariance(g.covariance, d, name + sigma);
  return g;
}

Tensor view(const std::vector<double>& v, Shape shape) {
  return {const_cast<double*>(v.data()), DType::f64, shape};  // write_npz reads it
}

}  // namespace

bool holds_statistics(const fs::path& path) {
  if (!fs::is_regular_file(path)) return false;
  if (is_pt(path)) return is_torch_arrays(path);
  if (!is_npz(path)) return false;
  const NpzFile file(path);
  return file.contains("mu") || file.contains("sigma");
}

Statistics read_statistics(const fs::path& path) {
  Arrays file(path);
  Statistics s{.pool3 = gaussian(file, "mu", "sigma")};
  if (file.contains("mu_s")) s.spatial = gaussian(file, "mu_s", "sigma_s");
  if (!file.contains(kOwnArray)) return s;
  const Tensor text = file.array(kOwnArray, 1 << 16);
  const auto* bytes = static_cast<const char*>(text.raw());
  try {
    const auto j = nlohmann::json::parse(bytes, bytes + text.bytes());
    s.kind = {j.at("protocol"), j.at("network"), j.at("pool"), j.at("unit")};
    s.images = j.at("images");
    UVIC_CHECK(s.images >= 0, path.string(), ": ", kOwnArray, " says that it is made from ", s.images, " images");
  } catch (const nlohmann::json::exception&) {
    fail(path.string(), ": ", kOwnArray, ", which says how its features were made, cannot be read");
  }
  return s;
}

void check_statistics_name(const fs::path& path) {
  if (!is_npz(path) && !is_pt(path))
    throw Error(path.string() + ": statistics are written as .npz, or as .pt for torch-fidelity",
                "name it " + fs::path(path).replace_extension(".npz").string());
}

void write_statistics(const fs::path& path, const Statistics& s) {
  check_statistics_name(path);
  const nlohmann::ordered_json j{{"protocol", s.kind.protocol},
                                 {"network", s.kind.network},
                                 {"pool", s.kind.pool},
                                 {"unit", s.kind.unit},
                                 {"images", s.images}};
  std::string text = j.dump();
  std::vector<NamedTensor> arrays;
  std::vector<std::vector<float>> rounded;  // torch-fidelity refuses means of another dtype than its own
  rounded.reserve(2);
  const auto add = [&](const Gaussian& g, const std::string& suffix) {
    Tensor mean = view(g.mean, {g.dims()});
    if (is_pt(path)) mean = Tensor(rounded.emplace_back(g.mean.begin(), g.mean.end()).data(), DType::f32, {g.dims()});
    arrays.push_back({"mu" + suffix, mean});
    arrays.push_back({"sigma" + suffix, view(g.covariance, {g.dims(), g.dims()})});
  };
  add(s.pool3, "");
  if (s.spatial) add(*s.spatial, "_s");
  arrays.push_back({kOwnArray, Tensor(text.data(), DType::u8, {static_cast<int64_t>(text.size())})});
  is_pt(path) ? write_torch_arrays(path, arrays) : write_npz(path, arrays);
}

}  // namespace uvic
