#pragma once

// What the solvers of the DPM family share (Lu et al., arXiv 2206.00927 and 2211.01095). Each update is an exponential
// integrator in lambda for f = eps (DPM-Solver) or f = x0 (DPM-Solver++):
//   x <- A x + C (E1 f_0 + E2 D1 + E3 D2),  E1 = exp(z) - 1,  E2 = E1/z - 1,  E3 = E2/z - 1/2
//   eps form  A = alpha_t / alpha_s, C = -sigma_t, z = h      x0 form  A = sigma_t / sigma_s, C = -alpha_t, z = -h
// with h = lambda_t - lambda_s and D1, D2 divided differences of f.

#include <cmath>

#include "sampler/solver.h"

namespace uvic {

struct DpmStep {
  double h, z, a, c, e1, e2, e3;

  DpmStep(DpmForm form, const NoiseLevel& from, const NoiseLevel& to)
      : h(to.lambda - from.lambda),
        z(form == DpmForm::eps ? h : -h),
        a(form == DpmForm::eps ? std::exp(to.log_alpha - from.log_alpha) : to.sigma / from.sigma),
        c(form == DpmForm::eps ? -to.sigma : -to.alpha),
        e1(std::expm1(z)),
        e2(e1 / z - 1),
        e3(e2 / z - 0.5) {}
};

// The levels that a multistep solver walks, options.steps + 1 of them; the last is never evaluated.
std::vector<NoiseLevel> dpm_levels(const Run& run);

// Of the update that leads to `to` after evaluation number step, from 0: lower at the start, where there is no past
// yet, and at the end, where errors are no longer smoothed out.
int dpm_order(const Run& run, int step, const NoiseLevel& to);

inline void evaluate(const Run& run, DpmForm form, Tensor x, const NoiseLevel& level, Tensor f) {
  form == DpmForm::eps ? run.predict.eps(x, level, f) : run.predict.x0(x, level, f);
}

}  // namespace uvic
