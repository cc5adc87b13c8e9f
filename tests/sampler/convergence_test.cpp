// Deterministic solvers against exact solutions of the probability-flow ODE: the error falls with the order it should.

#include <optional>
#include <set>

#include "sampler/time_grid.h"
#include "tests/sampler/golden.h"

namespace uvic {
namespace {

using test::Golden;

constexpr const char* kFile = "convergence";

double slope(double coarse, double fine, double ratio) { return std::log(coarse / fine) / std::log(ratio); }

// How to walk as one of the reference's tables err.<name> did, which its metadata tells, with n intervals or
// evaluations.
struct Walk {
  Schedule schedule = Schedule::vp_sde(LabelKind::t);
  SamplerOptions options;
  int steps = 0;           // after so many outer steps the error is taken; 0: at the end
  double t_truth = 0;      // where that is; 0: clean data
  bool exploding = false;  // the state is x / alpha, and starts at sigma 80
  bool snapped = false;    // theirs ran on times snapped to a table
};

Walk exploding_walk(const std::string& name, const nlohmann::json& meta, int n) {
  const std::string sigmas = meta.at("sigmas");
  const bool edm = sigmas.starts_with("karras(N, 0.002, 80)");
  UVIC_CHECK(edm || sigmas.starts_with("karras(N+1, 0.01, 80), without"), name, ": sigmas ", sigmas);
  const std::map<std::string, std::string> solvers = {
      {"k_euler", "ddim"}, {"k_heun", "heun"}, {"edm_heun", "heun"}, {"k_dpmpp_2m", "dpm++"}};
  Walk w{.exploding = true};
  const auto t_of = [&](double sigma) { return w.schedule.inverse_lambda(-std::log(sigma)); };
  const int evaluated = edm ? n : n + 1;  // sigmas; ours always go on to 0
  w.options = {.solver = solvers.at(name), .spacing = "karras", .t_start = t_of(80), .t_end = t_of(edm ? 0.002 : 0.01)};
  w.options.steps = w.options.solver == "heun" ? 2 * evaluated - 1 : evaluated;
  if (w.options.solver == "dpm++") w.options.final_sigma = "zero", w.options.lower_order_final = false;
  if (!edm) w.steps = n, w.t_truth = w.options.t_end;
  return w;
}

Walk walk_of(const std::string& name, const nlohmann::json& meta, int n) {
  if (meta.contains("sigmas")) return exploding_walk(name, meta, n);
  Walk w;
  const std::string schedule = meta.at("schedule"), method = meta.value("method", ""), source = meta.at("source");
  w.schedule = schedule == "vpsde" ? Schedule::named("vp", LabelKind::t) : Schedule::named(schedule, LabelKind::index);
  w.options.steps = n;
  if (name == "em_ode") {
    w.options.solver = "euler-ode";
    return w;
  }
  if (name.starts_with("ddim")) {
    w.options.solver = "ddim";
    return w;
  }
  static const std::map<std::string, std::string> spacings = {
      {"logSNR", "logsnr"}, {"time_uniform", "time"}, {"time_quadratic", "quadratic"}};
  w.options.solver = meta.contains("variant") ? "unipc" : meta.at("predict") == "noise" ? "dpm" : "dpm++";
  w.options.order = meta.value("order", 3);
  w.options.spacing = spacings.at(meta.value("skip_type", "logSNR"));
  w.options.lower_order_final = meta.value("lower_order_final", true);
  if (method == "fast") w.options.method = w.options.solver == "dpm" ? "singlestep" : "fast";  // solver_test.cpp
  if (method.starts_with("singlestep")) w.options.method = "singlestep-fixed", w.options.steps = n * w.options.order;
  w.options.t_end = w.t_truth = 1e-3;
  w.snapped = w.options.spacing == "quadratic";
  return w;
}

// The order of a solver that 40 to 80 steps show, lowest and highest; {} for a grid on which they do not, see the notes
// of the reference: uniform in t, `fast` with any remainder, and UniPC ending in a lower order. Third order of the
// multistep form tends to 2, as its first step is of order 1. UniPC gains an order from its corrector.
std::optional<std::pair<double, double>> order_of(const std::string& name, const SamplerOptions& o) {
  if (o.solver == "euler-ode" || name == "k_euler" || o.solver == "ddim") return {{0.9, 1.1}};
  if (o.solver == "heun" || name == "k_dpmpp_2m") return {{1.8, 2.2}};
  if (o.spacing != "logsnr" || o.method == "fast" || o.method == "singlestep") return {};
  if (o.solver != "unipc") {
    const bool second = o.order == 2 || (o.order == 3 && o.method == "multistep");
    return o.order == 1 ? std::pair(0.9, 1.1) : second ? std::pair(1.8, 2.2) : std::pair(2.7, 3.2);
  }
  if (o.lower_order_final && o.order > 1) return {};
  return o.order == 1 ? std::pair(1.8, 2.2) : o.order == 2 ? std::pair(2.85, 3.1) : std::pair(3.4, 4.1);
}

class Table {
 public:
  Table(const Golden& golden, const std::string& name, Device device)
      : golden_(golden), name_(name), ctx_({.device = device}) {
    meta_ = nlohmann::json::parse(golden.file(kFile).metadata().at("err." + name));
  }
  void check();

 private:
  double error_of(const Walk& w, double* largest);

  const Golden& golden_;
  std::string name_;
  nlohmann::json meta_;
  Context ctx_;
};

double Table::error_of(const Walk& w, double* largest) {
  const std::string theirs = w.exploding ? "ve" : meta_.at("schedule").get<std::string>();
  const std::string network = w.schedule.knots() ? theirs : "vpsde";
  const Denoiser denoiser =
      test::ClosedForm(golden_, "gmm", "conv", {golden_, network, w.schedule.knots() ? "i in 0..999" : "t"}).denoiser();
  std::vector<double> state = golden_.values("noise", "x_T.conv");
  if (w.exploding)
    for (double& v : state) v *= w.schedule.at(w.options.t_start).sigma;

  const std::vector<double> points = golden_.values(kFile, theirs + (w.exploding ? ".sigma" : ".t")),
                            truths = golden_.values(kFile, theirs + ".exact_gmm");
  const double point = w.t_truth == 0 ? points.back() : w.exploding ? w.schedule.at(w.t_truth).sigma_ve() : w.t_truth;
  size_t at = 0;
  while (at + 1 < points.size() && std::abs(points[at] - point) > 1e-12 * point) ++at;
  EXPECT_NEAR(points[at], point, 1e-12);
  const auto first = truths.begin() + static_cast<ptrdiff_t>(at * state.size());
  const std::vector<double> truth(first, first + static_cast<ptrdiff_t>(state.size()));

  const OwnedTensor x = test::tensor_of(DType::f64, golden_.shape("noise", "x_T.conv"), state);
  sample(ctx_, w.schedule, denoiser, w.options, {}, x.tensor, [&](int step, Tensor s) {
    if (w.steps == 0 || step + 1 == w.steps) state = test::values(s);
  });
  if (w.exploding && w.t_truth > 0)
    for (double& v : state) v /= w.schedule.at(w.t_truth).alpha;
  *largest = test::max_difference(state, truth);
  return test::rms_difference(state, truth);
}

void Table::check() {
  const std::string table = "err." + name_;
  const std::vector<double> n = golden_.values(kFile, table + ".N"), rms = golden_.values(kFile, table + ".rms"),
                            max = golden_.values(kFile, table + ".max");
  std::map<int, double> error;
  for (size_t i = 0; i < n.size(); ++i) {
    const int count = static_cast<int>(n[i]);
    const Walk w = walk_of(name_, meta_, count);
    double largest = 0;
    error[count] = error_of(w, &largest);
    if (!w.snapped) {
      EXPECT_NEAR(error[count], rms[i], 1e-6 * rms[i] + 2e-11) << count;
      EXPECT_NEAR(largest, max[i], 1e-6 * max[i] + 2e-11) << count;
    } else if (i > 0) {
      const double ratio = n[i] / n[i - 1], ours = slope(error[static_cast<int>(n[i - 1])], error[count], ratio);
      EXPECT_NEAR(ours, slope(rms[i - 1], rms[i], ratio), 0.2) << count;
    }
  }
  const auto order = order_of(name_, walk_of(name_, meta_, 80).options);
  if (!order || !error.contains(40) || !error.contains(80)) return;
  const double s = slope(error.at(40), error.at(80), 2);
  EXPECT_GE(s, order->first);
  EXPECT_LE(s, order->second);
}

class ConvergenceOn : public ::testing::TestWithParam<Device> {};
INSTANTIATE_TEST_SUITE_P(Devices, ConvergenceOn, ::testing::ValuesIn(test::devices()), test::device_name);

TEST_P(ConvergenceOn, ErrorsAreThoseOfTheReference) {
  const Golden golden;
  std::set<std::string> tables;
  for (const std::string& name : golden.file(kFile).names())
    if (name.starts_with("err.")) tables.insert(name.substr(4, name.rfind('.') - 4));
  EXPECT_FALSE(tables.empty());
  for (const std::string& name : tables) {
    SCOPED_TRACE(name);
    Table(golden, name, GetParam()).check();
  }
}

// Data N(0, 0.25): x_t = x_T sqrt((0.25 alpha_t^2 + sigma_t^2) / (0.25 alpha_T^2 + sigma_T^2)), on every kind of
// schedule. Solvers in t need a smooth beta, which only the continuous ones have.
TEST(Convergence, OrderOnTheLinearOde) {
  const auto variance = [](const NoiseLevel& l) { return 0.25 * l.alpha * l.alpha + l.sigma * l.sigma; };
  struct Method {
    SamplerOptions options;
    double expected;
    int per_interval = 1;        // evaluations
    bool goes_to_clean = false;  // by one step more
    bool smooth = false;
  };
  const std::vector<Method> methods = {
      {{.solver = "dpm++", .order = 1}, 1},
      {{.solver = "dpm++", .order = 2}, 2},
      {{.solver = "dpm++", .order = 2, .taylor = true}, 2},
      {{.solver = "dpm++", .order = 2, .method = "singlestep-fixed"}, 2, 2},
      {{.solver = "dpm++", .order = 3, .method = "singlestep-fixed"}, 3, 3},
      {{.solver = "dpm", .order = 1}, 1},
      {{.solver = "dpm", .order = 2}, 2},
      {{.solver = "dpm", .order = 2, .method = "singlestep-fixed", .taylor = true}, 2, 2},
      {{.solver = "dpm", .order = 3, .method = "singlestep-fixed"}, 3, 3},
      {{.solver = "unipc", .order = 1}, 2},
      {{.solver = "unipc", .order = 2, .lower_order_final = false}, 3},
      {{.solver = "unipc", .order = 2, .lower_order_final = false, .bh1 = true}, 3},
      {{.solver = "ddim"}, 1, 1, true},
      {{.solver = "heun"}, 2, 2, true},
      {{.solver = "euler-ode"}, 1, 1, true, true},
      {{.solver = "heun-ode"}, 2, 2, true, true},
  };
  Context ctx;
  for (const char* name : {"vp", "vp-cosine", "linear", "sd"}) {
    const bool continuous = std::string(name).starts_with("vp");
    const Schedule schedule = Schedule::named(name, continuous ? LabelKind::t : LabelKind::n);
    const Denoiser denoiser = [&](Context&, Tensor x, double label, Tensor out) {
      const NoiseLevel l = schedule.at(continuous ? label : label / 1000);
      std::vector<double> v = test::values(x);
      for (double& e : v) e *= l.sigma / variance(l);
      test::assign(out, v);
    };
    for (const Method& m : methods) {
      if (m.smooth && !continuous) continue;
      SamplerOptions options = m.options;
      options.spacing = "logsnr";
      options.t_start = 0.75;  // from 0.9, errors of Euler in t happen to cancel on vp-cosine
      options.t_end = 0.01;
      SCOPED_TRACE(concat(name, ' ', options.solver, " order ", options.order, ' ', options.method));
      double error[2];
      for (const int k : {0, 1}) {
        const int intervals = 80 << k;
        options.steps = intervals * m.per_interval + (m.goes_to_clean ? 1 : 0);
        const OwnedTensor x = test::tensor_of(DType::f64, {1, 1}, {1});
        double end = 0;
        sample(ctx, schedule, denoiser, options, {}, x.tensor, [&](int step, Tensor state) {
          if (step + 1 == intervals) end = test::at(state, 0);
        });
        error[k] = std::abs(end - std::sqrt(variance(schedule.at(0.01)) / variance(schedule.at(0.75))));
      }
      EXPECT_NEAR(slope(error[0], error[1], 2), m.expected, 0.2) << error[0] << " " << error[1];
    }
  }
}

}  // namespace
}  // namespace uvic
