#include "tests/sampler/golden.h"

#include <fstream>

namespace uvic::test {

double Case::tolerance(DType dtype) const {
  const double scale = std::max(1.0, params.at("max_abs").get<double>());
  if (dtype == DType::f64) return 1e-10 * scale;
  return std::max(10 * params.value("f32_dev_f64coef", 0.0), 1e-5 * scale);
}

Golden::Golden() {
  const auto path = reference_dir("sampler") / "cases.json";
  std::ifstream in(path);
  UVIC_CHECK(in, path.string(), ": cannot be read");
  const nlohmann::json all = nlohmann::json::parse(in);
  for (const auto& [file, cases] : all.items())
    for (const auto& [name, params] : cases.items())
      if (params.contains("sampler")) cases_.push_back({file, name, params});
}

const SafetensorsFile& Golden::file(const std::string& stem) const {
  auto it = files_.find(stem);
  if (it == files_.end())
    it = files_.emplace(stem, SafetensorsFile(reference_dir("sampler") / (stem + ".safetensors"))).first;
  return it->second;
}

std::vector<double> Golden::values(const std::string& stem, const std::string& name) const {
  return test::values(file(stem).tensor(name));
}

OwnedTensor Golden::tensor(const std::string& stem, const std::string& name, DType dtype) const {
  return tensor_of(dtype, shape(stem, name), values(stem, name));
}

LabelToAlpha::LabelToAlpha(const Golden& golden, const std::string& schedule, const std::string& label, int knots,
                           bool log_sigma)
    : log_sigma_(log_sigma) {
  if (schedule == "vpsde") {
    UVIC_CHECK(label == "999*t" || label == "t", "golden: label ", label, " of vpsde");
    scale_ = label == "t" ? 1 : 1 / 999.0;
    return;
  }
  double sum = 0;
  for (const double beta : golden.values("schedules", "disc." + schedule + ".beta")) {
    knots_.push_back(sum += 0.5 * std::log1p(-beta));
    if (static_cast<int>(knots_.size()) == knots) break;
  }
  if (label == "1000*t") {
    shift_ = -1;
  } else if (label.starts_with("1000*(t-1/")) {
    scale_ = knots / 1000.0;
  } else {
    UVIC_CHECK(label.starts_with("i in 0..999"), "golden: label ", label);
  }
}

double LabelToAlpha::operator()(double label) const {
  const double u = scale_ * label + shift_;
  if (knots_.empty()) return -u * u * (20 - 0.1) / 4 - 0.1 * u / 2;
  const double i = std::clamp(std::floor(u), 0.0, static_cast<double>(knots_.size() - 2));
  const double below = knots_[static_cast<size_t>(i)], above = knots_[static_cast<size_t>(i) + 1];
  if (!log_sigma_) return below + (u - i) * (above - below);
  const auto log_sigma = [](double log_alpha) { return 0.5 * std::log(std::expm1(-2 * log_alpha)); };
  const double s = std::exp(log_sigma(below) + (u - i) * (log_sigma(above) - log_sigma(below)));
  return -0.5 * std::log1p(s * s);
}

ClosedForm::ClosedForm(const Golden& golden, const std::string& net, const std::string& params, LabelToAlpha log_alpha)
    : net_(net), log_alpha_(std::move(log_alpha)) {
  UVIC_CHECK(net == "gmm" || net == "lin" || net == "probe", "golden: network ", net);
  if (net != "gmm") return;
  w_ = golden.values("networks", "gmm." + params + ".w");
  mu_ = golden.values("networks", "gmm." + params + ".mu");
  var_ = golden.values("networks", "gmm." + params + ".var");
}

void ClosedForm::eps(const double* x, int64_t n, double label, int y, double* out) const {
  if (net_ == "probe") {
    for (int64_t i = 0; i < n; ++i)
      out[i] = (0.85 + 0.15 * std::sin(0.02 * label)) * x[i] + 0.1 * std::cos(0.01 * label + 0.5);
    return;
  }
  const double log_alpha = log_alpha_(label), alpha = std::exp(log_alpha), sigma2 = -std::expm1(2 * log_alpha);
  const double sigma = std::sqrt(sigma2);
  if (net_ == "lin") {
    for (int64_t i = 0; i < n; ++i) out[i] = sigma / (0.25 * alpha * alpha + sigma2) * x[i];
    return;
  }
  double l[2];
  for (int64_t k = 0; k < 2; ++k) {
    l[k] = std::log(w_[static_cast<size_t>(k)]);
    for (int64_t i = 0; i < n; ++i) {
      const auto at = static_cast<size_t>(k * n + i);
      const double s = alpha * alpha * var_[at] + sigma2, d = x[i] - alpha * mu_[at];
      l[k] -= 0.5 * (d * d / s + std::log(s));
    }
  }
  const double r1 = y == 2 ? 1 / (1 + std::exp(l[0] - l[1])) : y;
  for (int64_t i = 0; i < n; ++i) {
    out[i] = 0;
    for (int64_t k = 0; k < 2; ++k) {
      const auto at = static_cast<size_t>(k * n + i);
      const double s = alpha * alpha * var_[at] + sigma2;
      out[i] += sigma * (k ? r1 : 1 - r1) * (x[i] - alpha * mu_[at]) / s;
    }
  }
}

Denoiser ClosedForm::denoiser(std::vector<double>* labels, std::vector<int> y) const {
  return [net = *this, labels, y = std::move(y)](Context&, Tensor x, double label, Tensor out) {
    if (labels) labels->push_back(label);
    const std::vector<double> in = test::values(x);
    std::vector<double> result(in.size());
    const int64_t rows = x.dim(0), n = x.numel() / rows;
    for (int64_t b = 0; b < rows; ++b)
      net.eps(in.data() + b * n, n, label, y.empty() ? 2 : y.at(static_cast<size_t>(b)), result.data() + b * n);
    assign(out, result);
  };
}

}  // namespace uvic::test
