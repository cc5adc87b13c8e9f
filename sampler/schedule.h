#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace uvic {

// Variance-preserving noise: x_t = alpha(t) x_0 + sigma(t) n, alpha^2 + sigma^2 = 1, t in [0, 1], noisier as t grows.
// Everything is in double, with expm1 and log1p where the plain form would cancel.

// One point of a schedule: all that a solver ever asks of it.
struct NoiseLevel {
  double t = 0;
  double label = 0;  // what the network is given
  double log_alpha = 0;
  double alpha = 1;
  double sigma = 0;
  double lambda = 0;  // log(alpha / sigma), HALF the log signal-to-noise ratio; infinite where sigma or alpha is 0

  double sigma_ve() const {
    return sigma / alpha;
  }  // of x / alpha = x_0 + sigma_ve n: the sigma of EDM and k-diffusion
};

// How t becomes the number a network is given; which one is a property of its training. T is the number of training
// steps of a discrete schedule, M the number of its knots (T, unless cut() dropped some). Labels need not be whole.
enum class LabelKind : uint8_t {
  t,      // t itself
  t999,   // 999 t: U-ViT's continuous models
  n,      // T t: U-ViT's discrete models, n = 1 .. T at the knots
  index,  // T (t - 1/M): DDPM, diffusers, DPM-Solver; i = 0 .. T-1 at the knots
};

class Schedule {
 public:
  // log alpha = -(beta_max - beta_min) t^2 / 4 - beta_min t / 2 (Song et al., arXiv 2011.13456).
  static Schedule vp_sde(LabelKind labels = LabelKind::t999, double beta_min = 0.1, double beta_max = 20);
  // alpha = cos((t + s) / (1 + s) pi / 2), over its value at t = 0, s = 0.008: U-ViT's VPSDECosine, the continuous form
  // of cosine_betas. At t = 1 alpha is 0 and beta infinite, so that t_start is below.
  static Schedule vp_cosine(LabelKind labels = LabelKind::t999);
  // betas[i] belongs to n = i + 1 and t = (i + 1) / M; log alpha is linear in t between these knots, and the first and
  // last segments are extended beyond them. At least two betas, each in (0, 1).
  static Schedule discrete(std::span<const double> betas, LabelKind labels = LabelKind::n);
  // "vp" (0.1, 20) and "vp-cosine", or a discrete one of 1000 steps: "linear" (DDPM), "sd" (Stable Diffusion's scaled
  // linear) and "cosine", each also as "...-ztsnr", with zero_terminal_snr.
  static Schedule named(const std::string& name, LabelKind labels);

  // DPM-Solver's published form of a discrete schedule: knots with lambda < lambda_min are dropped and t is stretched
  // over the rest, which moves labels too (of the named ones only cosine is touched: M = 996).
  Schedule cut(double lambda_min = -5.1) const;
  // k-diffusion's form of a discrete schedule: between knots lambda is linear in t, not log alpha.
  Schedule linear_in_lambda() const;
  // Of a discrete schedule: alpha is shifted and scaled to 0 at the last knot, the first keeps its own (Lin et al.,
  // arXiv 2305.08891, algorithm 1). lambda is -infinity there: only some solvers can start at it.
  Schedule zero_terminal_snr() const;

  int knots() const { return static_cast<int>(log_alphas_.size()); }  // M; 0 if continuous
  double t_start()
      const;             // where solvers start unless told otherwise: 1, or 0.9946 for vp-cosine, as DPM-Solver has it
  double t_end() const;  // where solvers stop unless told otherwise: 1/M, or 1e-4 if continuous
  double log_alpha(double t) const;
  double beta(double t) const;  // -2 d log alpha / dt: drift -beta x / 2, diffusion sqrt(beta)
  double label(double t) const;
  double inverse_lambda(double lambda) const;  // t
  NoiseLevel at(double t) const;
  static NoiseLevel clean() { return at_log_alpha(0, 0, 0); }  // sigma 0: what a last step may aim at; never evaluated

 private:
  static NoiseLevel at_log_alpha(double t, double label, double log_alpha);
  static Schedule continuous(LabelKind labels);
  int segment_of_t(double t) const;

  bool cosine_ = false;                 // continuous: of the cosine, else of the two betas
  bool linear_in_lambda_ = false;       // discrete
  double beta_min_ = 0, beta_max_ = 0;  // continuous
  std::vector<double> log_alphas_;      // discrete: at t = (i + 1) / M
  double training_steps_ = 0;           // discrete: T
  LabelKind labels_ = LabelKind::t;
};

std::vector<std::string> schedule_names();  // what named() knows

std::vector<double> linear_betas(int n, double first = 1e-4, double last = 0.02);  // Ho et al., arXiv 2006.11239
std::vector<double> scaled_linear_betas(int n, double first = 0.00085, double last = 0.012);  // linear in sqrt(beta)
std::vector<double> cosine_betas(int n);  // Nichol & Dhariwal, arXiv 2102.09672; capped at 0.999

}  // namespace uvic
