#include "sampler/schedule.h"

#include <set>

#include "sampler/time_grid.h"
#include "tests/sampler/golden.h"

namespace uvic {
namespace {

using test::Golden;

constexpr const char* kFile = "schedules";

// |got - want| <= tolerance |want|, element by element. tiny: absolute slack where 1 - alpha_bar cancels in the
// reference.
void expect_relative(const std::vector<double>& got, const std::vector<double>& want, double tolerance = 1e-9,
                     double tiny = 1e-13) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i)
    EXPECT_LE(std::abs(got[i] - want[i]), tolerance * std::abs(want[i]) + tiny)
        << "entry " << i << ": " << got[i] << " " << want[i];
}

template <class F>
std::vector<double> map(const std::vector<double>& in, F f) {
  std::vector<double> out;
  for (const double v : in) out.push_back(f(v));
  return out;
}

double square(double v) { return v * v; }

// The families of tensors in schedules.safetensors: all up to the last dot, cut to the first two parts ("disc.sd").
std::set<std::string> families(const Golden& golden, const std::string& first) {
  std::set<std::string> found;
  for (const std::string& name : golden.file(kFile).names()) {
    if (!name.starts_with(first + ".")) continue;
    found.insert(name.substr(0, name.find('.', first.size() + 1)));
  }
  return found;
}

TEST(Schedule, EveryFamilyOfTheReferenceIsKnown) {
  const Golden golden;
  for (const std::string& name : golden.file(kFile).names()) {
    const std::string first = name.substr(0, name.find('.'));
    EXPECT_TRUE((std::set<std::string>{"disc", "respaced", "uvit_schedule", "cont", "nsvp", "grid"}.contains(first)))
        << name << " is checked by no test";
  }
}

TEST(Schedule, DiscreteTables) {
  const Golden golden;
  const std::set<std::string> all = families(golden, "disc");
  EXPECT_FALSE(all.empty());
  for (const std::string& prefix : all) {
    SCOPED_TRACE(prefix);
    const auto want = [&](const char* what) { return golden.values(kFile, prefix + "." + what); };
    const std::string name = prefix.substr(prefix.find('.') + 1);
    const Schedule s = Schedule::named(name, LabelKind::index);
    ASSERT_EQ(s.knots(), static_cast<int>(want("beta").size()));
    const std::vector<double> betas = name == "linear" ? linear_betas(1000)
                                      : name == "sd"   ? scaled_linear_betas(1000)
                                                       : cosine_betas(1000);
    expect_relative(betas, want("beta"));
    std::vector<NoiseLevel> levels;
    for (int i = 0; i < s.knots(); ++i) levels.push_back(s.at((i + 1.0) / s.knots()));
    std::vector<double> alpha_bar, sigma, lambda, label, beta_of_steps{betas[0]}, index;
    for (size_t i = 0; i < levels.size(); ++i) {
      alpha_bar.push_back(square(levels[i].alpha));
      sigma.push_back(levels[i].sigma);
      lambda.push_back(levels[i].lambda);
      label.push_back(levels[i].label);
      index.push_back(static_cast<double>(i));
      if (i) beta_of_steps.push_back(-std::expm1(2 * (levels[i].log_alpha - levels[i - 1].log_alpha)));
    }
    expect_relative(alpha_bar, want("alpha_bar"));
    expect_relative(sigma, want("sigma"));
    expect_relative(lambda, want("lambda"), 1e-9, 1e-10);
    expect_relative(beta_of_steps, want("beta"));
    expect_relative(label, index, 0, 1e-9);
  }
}

TEST(Schedule, RespacedSteps) {
  const Golden golden;
  for (const std::string& name : golden.file(kFile).names()) {
    if (!name.starts_with("respaced.") || !name.ends_with(".timestep_map")) continue;
    SCOPED_TRACE(name);
    const std::string prefix = name.substr(0, name.rfind('.'));
    const size_t dot = prefix.rfind('.');
    const Schedule s = Schedule::named(prefix.substr(9, dot - 9), LabelKind::index);
    const Spacing spacing = prefix.substr(dot + 1).starts_with("ddim") ? Spacing::leading : Spacing::time;
    const std::vector<double> want = golden.values(kFile, name);
    std::vector<double> times = knot_grid(s, spacing, static_cast<int>(want.size()), 1, 0);
    std::reverse(times.begin(), times.end());
    expect_relative(map(times, [&](double t) { return s.label(t); }), want, 0, 1e-9);
    expect_relative(map(times, [&](double t) { return square(s.at(t).alpha); }),
                    golden.values(kFile, prefix + ".alpha_bar"));
  }
}

TEST(Schedule, UvitCountsStepsFromOne) {
  const Golden golden;
  const Schedule s = Schedule::named("sd", LabelKind::n);
  const auto log_alpha = [&](double n) { return n == 0 ? 0 : s.log_alpha(n / 1000); };
  const std::vector<double> pairs = golden.values(kFile, "uvit_schedule.pairs_s_t");
  std::vector<double> skip_alpha, skip_beta, tilde_beta;
  for (size_t i = 0; i < pairs.size(); i += 2) {
    const double from = log_alpha(pairs[i]), to = log_alpha(pairs[i + 1]);
    skip_alpha.push_back(std::exp(2 * (to - from)));
    skip_beta.push_back(-std::expm1(2 * (to - from)));
    tilde_beta.push_back(skip_beta.back() * std::expm1(2 * from) / std::expm1(2 * to));
  }
  expect_relative(skip_alpha, golden.values(kFile, "uvit_schedule.skip_alpha"));
  expect_relative(skip_beta, golden.values(kFile, "uvit_schedule.skip_beta"));
  expect_relative(tilde_beta, golden.values(kFile, "uvit_schedule.tilde_beta"));
  EXPECT_DOUBLE_EQ(s.label(0.25), 250);
}

TEST(Schedule, Continuous) {
  const Golden golden;
  for (const std::string& prefix : families(golden, "cont")) {
    SCOPED_TRACE(prefix);
    const Schedule s = Schedule::named(prefix == "cont.vpsde" ? "vp" : "vp-cosine", LabelKind::t999);
    const auto want = [&](const char* what) { return golden.values(kFile, prefix + "." + what); };
    const auto got = [&](auto f) { return map(want("t"), [&](double t) { return f(s.at(t)); }); };
    expect_relative(got([](const NoiseLevel& l) { return square(l.alpha); }), want("alpha_bar"));
    expect_relative(got([](const NoiseLevel& l) { return square(l.sigma); }), want("sigma2"));
    expect_relative(got([](const NoiseLevel& l) { return l.sigma; }), want("sigma"));
    expect_relative(got([](const NoiseLevel& l) { return square(l.alpha / l.sigma); }), want("snr"));
    expect_relative(got([](const NoiseLevel& l) { return l.lambda; }), want("lambda"));
    expect_relative(got([&](const NoiseLevel& l) { return -s.beta(l.t) / 2; }), want("drift_coef"));
    expect_relative(got([&](const NoiseLevel& l) { return std::sqrt(s.beta(l.t)); }), want("g"));
    EXPECT_DOUBLE_EQ(s.label(0.5), 499.5);
  }
}

TEST(Schedule, LambdaAndItsInverse) {
  const Golden golden;
  for (const std::string& prefix : families(golden, "nsvp")) {
    SCOPED_TRACE(prefix);
    const auto want = [&](const char* what) { return golden.values(kFile, prefix + "." + what); };
    const bool lu = prefix.starts_with("nsvp.lu_");
    const bool continuous = prefix == "nsvp.linear" || prefix == "nsvp.cosine";
    const std::string name = !continuous               ? prefix.substr(prefix.rfind('_') + 1)
                             : prefix == "nsvp.linear" ? "vp"
                                                       : "vp-cosine";
    Schedule s = Schedule::named(name, continuous ? LabelKind::t999 : LabelKind::index);
    if (golden.has(kFile, prefix + ".T")) {
      EXPECT_EQ(s.t_start(), want("T")[0]);
    }
    if (lu) s = s.cut();
    const std::vector<double> t = want("t");
    expect_relative(map(t, [&](double v) { return s.log_alpha(v); }), want("log_alpha"));
    expect_relative(map(t, [&](double v) { return s.at(v).lambda; }), want("lambda"), 1e-9, 1e-10);
    if (lu) {
      EXPECT_EQ(s.knots(), want("M")[0]);
      expect_relative(map(t, [&](double v) { return s.label(v); }), want("label"), 0, 1e-9);
    } else {
      expect_relative(map(t, [&](double v) { return s.at(v).sigma; }), want("sigma"));
      expect_relative(map(want("inv_lambda_in"), [&](double v) { return s.inverse_lambda(v); }),
                      want("inv_lambda_out"));
    }
  }
}

TEST(Schedule, BetaIsTheSlopeOfLogAlpha) {
  for (const std::string& name : schedule_names()) {
    const Schedule s = Schedule::named(name, name.starts_with("vp") ? LabelKind::t999 : LabelKind::n);
    for (const double t : {0.0105, 0.5005, 0.9005}) {
      const double h = 1e-5;
      const double slope = -2 * (s.log_alpha(t + h) - s.log_alpha(t - h)) / (2 * h);
      EXPECT_NEAR(s.beta(t), slope, 1e-6 * slope) << name << " at " << t;
    }
  }
  const Schedule s = Schedule::named("sd", LabelKind::n);  // at a knot: the segment that a step down from it crosses
  EXPECT_NEAR(s.beta(0.5), -2000 * (s.log_alpha(0.5) - s.log_alpha(0.499)), 1e-9);
}

// k-diffusion's sigma of an index, and back.
TEST(Schedule, LinearInLambda) {
  const Golden golden;
  const auto want = [&](const char* what) { return golden.values("karras_heun", std::string("discrete.") + what); };
  const Schedule s = Schedule::named("sd", LabelKind::index).linear_in_lambda();
  const auto t_of = [](double index) { return (index + 1) / 1000; };
  expect_relative(map(want("t"), [&](double i) { return s.at(t_of(i)).sigma_ve(); }), want("t_to_sigma"));
  const auto index_of = [&](double sigma) {  // theirs stops at the ends of the table
    return std::clamp(s.label(s.inverse_lambda(-std::log(sigma))), 0.0, 999.0);
  };
  expect_relative(map(want("sigma"), index_of), want("sigma_to_t"), 1e-9, 1e-9);
}

TEST(Schedule, ZeroTerminalSnr) {
  for (const char* name : {"linear", "sd", "cosine"}) {
    SCOPED_TRACE(name);
    const Schedule s = Schedule::named(name, LabelKind::n),
                   z = Schedule::named(std::string(name) + "-ztsnr", LabelKind::n);
    EXPECT_EQ(z.at(1).alpha, 0);
    EXPECT_EQ(z.at(1).sigma, 1);
    EXPECT_NEAR(z.at(0.001).alpha, s.at(0.001).alpha, 1e-15);
    // Shifted and scaled: differences keep their ratio.
    const auto alpha = [](const Schedule& of, double t) { return of.at(t).alpha; };
    EXPECT_NEAR((alpha(z, 0.3) - alpha(z, 0.7)) / (alpha(z, 0.1) - alpha(z, 1)),
                (alpha(s, 0.3) - alpha(s, 0.7)) / (alpha(s, 0.1) - alpha(s, 1)), 1e-12);
    EXPECT_NE(test::error_of([&] { time_grid(z, Spacing::logsnr, 5, 1, 1e-3); }).find("zero terminal SNR"),
              std::string::npos);
  }
}

TEST(TimeGrid, MatchesTheReference) {
  const Golden golden;
  int checked = 0;
  for (const std::string& name : golden.file(kFile).names()) {  // grid.<schedule>.<spacing>.t0_<t_end>.N<intervals>
    if (!name.starts_with("grid.")) continue;
    SCOPED_TRACE(name);
    const size_t a = name.find('.', 5), b = name.find(".t0_"), n = name.rfind(".N");
    const std::string schedule = name.substr(5, a - 5), skip = name.substr(a + 1, b - a - 1);
    const Schedule s = schedule == "linear" ? Schedule::named("vp", LabelKind::t999)
                                            : Schedule::named(schedule.substr(9), LabelKind::index);
    const Spacing spacing = skip == "time_uniform" ? Spacing::time
                            : skip == "logSNR"     ? Spacing::logsnr
                                                   : Spacing::quadratic;
    const std::vector<double> got =
        time_grid(s, spacing, std::stoi(name.substr(n + 2)) + 1, 1, std::stod(name.substr(b + 4, n - b - 4)));
    // U-ViT's time_quadratic is snapped to a table of 10^7 times.
    EXPECT_LE(test::max_difference(got, golden.values(kFile, name)), skip == "time_quadratic" ? 2e-7 : 1e-12);
    ++checked;
  }
  EXPECT_GT(checked, 0);
}

TEST(TimeGrid, KarrasIsUniformInTheSeventhRootOfTheNoise) {
  const Schedule s = Schedule::named("vp", LabelKind::t999);
  const std::vector<double> grid = time_grid(s, Spacing::karras, 9, 1, 1e-3);
  std::vector<double> root = map(grid, [&](double t) { return std::pow(s.at(t).sigma / s.at(t).alpha, 1 / 7.0); });
  for (size_t i = 2; i < root.size(); ++i) EXPECT_NEAR(root[i] - root[i - 1], root[1] - root[0], 1e-12);
  EXPECT_EQ(grid.front(), 1);
  EXPECT_EQ(grid.back(), 1e-3);
}

TEST(TimeGrid, WholeStepsStartWhereTheySay) {
  const Schedule s = Schedule::named("sd", LabelKind::index);
  const auto ends = [&](Spacing spacing, int count, int offset) {
    const std::vector<double> grid = knot_grid(s, spacing, count, 1, offset);
    EXPECT_EQ(static_cast<int>(grid.size()), count);
    return std::pair(std::lround(s.label(grid.front())), std::lround(s.label(grid.back())));
  };
  EXPECT_EQ(ends(Spacing::time, 50, 0), std::pair(999L, 0L));
  EXPECT_EQ(ends(Spacing::time, 1, 0), std::pair(999L, 999L));
  EXPECT_EQ(ends(Spacing::leading, 50, 1), std::pair(981L, 1L));
  EXPECT_EQ(ends(Spacing::trailing, 50, 0), std::pair(999L, 19L));
  EXPECT_EQ(ends(Spacing::time, 1000, 0), std::pair(999L, 0L));
}

TEST(Schedule, RefusesWhatItCannotBe) {
  using test::error_of;
  EXPECT_NE(error_of([] { Schedule::named("lineal", LabelKind::n); }).find("vp, vp-cosine, linear, sd, cosine"),
            std::string::npos);
  EXPECT_NE(error_of([] { Schedule::named("vp", LabelKind::n); }).find("labels"), std::string::npos);
  EXPECT_NE(error_of([] {
              Schedule::discrete(std::vector<double>{0.1, 1.0}, LabelKind::n);
            }).find("(0, 1)"),
            std::string::npos);
  EXPECT_NE(error_of([] { spacing_named("uniform"); }).find("logsnr"), std::string::npos);
}

}  // namespace
}  // namespace uvic
