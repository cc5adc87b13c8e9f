#include "sampler/sampler.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "kernels/ops/pointwise.h"
#include "sampler/solver.h"

namespace uvic {
namespace {

// One row a solver: what it understands beside steps, spacing, t_end and prediction.
struct Solver {
  const char* name;
  void (*solve)(const Run& run);
  int max_order = 0;                   // 0: order means nothing to it
  bool whole_steps = false;            // on a discrete schedule, evaluates at training steps
  bool clips = false;                  // works on x0
  bool zero_snr = false;               // can start where alpha is 0
  bool draws = false;                  // needs a NoiseSource whatever eta is
  bool eta = false, variance = false;  // understands these options
  bool methods = false;                // method and denoise
  bool taylor = false;
  bool unipc = false;        // bh1 and eps_form
  bool dpm_levels = false;   // spacing linspace, integer_labels, and final_sigma zero
  bool heun = false;         // churn, integer_labels, and karras as its spacing
  bool starts_late = false;  // steps of eps / alpha: from kNoisiest at most
  double t_end = 0;          // its default; 0: the schedule's
};

// lambda where DPM-Solver's published code cuts schedules: of the named ones only cosine begins before it, where alpha
// is 5e-5 and a step is as long as the whole way from here.
constexpr double kNoisiest = -5.1;

const std::set<std::string> kMethods = {"multistep", "singlestep", "singlestep-fixed", "fast"};

void solve_dpm(const Run& run, DpmForm form) {
  run.options.method == "multistep" ? solve_dpm_multistep(run, form) : solve_dpm_singlestep(run, form);
}

constexpr Solver kSolvers[] = {
    {.name = "ddpm",
     .solve = solve_ddpm,
     .whole_steps = true,
     .clips = true,
     .zero_snr = true,
     .draws = true,
     .variance = true},
    {.name = "ddim", .solve = solve_ddim, .whole_steps = true, .clips = true, .zero_snr = true, .eta = true},
    {.name = "dpm++",
     .solve = [](const Run& run) { solve_dpm(run, DpmForm::x0); },
     .max_order = 3,
     .clips = true,
     .zero_snr = true,
     .methods = true,
     .taylor = true,
     .dpm_levels = true},
    {.name = "dpm",
     .solve = [](const Run& run) { solve_dpm(run, DpmForm::eps); },
     .max_order = 3,
     .methods = true,
     .taylor = true,
     .starts_late = true},
    {.name = "unipc", .solve = solve_unipc, .max_order = 3, .clips = true, .unipc = true, .dpm_levels = true},
    {.name = "sde-dpm++",
     .solve = solve_sde_dpm,
     .max_order = 3,
     .clips = true,
     .zero_snr = true,
     .draws = true,
     .taylor = true,
     .dpm_levels = true},
    {.name = "heun", .solve = solve_heun, .heun = true, .starts_late = true},
    {.name = "heun-ode", .solve = solve_heun_ode, .t_end = 1e-3},
    {.name = "euler-maruyama", .solve = solve_euler_maruyama, .draws = true, .t_end = 1e-3},
    {.name = "euler-ode", .solve = solve_euler_ode, .t_end = 1e-3},
};

const Solver& solver_named(const std::string& name) {
  for (const Solver& s : kSolvers)
    if (name == s.name) return s;
  std::string names;
  for (const Solver& s : kSolvers) names += std::string(names.empty() ? "" : ", ") + s.name;
  fail("sampler \"", name, "\": must be one of ", names);
}

Spacing spacing_of(const Schedule& schedule, const Solver& s, const std::string& name) {
  if (name != "auto") return spacing_named(name);
  if (s.heun) return Spacing::karras;
  return s.max_order && !schedule.knots() ? Spacing::logsnr : Spacing::time;
}

double start_of(const Schedule& schedule, const Solver& s, const SamplerOptions& o) {
  const double start = o.t_start > 0 ? o.t_start : schedule.t_start();
  return s.starts_late && schedule.at(start).lambda < kNoisiest ? schedule.inverse_lambda(kNoisiest) : start;
}

bool counts_steps(Spacing spacing) { return spacing == Spacing::leading || spacing == Spacing::trailing; }

bool at_knots(const Schedule& schedule, const Solver& s, Spacing spacing) {
  return s.whole_steps && schedule.knots() && (counts_steps(spacing) || spacing == Spacing::time);
}

void draw_normal(Context& ctx, std::span<const uint64_t> seeds, Stream stream, int draw, Tensor out) {
  const auto rows = static_cast<int64_t>(seeds.size());
  UVIC_CHECK(rows > 0 && out.rank() >= 1 && out.dim(0) == rows, "noise for ", rows, " seeds cannot fill ", out.shape());
  std::vector<RandomKey> keys;
  for (const uint64_t seed : seeds)
    keys.push_back({.seed = seed, .draw = static_cast<uint32_t>(draw), .stream = stream});
  random_normal(ctx, keys, out.view({rows, out.numel() / rows}));
}

}  // namespace

std::vector<std::string> solver_names() {
  std::vector<std::string> names;
  for (const Solver& s : kSolvers) names.emplace_back(s.name);
  return names;
}

void validate(const Schedule& schedule, const SamplerOptions& o) {
  const Solver& s = solver_named(o.solver);
  const std::string who = concat("sampler ", s.name, ": ");
  UVIC_CHECK(o.steps >= 1, who, "steps must be 1 or more, got ", o.steps);
  if (s.max_order) {
    UVIC_CHECK(0 <= o.order && o.order <= s.max_order, who, "order must be 1 to ", s.max_order, ", got ", o.order);
    const bool falls = o.method == "singlestep" || o.method == "fast";  // to a lower order where steps do not suffice
    UVIC_CHECK(o.order <= o.steps || falls, who, "order ", o.order, " needs at least that many steps, got ", o.steps);
  } else {
    UVIC_CHECK(o.order == 0, who, "has no order to choose, got ", o.order, "; dpm++, dpm, unipc and sde-dpm++ have");
  }
  UVIC_CHECK(kMethods.contains(o.method), who, "method must be multistep, singlestep, singlestep-fixed or fast, got \"",
             o.method, '"');
  const bool multistep = o.method == "multistep";
  UVIC_CHECK(multistep || s.methods, who, "has no method to choose, got \"", o.method, "\"; dpm++ and dpm have");
  UVIC_CHECK(!o.denoise || s.methods, who, "takes no denoise; dpm++ and dpm do");
  UVIC_CHECK(!o.taylor || s.taylor, who, "takes no taylor; dpm++, dpm and sde-dpm++ do");
  UVIC_CHECK(s.unipc || (!o.bh1 && !o.eps_form), who, "takes neither bh1 nor eps_form; unipc does");
  UVIC_CHECK(std::isfinite(o.eta) && o.eta >= 0, who, "eta must be 0 or more, got ", o.eta);
  UVIC_CHECK(o.eta == 0 || s.eta, who, "takes no eta, got ", o.eta, "; ddim does");
  const bool bounded = o.x0.clip || o.x0.threshold_ratio > 0;
  UVIC_CHECK(!bounded || (s.clips && !o.eps_form), who,
             "cannot clip or threshold, as it never forms x0; ddpm, ddim, dpm++, unipc and sde-dpm++ do");
  UVIC_CHECK(0 <= o.x0.threshold_ratio && o.x0.threshold_ratio <= 1, who, "threshold_ratio must be in [0, 1], got ",
             o.x0.threshold_ratio);
  UVIC_CHECK(o.x0.threshold_floor > 0, who, "threshold_floor must be above 0, got ", o.x0.threshold_floor);
  UVIC_CHECK(o.variance == "small" || o.variance == "large", who, "variance must be small or large, got \"", o.variance,
             '"');
  UVIC_CHECK(o.variance == "small" || s.variance, who, "takes no variance; ddpm does");

  const Spacing spacing = spacing_of(schedule, s, o.spacing);
  const bool knots = at_knots(schedule, s, spacing);
  UVIC_CHECK(knots || !counts_steps(spacing), who, "spacing ", name_of(spacing),
             " is for ddpm and ddim on a discrete schedule; choose one of time, logsnr, quadratic, karras");
  UVIC_CHECK(o.steps_offset == 0 || spacing == Spacing::leading, who, "steps_offset needs spacing leading, not ",
             name_of(spacing));
  UVIC_CHECK(o.steps_offset >= 0, who, "steps_offset must be 0 or more, got ", o.steps_offset);
  const double start = start_of(schedule, s, o);
  UVIC_CHECK(o.t_start == 0 || (0 < o.t_start && o.t_start <= 1), who, "t_start must be in (0, 1], got ", o.t_start);
  UVIC_CHECK(0 <= o.t_end && o.t_end < start, who, "t_end must be in (0, ", start, "), got ", o.t_end);
  UVIC_CHECK(o.t_end == 0 || !knots, who, "walks whole training steps with spacing ", name_of(spacing),
             ": t_end must be 0, got ", o.t_end);
  const bool levels = s.dpm_levels && multistep, linspace = spacing == Spacing::linspace;
  UVIC_CHECK(!linspace || (levels && schedule.knots()), who,
             "spacing linspace is for dpm++ multistep, unipc and sde-dpm++ on a discrete schedule");
  UVIC_CHECK(!o.integer_labels || ((levels || s.heun) && schedule.knots()), who,
             "integer_labels are for dpm++ multistep, unipc, sde-dpm++ and heun on a discrete schedule");
  const Churn& c = o.churn;
  UVIC_CHECK(c.amount == 0 || s.heun, who, "takes no churn; heun does");
  UVIC_CHECK(c.amount >= 0 && c.sigma_min >= 0 && c.sigma_max >= c.sigma_min && c.noise >= 0, who,
             "churn, its range of sigma and its noise must be 0 or more, got ", c.amount, " in ", c.sigma_min, " to ",
             c.sigma_max, " with noise ", c.noise);
  if (schedule.at(start).alpha == 0) {
    UVIC_CHECK(s.zero_snr && multistep, who, "cannot start without any signal, as a schedule of zero terminal SNR does",
               "; ddpm, ddim, dpm++ multistep and sde-dpm++ can");
    UVIC_CHECK(o.prediction != Prediction::eps, who, "without any signal at the start (zero terminal SNR), the noise ",
               "says nothing of the image: the network must predict v or x0");
  }
  const std::string& last = o.final_sigma;
  UVIC_CHECK(last == "auto" || last == "zero" || last == "min", who, "final_sigma must be auto, zero or min, got \"",
             last, '"');
  UVIC_CHECK(last != "min" || linspace || (s.eta && schedule.knots()), who,
             "final_sigma min is for ddim on a discrete schedule, or for spacing linspace");
  UVIC_CHECK(last != "zero" || s.whole_steps || (levels && !o.eps_form), who,
             "final_sigma zero is for ddpm, ddim, dpm++ multistep, unipc without eps_form and sde-dpm++");
  if (knots)
    knot_grid(schedule, spacing, o.steps, start, o.steps_offset);  // throws if there are too few training steps
}

double start_time(const Schedule& schedule, const SamplerOptions& o) {
  validate(schedule, o);
  const Solver& s = solver_named(o.solver);
  const Spacing spacing = spacing_of(schedule, s, o.spacing);
  const double start = start_of(schedule, s, o);
  return at_knots(schedule, s, spacing) ? knot_grid(schedule, spacing, o.steps, start, o.steps_offset).front() : start;
}

std::vector<NoiseLevel> ancestral_levels(const Run& run) {
  const SamplerOptions& o = run.options;
  const std::vector<double> times = run.at_knots
                                        ? knot_grid(run.schedule, run.spacing, o.steps, o.t_start, o.steps_offset)
                                        : time_grid(run.schedule, run.spacing, o.steps, o.t_start, o.t_end);
  std::vector<NoiseLevel> levels;
  for (const double t : times) levels.push_back(run.schedule.at(t));
  levels.push_back(o.final_sigma == "min" ? run.schedule.at(run.schedule.t_end()) : Schedule::clean());
  return levels;
}

void sample(Context& ctx, const Schedule& schedule, const Denoiser& denoiser, const SamplerOptions& options,
            const NoiseSource& noise, Tensor x, const StepObserver& observe, const KnownPixels& known) {
  validate(schedule, options);
  const Solver& solver = solver_named(options.solver);
  UVIC_CHECK(!x.empty() && x.rank() >= 1 && (x.dtype() == DType::f32 || x.dtype() == DType::f64),
             "sample: x must be [B, ...] f32 or f64, got ", x.shape(), ' ', x.dtype());
  UVIC_CHECK(known.x0.empty() || (known.x0.shape() == x.shape() && known.keep.shape() == x.shape()),
             "sample: known pixels ", known.x0.shape(), " kept by ", known.keep.shape(), " do not fit x ", x.shape());
  UVIC_CHECK(noise || !(solver.draws || options.eta > 0 || options.churn.amount > 0), "sample: sampler ", solver.name,
             " needs a source of noise");
  SamplerOptions o = options;
  if (solver.max_order && o.order == 0) o.order = std::min(2, o.steps);
  o.t_start = start_of(schedule, solver, o);
  if (o.t_end == 0) o.t_end = solver.t_end > 0 ? solver.t_end : schedule.t_end();
  const Spacing spacing = spacing_of(schedule, solver, o.spacing);
  auto scope = ctx.scope(solver.name);
  solver.solve({.ctx = ctx,
                .schedule = schedule,
                .options = o,
                .spacing = spacing,
                .at_knots = at_knots(schedule, solver, spacing),
                .predict = Predictor(ctx, denoiser, o.prediction, o.x0, known),
                .noise = noise,
                .observe = observe,
                .x = x});
}

void initial_noise(Context& ctx, std::span<const uint64_t> seeds, Tensor x) {
  draw_normal(ctx, seeds, Stream::initial_noise, 0, x);
}

NoiseSource solver_noise(Context& ctx, std::vector<uint64_t> seeds) {
  return [&ctx, seeds = std::move(seeds)](int draw, Tensor out) {
    draw_normal(ctx, seeds, Stream::solver_noise, draw, out);
  };
}

}  // namespace uvic
