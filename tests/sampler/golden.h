#pragma once

// The golden cases of the samplers: their parameters, their tensors, and the closed-form "networks" they were made
// with.

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "model/io/safetensors.h"
#include "sampler/sampler.h"
#include "tests/check.h"

namespace uvic::test {

struct Case {
  std::string file, name;
  nlohmann::json params;
  int steps() const { return params.at("steps"); }
  std::string size() const { return params.at("size"); }
  std::string str(const char* key, const char* otherwise = "") const { return params.value(key, otherwise); }
  // max_abs and the f32 deviation as measured by those who made the data.
  double tolerance(DType dtype) const;
};

class Golden {
 public:
  Golden();
  const std::vector<Case>& cases() const { return cases_; }  // every entry of cases.json that is a run of a sampler
  const SafetensorsFile& file(const std::string& stem) const;
  bool has(const std::string& stem, const std::string& name) const { return file(stem).contains(name); }
  std::vector<double> values(const std::string& stem, const std::string& name) const;
  Shape shape(const std::string& stem, const std::string& name) const { return file(stem).tensor(name).shape(); }
  OwnedTensor tensor(const std::string& stem, const std::string& name, DType dtype) const;

 private:
  std::vector<Case> cases_;
  mutable std::map<std::string, SafetensorsFile> files_;
};

// The label of a network, to log alpha: written again from the definitions, sharing nothing with sampler/schedule.cpp.
class LabelToAlpha {
 public:
  // schedule: vpsde, linear, sd or cosine; label: the wording of cases.json; knots: M; log_sigma: log(sigma / alpha) is
  // linear between knots, not log alpha.
  LabelToAlpha(const Golden& golden, const std::string& schedule, const std::string& label, int knots = 1000,
               bool log_sigma = false);
  double operator()(double label) const;

 private:
  std::vector<double> knots_;  // log alpha
  bool log_sigma_ = false;
  double scale_ = 1, shift_ = 0;  // t or the position among the knots = scale label + shift
};

// A closed-form noise prediction, row by row, in double.
class ClosedForm {
 public:
  ClosedForm(const Golden& golden, const std::string& net, const std::string& params, LabelToAlpha log_alpha);
  // y: 0 or 1 chooses a component of the mixture, 2 is all of it.
  void eps(const double* x, int64_t n, double label, int y, double* out) const;
  // A Denoiser that appends every label to labels (if not null). y[i] belongs to row i; empty is 2 everywhere.
  Denoiser denoiser(std::vector<double>* labels = nullptr, std::vector<int> y = {}) const;

 private:
  std::string net_;
  LabelToAlpha log_alpha_;
  std::vector<double> w_, mu_, var_;
};

// max |a - b|; NaN where a has one.
inline double max_difference(const std::vector<double>& a, const std::vector<double>& b) {
  double d = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    const double e = std::abs(a.at(i) - b[i]);
    if (std::isnan(e)) return e;
    d = std::max(d, e);
  }
  return a.size() == b.size() ? d : INFINITY;
}

inline double rms_difference(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < b.size(); ++i) sum += (a.at(i) - b[i]) * (a.at(i) - b[i]);
  return std::sqrt(sum / static_cast<double>(b.size()));
}

}  // namespace uvic::test
