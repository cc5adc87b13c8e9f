#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "model/uvic.h"
#include "sampler/sampler.h"

namespace uvic {

struct GeneratorOptions {
  SamplerOptions sampler;
  double cfg_scale = 1;  // the usual convention: uncond + scale (cond - uncond); 1 is off
};

// Turns seeds and conditions into images: joins a network, a schedule and a solver.
class Generator {
 public:
  // net must outlive it. Throws Error if the options do not fit the schedule or the network (guidance without a null
  // class).
  Generator(const UViC& net, const Schedule& schedule, const GeneratorOptions& options);

  struct Request {
    std::span<const uint64_t> seeds;         // [B], one an image
    std::span<const int32_t> labels = {};    // [B], for models with labels
    Tensor context = {}, null_context = {};  // [B, T, clip_dim] f32, for text models; null_context to guide
    bool noise_given = false;                // images holds x_T already, instead of noise from seeds
  };
  // Overwrites images [B, C, h, w] f32 with the result, before rounding to 8 bits. step(i) is called after every solver
  // step.
  void generate(Context& ctx, const Request& request, Tensor images, const std::function<void(int)>& step = {}) const;

  bool guided() const { return options_.cfg_scale != 1; }

 private:
  Denoiser denoiser(Context& ctx, const Request& request) const;

  const UViC& net_;
  Schedule schedule_;
  GeneratorOptions options_;
};

}  // namespace uvic
