#pragma once

// Gradients against central differences, for any op or module whose inputs are f32: no second framework needed.

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "tests/check.h"

namespace uvic::test {

// One input of the function under test: value is f32 and is moved in place (and put back); gradient, of the same shape,
// is what the backward pass says d loss / d value is.
struct Variable {
  std::string name;
  Tensor value, gradient;
};

// sum y . direction, in double: turns an output of any shape into a loss whose gradient at y is direction.
inline double projection(Tensor y, Tensor direction) {
  const std::vector<double> a = values(y), b = values(direction);
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// Moves every element of variable by step * (+1 or -1) along several random directions u, and compares the slope of
// loss with gradient . u. Returns the largest difference in units of |gradient|_2, which is the root mean square of
// gradient . u: near 1 for a wrong gradient. The four-point rule's truncation error falls with step^4, so step can be
// large enough for the rounding of an f32 loss, about 1e-7 / step.
inline double gradient_error(const Variable& variable, const std::function<double()>& loss, double step = 0x1p-6,
                             int directions = 4) {
  const std::vector<double> kept = values(variable.value);
  const std::vector<double> gradient = values(variable.gradient);
  double norm = 0, worst = 0;
  for (const double g : gradient) norm += g * g;
  for (int k = 0; k < directions; ++k) {
    const auto u = values(random_tensor(DType::f32, {static_cast<int64_t>(kept.size())}, 1000 + uint64_t(k)).tensor);
    const auto at = [&](double distance) {
      std::vector<double> moved = kept;
      for (size_t i = 0; i < kept.size(); ++i) moved[i] += distance * std::copysign(1.0, u[i]);
      assign(variable.value, moved);
      return loss();
    };
    double slope = 0;
    for (size_t i = 0; i < kept.size(); ++i) slope += gradient[i] * std::copysign(1.0, u[i]);
    const double near = at(step) - at(-step), far = at(2 * step) - at(-2 * step);
    const double measured = (8 * near - far) / (12 * step);
    const double error = std::abs(measured - slope);
    worst = std::isnan(error) ? error : std::max(worst, error);
    assign(variable.value, kept);
    if (std::isnan(error)) break;
  }
  return norm > 0 ? worst / std::sqrt(norm) : worst;
}

}  // namespace uvic::test

#define EXPECT_GRADIENT(variable, loss, tolerance) \
  EXPECT_LE(::uvic::test::gradient_error(variable, loss), tolerance) << "d loss / d " << (variable).name
