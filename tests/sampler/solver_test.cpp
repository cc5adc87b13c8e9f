// Every golden run of every solver that is in: the result, the states on the way, and what the network was called with.

#include <tuple>

#include "sampler/guidance.h"
#include "tests/sampler/golden.h"

namespace uvic {
namespace {

using test::Case;
using test::Golden;

// k-diffusion and EDM, in the variance-exploding frame: y = x / alpha, and what they call a time is sigma_ve. Their
// networks take sigma, ours t on the VP SDE, or the index on a discrete schedule.
bool is_karras(const Case& c) { return c.file == "karras_heun"; }

Schedule schedule_of(const Case& c) {
  const std::string name = c.str("schedule"), label = c.str("label");
  if (is_karras(c))
    return name == "sd" ? Schedule::named(name, LabelKind::index).linear_in_lambda() : Schedule::vp_sde(LabelKind::t);
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

SamplerOptions karras_options_of(const Case& c, const Schedule& schedule) {
  static const std::map<std::string, std::pair<std::string, int>> solvers = {{"sample_euler", {"ddim", 0}},
                                                                             {"sample_euler_ancestral", {"ddim", 0}},
                                                                             {"sample_heun", {"heun", 0}},
                                                                             {"edm_sampler", {"heun", 0}},
                                                                             {"sample_dpmpp_2m", {"dpm++", 2}},
                                                                             {"sample_dpmpp_2m_sde", {"sde-dpm++", 2}},
                                                                             {"sample_dpmpp_3m_sde", {"sde-dpm++", 3}}};
  SamplerOptions o;
  o.steps = c.params.at("nfe");
  const std::string sampler = c.str("sampler"), sigmas = c.str("sigmas");
  if (sampler == "ablation_sampler") {
    o.solver = c.str("solver") == "euler" ? "euler-ode" : "heun-ode";
    o.t_end = c.params.at("epsilon_s");
    return o;
  }
  UVIC_CHECK(solvers.contains(sampler), c.file, ':', c.name, ": a solver that no test knows, ", sampler);
  std::tie(o.solver, o.order) = solvers.at(sampler);
  o.eta = sampler == "sample_euler_ancestral" ? 1 : 0;
  o.taylor = o.order == 3;
  o.lower_order_final = false;
  o.spacing = sigmas.starts_with("t_to_sigma") ? "time" : "karras";
  if (o.solver == "dpm++" || o.solver == "sde-dpm++") o.final_sigma = "zero";
  if (c.str("schedule") != "sd") {
    const bool edm = sampler == "edm_sampler";
    UVIC_CHECK(edm || sigmas == "karras(n, 0.01, 80, rho 7) + [0]", c.name, ": sigmas that no test knows, ", sigmas);
    const auto t_of = [&](double sigma) { return schedule.inverse_lambda(-std::log(sigma)); };
    o.t_start = t_of(c.params.value("sigma_max", 80.0));
    o.t_end = t_of(c.params.value("sigma_min", 0.01));
  }
  o.integer_labels = c.params.value("quantize", false);
  const bool edm = sampler == "edm_sampler";
  o.churn = {.amount = c.params.value(edm ? "S_churn" : "s_churn", 0.0),
             .sigma_min = c.params.value(edm ? "S_min" : "s_tmin", 0.0),
             .sigma_max = c.params.value(edm ? "S_max" : "s_tmax", 1e9),
             .noise = c.params.value(edm ? "S_noise" : "s_noise", 1.0)};
  return o;
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
    o.flip_d2 = o.solver == "sde-dpm++";
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

class SolverTest : public ::testing::TestWithParam<std::tuple<DType, Device>> {
 protected:
  void run(const Case& c);
  Golden golden_;
  std::map<std::string, std::vector<double>> noise_;  // by size
  const DType dtype_ = std::get<DType>(GetParam());
  Context ctx_{{.device = std::get<Device>(GetParam())}};
};

void SolverTest::run(const Case& c) {
  const Schedule schedule = schedule_of(c);
  const bool karras = is_karras(c), continuous = schedule.knots() == 0;
  const std::string label = karras ? continuous ? "t" : "i in 0..999" : c.str("label");
  test::ClosedForm net(golden_, c.str("net"), c.size(),
                       {golden_, continuous ? "vpsde" : c.str("schedule"), label, schedule.knots(), karras});
  OwnedTensor x = golden_.tensor("noise", "x_T." + c.size(), dtype_);
  const int64_t batch = x.tensor.dim(0);

  std::vector<double> labels;
  Denoiser denoiser = net.denoiser(&labels);
  if (c.params.contains("usual_scale")) {
    std::vector<int> y, both(static_cast<size_t>(batch), 2);
    for (int i = 0; i < batch; ++i) y.push_back(i % 2);
    both.insert(both.end(), y.begin(), y.end());
    denoiser =
        guided(net.denoiser(&labels, y), net.denoiser(&labels, both), {.scale = c.params.at("usual_scale")}, schedule);
  }
  if (!noise_.contains(c.size())) noise_[c.size()] = golden_.values("noise", "noise." + c.size());

  const SamplerOptions options = karras ? karras_options_of(c, schedule) : options_of(c);
  if (karras) {  // theirs start at sigma_ve times the noise
    std::vector<double> scaled = test::values(x.tensor);
    for (double& v : scaled) v *= schedule.at(options.t_start > 0 ? options.t_start : 1).sigma;
    test::assign(x.tensor, scaled);
  }
  const std::vector<double> start = test::values(x.tensor);
  if (options.method == "singlestep-fixed" && options.steps < options.order) {  // theirs returns its input
    EXPECT_THROW(sample(ctx_, schedule, denoiser, options, {}, x.tensor), Error);
    EXPECT_EQ(test::values(x.tensor), golden_.values(c.file, c.name + ".final"));
    return;
  }
  // U-ViT snaps the inner times of this grid to a table of ten million: see the notes of the reference.
  const bool snapped = c.str("skip_type") == "time_quadratic" && c.str("source").starts_with("U-ViT");
  const double scale = std::max(1.0, c.params.at("max_abs").get<double>());
  const double tolerance = std::max(snapped ? 1e-5 * scale : 0, c.tolerance(dtype_));
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
  // With churn theirs holds states after the noise was added.
  const bool churned = options.churn.amount > 0;
  if (golden_.has(c.file, c.name + ".traj") && dtype_ == DType::f64 && corrected && !churned) {
    std::vector<double> want = golden_.values(c.file, c.name + ".traj");
    if (karras) {
      const std::vector<double> sigmas = golden_.values(c.file, c.name + ".t");
      for (size_t i = 0; i < traj.size(); ++i) {
        const double sigma = sigmas.at(i / start.size() * static_cast<size_t>(stride));
        traj[i] *= std::sqrt(1 + sigma * sigma);
      }
    }
    if (c.params.value("denoise", false))
      want.insert(want.end(), traj.end() - static_cast<ptrdiff_t>(start.size()), traj.end());  // theirs ends before it
    EXPECT_LE(test::max_difference(traj, want), tolerance);
  }
  if (golden_.has(c.file, c.name + ".labels")) {
    std::vector<double> want = golden_.values(c.file, c.name + ".labels");
    if (karras && continuous)
      for (double& l : labels) l = schedule.at(l).sigma_ve();
    if (want.size() == 2 * labels.size())  // guidance by two calls; ours is one call over twice the rows
      for (size_t i = 0; i < want.size(); ++i) want.erase(want.begin() + static_cast<ptrdiff_t>(i));
    EXPECT_LE(test::max_difference(labels, want), snapped ? 1e-4 : 1e-9);
  }
}

TEST_P(SolverTest, MatchesTheReference) {
  EXPECT_FALSE(golden_.cases().empty());
  for (const Case& c : golden_.cases()) {
    SCOPED_TRACE(c.file + ":" + c.name);
    run(c);
  }
  std::cout << "[ golden   ] " << golden_.cases().size() << " cases run\n";
}

std::string case_name(const ::testing::TestParamInfo<std::tuple<DType, Device>>& test) {
  const auto [dtype, device] = test.param;
  return concat(name_of(dtype), device.kind == DeviceKind::cuda ? "_cuda" : "");
}

INSTANTIATE_TEST_SUITE_P(All, SolverTest,
                         ::testing::Combine(::testing::Values(DType::f64, DType::f32),
                                            ::testing::ValuesIn(test::devices())),
                         case_name);

}  // namespace
}  // namespace uvic
