#pragma once

#include <limits>

#include "sampler/denoiser.h"
#include "sampler/schedule.h"

namespace uvic {

// Classifier-free guidance (Ho & Salimans, arXiv 2207.12598) in the usual convention, uncond + scale (cond - uncond): 1
// is no guidance, 0 is unconditional, U-ViT's s is scale s + 1.
struct Guidance {
  double scale = 1;
  double rescale = 0;  // share of the way that each image's deviation is brought back to cond's (match_deviation)
  // Guides only where NoiseLevel::sigma_ve is in (sigma_min, sigma_max] (Kynkaanniemi et al., arXiv 2404.07724).
  double sigma_min = 0, sigma_max = std::numeric_limits<double>::infinity();

  bool on() const { return scale != 1; }
};

// Throws Error naming the option as uvic-sample has it.
void validate(const Guidance& guidance);

//   conditional  takes [B, ...] with the condition.
//   paired       takes [2B, ...]: rows 0 .. B-1 as the unconditional side, rows B .. 2B-1 the same x with the
//   condition.
// With scale 1, and outside the interval, it is conditional itself: one evaluation and the same bits. Otherwise paired
// is called once per evaluation.
Denoiser guided(Denoiser conditional, Denoiser paired, const Guidance& guidance, const Schedule& schedule);

}  // namespace uvic
