// Deterministic solvers against exact solutions of the probability-flow ODE: the error falls with the order it should.

#include <numeric>

#include "sampler/time_grid.h"
#include "tests/sampler/golden.h"

namespace uvic {
namespace {

using test::Golden;

constexpr const char* kFile = "convergence";

double slope(double coarse, double fine, double ratio) { return std::log(coarse / fine) / std::log(ratio); }

// The error tables err.<name> of the reference that these solvers reproduce. low and high bound the slope of log rms
// between N = 40 and 80 (0: no order to speak of on that grid; see the notes of the reference).
struct Row {
  const char* name;
  const char* schedule;
  LabelKind labels;
  const char* label;
  SamplerOptions options;
  double t_truth;  // 0: clean data
  double low, high;
};

// Third order tends to slope 2: its first step is of order 1. Euler starts below 1: its last step, 1e-3 to 0, is fixed.
const std::vector<Row> kRows = {
    {"lu_multi2_logSNR", "sd", LabelKind::index, "1000*(t-1/1000)", {.order = 2, .spacing = "logsnr"}, 1e-3, 1.8, 2.2},
    {"lu_multi3_logSNR", "sd", LabelKind::index, "1000*(t-1/1000)", {.order = 3, .spacing = "logsnr"}, 1e-3, 1.9, 2.2},
    {"lu_multi2_time_uniform", "sd", LabelKind::index, "1000*(t-1/1000)", {.order = 2, .spacing = "time"}, 1e-3, 0, 0},
    {"lu_multi3_time_uniform", "sd", LabelKind::index, "1000*(t-1/1000)", {.order = 3, .spacing = "time"}, 1e-3, 0, 0},
    {"em_ode", "vpsde", LabelKind::t999, "999*t", {.solver = "euler-ode"}, 0, 0.9, 1.1},
    {"ddim_eta0", "linear", LabelKind::index, "i in 0..999", {.solver = "ddim"}, 0, 0.9, 1.1},
};

TEST(Convergence, ErrorsAreThoseOfTheReference) {
  const Golden golden;
  Context ctx;
  for (const Row& row : kRows) {
    SCOPED_TRACE(row.name);
    const std::string schedule_name = row.schedule, table = std::string("err.") + row.name;
    const Schedule schedule = Schedule::named(schedule_name == "vpsde" ? "vp" : schedule_name, row.labels);
    const Denoiser denoiser = test::ClosedForm(golden, "gmm", "conv", {golden, schedule_name, row.label}).denoiser();
    const std::vector<double> start = golden.values("noise", "x_T.conv");
    const Shape shape = golden.shape("noise", "x_T.conv");

    const std::vector<double> times = golden.values(kFile, schedule_name + ".t");
    size_t at = times.size() - 1;
    if (row.t_truth > 0)
      while (at > 0 && std::abs(times[at] - row.t_truth) > 1e-12) --at;
    ASSERT_TRUE(row.t_truth == 0 || std::abs(times[at] - row.t_truth) < 1e-12);
    const std::vector<double> truths = golden.values(kFile, schedule_name + ".exact_gmm");
    const auto first = truths.begin() + static_cast<ptrdiff_t>(at * start.size());
    const std::vector<double> truth(first, first + static_cast<ptrdiff_t>(start.size()));

    const std::vector<double> n = golden.values(kFile, table + ".N"), rms = golden.values(kFile, table + ".rms"),
                              max = golden.values(kFile, table + ".max");
    std::map<int, double> error;
    for (size_t i = 0; i < n.size(); ++i) {
      SamplerOptions options = row.options;
      options.steps = static_cast<int>(n[i]);
      const OwnedTensor x = test::tensor_of(DType::f64, shape, start);
      sample(ctx, schedule, denoiser, options, {}, x.tensor);
      error[options.steps] = test::rms_difference(test::values(x.tensor), truth);
      EXPECT_NEAR(error[options.steps], rms[i], 1e-6 * rms[i] + 2e-11) << options.steps << " steps";
      EXPECT_NEAR(test::max_difference(test::values(x.tensor), truth), max[i], 1e-6 * max[i] + 2e-11);
    }
    if (row.high > 0) {
      const double s = slope(error.at(40), error.at(80), 2);
      EXPECT_GE(s, row.low);
      EXPECT_LE(s, row.high);
    }
  }
}

// Data N(0, 0.25): x_t = x_T sqrt((0.25 alpha_t^2 + sigma_t^2) / (0.25 alpha_T^2 + sigma_T^2)), on every kind of
// schedule.
TEST(Convergence, OrderOnTheLinearOde) {
  const auto variance = [](const NoiseLevel& l) { return 0.25 * l.alpha * l.alpha + l.sigma * l.sigma; };
  struct Method {
    const char* solver;
    int order;
    double expected;
  };
  Context ctx;
  for (const char* name : {"vp", "linear", "sd"}) {
    const bool continuous = std::string(name) == "vp";
    const Schedule schedule = Schedule::named(name, continuous ? LabelKind::t : LabelKind::n);
    const Denoiser denoiser = [&](Context&, Tensor x, double label, Tensor out) {
      const NoiseLevel l = schedule.at(continuous ? label : label / 1000);
      std::vector<double> v = test::values(x);
      for (double& e : v) e *= l.sigma / variance(l);
      test::assign(out, v);
    };
    for (const Method& m : {Method{"dpm++", 1, 1}, Method{"dpm++", 2, 2}, Method{"dpm", 1, 1}, Method{"dpm", 2, 2}}) {
      SCOPED_TRACE(std::string(name) + " " + m.solver + " order " + std::to_string(m.order));
      const double t_end = 0.01;
      double error[2];
      for (const int k : {0, 1}) {
        const OwnedTensor x = test::tensor_of(DType::f64, {1, 1}, {1});
        sample(ctx, schedule, denoiser,
               {.solver = m.solver, .steps = 80 << k, .order = m.order, .spacing = "logsnr", .t_end = t_end}, {},
               x.tensor);
        const double truth = std::sqrt(variance(schedule.at(t_end)) / variance(schedule.at(1)));
        error[k] = std::abs(test::at(x.tensor, 0) - truth);
      }
      EXPECT_NEAR(slope(error[0], error[1], 2), m.expected, 0.15) << error[0] << " " << error[1];
    }
  }
}

}  // namespace
}  // namespace uvic
