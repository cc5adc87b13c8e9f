// Every golden run of every solver that is in: the result, the states on the way, and what the network was called with.

#include <array>
#include <set>

#include "sampler/time_grid.h"
#include "tests/sampler/golden.h"

namespace uvic {
namespace {

using test::Case;
using test::Golden;

// Solver families of the reference that this version does not have. A family that is neither here nor run is a failure.
std::optional<std::string> not_covered(const Case& c) {
  static const std::set<std::string> absent = {"sample_euler",    "sample_euler_ancestral", "sample_heun",
                                               "sample_dpmpp_2m", "sample_dpmpp_2m_sde",    "sample_dpmpp_3m_sde",
                                               "edm_sampler",     "ablation_sampler"};
  const std::string sampler = c.str("sampler");
  if (absent.contains(sampler)) return sampler;
  return std::nullopt;
}

Schedule schedule_of(const Case& c) {
  const std::string name = c.str("schedule"), label = c.str("label");
  if (name == "vpsde") return Schedule::named("vp", label == "t" ? LabelKind::t : LabelKind::t999);
  const Schedule s = Schedule::named(name, label == "1000*t" ? LabelKind::n : LabelKind::index);
  return label.starts_with("1000*(t") ? s.cut() : s;
}

// The names of three programs for three methods: U-ViT's continuous "fast" is what others call singlestep, and its
// discrete "singlestep" is singlestep_fixed.
std::string method_of(const Case& c) {
  const std::string method = c.str("method");
  if (method == "singlestep_fixed") return "singlestep-fixed";
  if (method == "fast") return c.str("sampler") == "dpm_solver" ? "singlestep" : "fast";
  if (method == "singlestep") return c.str("source").starts_with("U-ViT") ? "singlestep-fixed" : "singlestep";
  return method;
}

SamplerOptions options_of(const Case& c) {
  static const std::map<std::string, std::string> spacings = {
      {"time_uniform", "time"}, {"logSNR", "logsnr"}, {"time_quadratic", "quadratic"}, {"t2", "quadratic"}};
  SamplerOptions o;
  o.steps = c.steps();
  const std::string sampler = c.str("sampler");
  if (sampler == "ddpm" || sampler == "ddim") {
    o.solver = sampler;
    o.x0.clip = c.params.at("clip");
    o.eta = c.params.value("eta", 0.0);
    o.variance = c.str("var", "small");
    const std::string spacing = c.str("spacing");
    o.spacing = spacing.starts_with("ddim") ? "leading" : isdigit(spacing[0]) ? "time" : spacing;
    o.steps_offset = c.params.value("steps_offset", 0);
    o.final_sigma = c.params.value("set_alpha_to_one", true) ? "zero" : "min";
  } else if (sampler == "euler_maruyama") {
    o.solver = c.str("mode") == "sde" ? "euler-maruyama" : "euler-ode";
  } else if (sampler == "unipc" || sampler == "sde_dpm_solver_pp") {
    o.solver = sampler == "unipc" ? "unipc" : c.str("algorithm") == "dpmsolver++" ? "dpm++" : "sde-dpm++";
    o.order = c.params.at("order");
    o.bh1 = c.str("variant") == "bh1";
    o.eps_form = c.str("predict") == "noise";
    o.taylor = c.str("solver_type") == "heun";
    o.lower_order_final = c.params.value("lower_order_final", true);
    if (c.params.contains("timestep_spacing")) {
      const bool karras = c.params.value("karras", false);
      o.spacing = karras ? "karras" : c.str("timestep_spacing");
      o.final_sigma = c.str("final_sigmas_type") == "zero" ? "zero" : "min";
      o.integer_labels = karras;
    } else {
      o.spacing = spacings.at(c.str("skip_type"));
      o.t_end = c.params.at("t_end");
    }
  } else {
    UVIC_CHECK(sampler == "dpm_solver_pp" || sampler == "dpm_solver", c.file, ':', c.name,
               ": a solver that no test knows, ", sampler, ' ', c.str("method"));
    o.method = method_of(c);
    o.solver = c.str("predict") == "noise" ? "dpm" : "dpm++";
    o.order = c.params.at("order");
    o.spacing = spacings.at(c.str("skip_type"));
    o.t_end = c.params.at("t_end");
    o.taylor = c.str("solver_type") == "taylor";
    o.lower_order_final = c.params.value("lower_order_final", false);
    o.denoise = c.params.value("denoise_to_zero", false) || c.params.value("denoise", false);
  }
  if (c.params.value("thresholding", false)) {  // U-ViT scales by max_val, the others begin at it
    const double max_val = c.params.value("max_val", 1.0);
    o.x0.threshold_ratio = 0.995;
    (c.str("source").starts_with("U-ViT") ? o.x0.threshold_scale : o.x0.threshold_floor) = max_val;
  }
  return o;
}

NoiseSource rows_of(const std::vector<double>& noise) {
  return [&noise](int draw, Tensor out) {
    const auto n = static_cast<size_t>(out.numel()), first = static_cast<size_t>(draw) * n;
    ASSERT_LE(first + n, noise.size());
    test::assign(out,
                 {noise.begin() + static_cast<ptrdiff_t>(first), noise.begin() + static_cast<ptrdiff_t>(first + n)});
  };
}

class SolverTest : public ::testing::TestWithParam<DType> {
 protected:
  void run(const Case& c);
  Golden golden_;
  std::map<std::string, std::vector<double>> noise_;  // by size
  Context ctx_;
};

void SolverTest::run(const Case& c) {
  const Schedule schedule = schedule_of(c);
  const test::ClosedForm net(golden_, c.str("net"), c.size(),
                             {golden_, c.str("schedule"), c.str("label"), schedule.knots()});
  OwnedTensor x = golden_.tensor("noise", "x_T." + c.size(), GetParam());
  const int64_t batch = x.tensor.dim(0);

  std::vector<double> labels;
  Denoiser denoiser = net.denoiser(&labels);
  if (c.params.contains("usual_scale")) {
    std::vector<int> y, both(static_cast<size_t>(batch), 2);
    for (int i = 0; i < batch; ++i) y.push_back(i % 2);
    both.insert(both.end(), y.begin(), y.end());
    denoiser = guided(net.denoiser(&labels, y), net.denoiser(&labels, both), c.params.at("usual_scale"));
  }
  if (!noise_.contains(c.size())) noise_[c.size()] = golden_.values("noise", "noise." + c.size());

  const std::vector<double> start = test::values(x.tensor);
  const SamplerOptions options = options_of(c);
  if (options.method == "singlestep-fixed" && options.steps < options.order) {  // theirs returns its input
    EXPECT_THROW(sample(ctx_, schedule, denoiser, options, {}, x.tensor), Error);
    EXPECT_EQ(test::values(x.tensor), golden_.values(c.file, c.name + ".final"));
    return;
  }
  // U-ViT snaps the inner times of this grid to a table of ten million: see the notes of the reference.
  const bool snapped = c.str("skip_type") == "time_quadratic" && c.str("source").starts_with("U-ViT");
  const double scale = std::max(1.0, c.params.at("max_abs").get<double>());
  const double tolerance = std::max(snapped ? 1e-5 * scale : 0, c.tolerance(GetParam()));
  const int stride = c.params.value("traj_stride", 1);
  std::vector<double> traj = start;
  sample(ctx_, schedule, denoiser, options, rows_of(noise_.at(c.size())), x.tensor, [&](int step, Tensor state) {
    if ((step + 1) % stride) return;
    const std::vector<double> v = test::values(state);
    traj.insert(traj.end(), v.begin(), v.end());
  });

  EXPECT_LE(test::max_difference(test::values(x.tensor), golden_.values(c.file, c.name + ".final")), tolerance);
  // diffusers' UniPC corrects a state when it leaves it, so that its trajectory holds uncorrected ones.
  const bool corrected = c.str("sampler") != "unipc" || !c.str("source").starts_with("diffusers");
  if (golden_.has(c.file, c.name + ".traj") && GetParam() == DType::f64 && corrected) {
    std::vector<double> want = golden_.values(c.file, c.name + ".traj");
    if (c.params.value("denoise", false))
      want.insert(want.end(), traj.end() - static_cast<ptrdiff_t>(start.size()), traj.end());  // theirs ends before it
    EXPECT_LE(test::max_difference(traj, want), tolerance);
  }
  if (golden_.has(c.file, c.name + ".labels")) {
    std::vector<double> want = golden_.values(c.file, c.name + ".labels");
    if (want.size() == 2 * labels.size())  // guidance by two calls; ours is one call over twice the rows
      for (size_t i = 0; i < want.size(); ++i) want.erase(want.begin() + static_cast<ptrdiff_t>(i));
    EXPECT_LE(test::max_difference(labels, want), snapped ? 1e-4 : 1e-9);
  }
}

TEST_P(SolverTest, MatchesTheReference) {
  int ran = 0;
  std::map<std::string, int> skipped;
  for (const Case& c : golden_.cases()) {
    SCOPED_TRACE(c.file + ":" + c.name);
    if (const auto family = not_covered(c)) {
      ++skipped[*family];
      continue;
    }
    run(c);
    ++ran;
  }
  EXPECT_GT(ran, 0);
  std::cout << "[ golden   ] " << ran << " cases run\n";
  for (const auto& [family, count] : skipped)
    std::cout << "[ golden   ] " << family << ": " << count << " cases, not covered by this version\n";
}

INSTANTIATE_TEST_SUITE_P(All, SolverTest, ::testing::Values(DType::f64, DType::f32),
                         [](const auto& dtype) { return std::string(name_of(dtype.param)); });

}  // namespace
}  // namespace uvic
