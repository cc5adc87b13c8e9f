#pragma once

#include "app/metrics/moments.h"

namespace uvic {

// d^2 = |m1 - m2|^2 + tr C1 + tr C2 - 2 tr (C1 C2)^(1/2), and its parts.
struct FrechetDistance {
  double distance = 0;
  double mean_term = 0, trace1 = 0, trace2 = 0, trace_root = 0;
  int64_t rank1 = 0;      // of C1: fewer than its dimensions where images are fewer, or features never change
  int64_t rank_both = 0;  // of C1 C2
};

// tr (C1 C2)^(1/2) is the sum of the singular values of C1^(1/2) C2^(1/2), with roots by symmetric eigenvalues. Those
// of a covariance below the largest times D times 2^-52 are rounding and count as zero, which makes singular
// covariances right, where a root of the product C1 C2 is not. Singular values, and not the roots of the eigenvalues of
// C1^(1/2) C2 C1^(1/2): squares reach rounding at half the digits, and features have hundreds of directions so small.
// Throws Error if the two differ in dimensions, or hold what is not finite or no covariance.
FrechetDistance frechet_distance(const Gaussian& a, const Gaussian& b);

}  // namespace uvic
