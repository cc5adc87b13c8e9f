#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "sampler/denoiser.h"
#include "sampler/schedule.h"

namespace uvic {

// EDM's stochasticity (Karras et al., arXiv 2206.00364, algorithm 2), with sigma = NoiseLevel::sigma_ve(): before a
// step from a sigma within [sigma_min, sigma_max] fresh noise lifts it to (1 + min(amount / intervals, sqrt(2) - 1))
// sigma.
struct Churn {
  double amount = 0, sigma_min = 0, sigma_max = std::numeric_limits<double>::infinity(), noise = 1;
};

// Names and numbers as a user writes them. validate() says what fits together.
struct SamplerOptions {
  std::string solver = "dpm++";
  int steps = 20;                    // network evaluations
  int order = 0;                     // dpm++, dpm: 1, 2 or 3, at most steps; 0: 2, or 1 if there is one step
  std::string method = "multistep";  // dpm++, dpm: multistep, singlestep, singlestep-fixed or fast; dpm_singlestep.cpp
  std::string spacing = "auto";      // time_grid.h; auto: karras for heun, logsnr for the dpm family and unipc on a
                                     // continuous schedule, else time
  double t_start =
      0;  // first time evaluated at; 0: Schedule::t_start(), for dpm and heun where lambda is -5.1 if that is later
  double t_end = 0;                // last time evaluated at or stepped to; 0: Schedule::t_end(), 1e-3 for euler-*
  double eta = 0;                  // ddim: 0 deterministic, 1 as noisy as ddpm
  Churn churn;                     // heun
  std::string variance = "small";  // ddpm: small (of the posterior) or large (beta)
  X0Bounds x0;                     // where the solver works on x0: ddpm, ddim, dpm++, unipc, sde-dpm++
  // What the last step aims at. ddim: zero, or min, the first knot of a discrete schedule; auto is zero. dpm++
  // multistep, unipc, sde-dpm++: t_end (auto) or zero; with spacing linspace zero (auto) or min.
  std::string final_sigma = "auto";
  int steps_offset = 0;           // leading spacing: added to every training step
  bool taylor = false;            // dpm++, dpm: the Taylor form of order 2 (diffusers calls it heun)
  bool lower_order_final = true;  // dpm++, dpm: below 10 steps the order falls to 1 at the end
  bool bh1 = false;               // unipc: B(h) = h in place of exp(h) - 1
  bool eps_form = false;          // unipc: integrates eps in place of x0
  bool integer_labels = false;    // dpm++, unipc, sde-dpm++, heun: the network is given whole training steps
  bool flip_d2 = false;           // sde-dpm++ of order 3: the constant in D2's weight has the sign it has in diffusers
  bool denoise = false;           // dpm++, dpm: one evaluation more, whose x0 is the result
  Prediction prediction = Prediction::eps;  // what the network gives
};

// ddpm, ddim, dpm++, dpm, unipc, sde-dpm++, heun, heun-ode, euler-maruyama, euler-ode: for help texts and errors.
std::vector<std::string> solver_names();

// Throws an Error that names the option, what was got and what is possible. sample() calls it too.
void validate(const Schedule& schedule, const SamplerOptions& options);

// t of the state that sample() takes: of the first evaluation, which t_start, the solver and whole training steps
// decide.
double start_time(const Schedule& schedule, const SamplerOptions& options);

// Overwrites out [B, ...] with standard normal numbers; draw is the step, 0 first. May be empty if the solver is
// deterministic. Each draw is asked for at most once, in rising order.
using NoiseSource = std::function<void(int draw, Tensor out)>;
// Called after each step: step counts from 0, x is the state, read only.
using StepObserver = std::function<void(int step, Tensor x)>;

// Walks x [B, ...] (f32, or f64 in tests) in place from the state at t_start, which at t = 1 is standard normal to all
// purposes (k-diffusion and EDM scale it by that level's sigma), to the result. All temporaries come from
// the arena and are gone when it returns. Where pixels are known, what they determine takes the place of what the
// network says; x must be a noised version of them there.
void sample(Context& ctx, const Schedule& schedule, const Denoiser& denoiser, const SamplerOptions& options,
            const NoiseSource& noise, Tensor x, const StepObserver& observe = {}, const KnownPixels& known = {});

// x_T: row i of x [B, ...] depends on seeds[i] alone, so an image is the same at any batch size.
void initial_noise(Context& ctx, std::span<const uint64_t> seeds, Tensor x);
NoiseSource solver_noise(Context& ctx, std::vector<uint64_t> seeds);  // ctx must outlive it

}  // namespace uvic
