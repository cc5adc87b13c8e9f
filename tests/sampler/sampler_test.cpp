#include "sampler/sampler.h"

#include <array>

#include "kernels/ops/pointwise.h"
#include "tests/sampler/golden.h"

namespace uvic {
namespace {

using test::error_of;

const Schedule kVp = Schedule::named("vp", LabelKind::t999);
const Schedule kSd = Schedule::named("sd", LabelKind::n), kZero = Schedule::named("sd-ztsnr", LabelKind::n);

// Exact for data N(0, 0.25): the test of everything that needs some network and not a particular one. f32 like a real
// one.
Denoiser gaussian(const Schedule& schedule, double labels_per_t, int* calls = nullptr) {
  return [&schedule, labels_per_t, calls](Context& ctx, Tensor x, double label, Tensor out) {
    if (calls) ++*calls;
    const NoiseLevel l = schedule.at(label / labels_per_t);
    const Term term{l.sigma / (0.25 * l.alpha * l.alpha + l.sigma * l.sigma), x};
    linear_combination(ctx, {&term, 1}, out);
  };
}

// Where the probability-flow ODE of that network takes a state at t = from.
std::vector<double> map_state(std::vector<double> x, double from, double to) {
  const auto variance = [](const NoiseLevel& l) { return 0.25 * l.alpha * l.alpha + l.sigma * l.sigma; };
  for (double& v : x) v *= std::sqrt(variance(kVp.at(to)) / variance(kVp.at(from)));
  return x;
}

std::vector<double> run(const SamplerOptions& options, const std::vector<uint64_t>& seeds, int* calls = nullptr,
                        Device device = {}) {
  Context ctx({.device = device});
  const OwnedTensor x(test::host(), DType::f32, {static_cast<int64_t>(seeds.size()), 3, 5, 7});
  initial_noise(ctx, seeds, x.tensor);
  sample(ctx, kVp, gaussian(kVp, 999, calls), options, solver_noise(ctx, seeds), x.tensor);
  return test::values(x.tensor);
}

TEST(Sampler, StepsCountEvaluations) {
  for (const std::string& solver : solver_names()) {
    for (const int steps : {1, 2, 7, 20}) {
      int calls = 0;
      run({.solver = solver, .steps = steps}, {1}, &calls);
      EXPECT_EQ(calls, steps) << solver;
    }
  }
  int calls = 0;
  run({.steps = 20, .denoise = true}, {1}, &calls);
  EXPECT_EQ(calls, 21);
}

class SamplerOn : public ::testing::TestWithParam<Device> {};
INSTANTIATE_TEST_SUITE_P(Devices, SamplerOn, ::testing::ValuesIn(test::devices()), test::device_name);

TEST_P(SamplerOn, AnImageDependsOnItsSeedAlone) {
  for (const std::string& solver : solver_names()) {
    const SamplerOptions options{.solver = solver, .steps = 6, .eta = solver == "ddim" ? 0.7 : 0};
    std::vector<uint64_t> seeds;
    for (uint64_t i = 0; i < 16; ++i) seeds.push_back(1000 + i);
    const std::vector<double> all = run(options, seeds, nullptr, GetParam());
    const size_t n = all.size() / seeds.size();
    for (const size_t batch : {size_t{1}, size_t{3}}) {
      for (size_t first : {size_t{0}, 16 - batch}) {
        const auto at = static_cast<ptrdiff_t>(first);
        const std::vector<double> some =
            run(options, {seeds.begin() + at, seeds.begin() + at + static_cast<ptrdiff_t>(batch)}, nullptr, GetParam());
        const std::vector<double> same(all.begin() + at * static_cast<ptrdiff_t>(n),
                                       all.begin() + (at + static_cast<ptrdiff_t>(batch)) * static_cast<ptrdiff_t>(n));
        EXPECT_EQ(some, same) << solver << ", batch " << batch;
      }
    }
    EXPECT_NE(std::vector<double>(all.begin(), all.begin() + static_cast<ptrdiff_t>(n)),
              std::vector<double>(all.end() - static_cast<ptrdiff_t>(n), all.end()));
  }
}

TEST(Sampler, DdimWithEtaOneIsDdpm) {
  const std::vector<uint64_t> seeds{1, 2, 3};
  const std::vector<double> ddim = run({.solver = "ddim", .steps = 30, .eta = 1}, seeds),
                            ddpm = run({.solver = "ddpm", .steps = 30}, seeds);
  EXPECT_LE(test::max_difference(ddim, ddpm), 1e-5);
}

TEST(Sampler, NoiseOfEveryStepDiffers) {
  Context ctx;
  const OwnedTensor a({}, DType::f32, {2, 9}), b({}, DType::f32, {2, 9}), c({}, DType::f32, {2, 9});
  const NoiseSource noise = solver_noise(ctx, {5, 6});
  noise(0, a.tensor);
  noise(1, b.tensor);
  initial_noise(ctx, std::vector<uint64_t>{5, 6}, c.tensor);
  EXPECT_NE(test::values(a.tensor), test::values(b.tensor));
  EXPECT_NE(test::values(a.tensor), test::values(c.tensor));
  noise(0, b.tensor);
  EXPECT_EQ(test::values(a.tensor), test::values(b.tensor));
}

TEST(Sampler, ObserverSeesEveryStepAndTheResult) {
  Context ctx;
  const OwnedTensor x = test::random_tensor(DType::f32, {2, 8}, 3);
  std::vector<int> steps;
  std::vector<double> last;
  sample(ctx, kVp, gaussian(kVp, 999), {.steps = 4}, {}, x.tensor, [&](int step, Tensor state) {
    steps.push_back(step);
    last = test::values(state);
  });
  EXPECT_EQ(steps, (std::vector<int>{0, 1, 2, 3}));
  EXPECT_EQ(last, test::values(x.tensor));
}

TEST(Sampler, LeavesTheArenaAsItWas) {
  Context ctx;
  for (const std::string& solver : solver_names()) {
    const OwnedTensor x = test::random_tensor(DType::f32, {2, 8}, 3);
    const Arena::Mark before = ctx.arena().mark();
    sample(ctx, kVp, gaussian(kVp, 999), {.solver = solver, .steps = 4}, solver_noise(ctx, {1, 2}), x.tensor);
    EXPECT_EQ(ctx.arena().mark(), before) << solver;
  }
}

TEST(Sampler, EverySolverWalksEverySpacingOfBothKindsOfSchedule) {
  for (const Schedule* schedule : {&kVp, &kSd}) {
    for (const std::string& solver : solver_names()) {
      for (const char* spacing : {"auto", "time", "logsnr", "quadratic", "karras"}) {
        Context ctx;
        const OwnedTensor x({}, DType::f32, {8, 512});
        std::vector<uint64_t> seeds{1, 2, 3, 4, 5, 6, 7, 8};
        initial_noise(ctx, seeds, x.tensor);
        sample(ctx, *schedule, gaussian(*schedule, schedule == &kVp ? 999 : 1000),
               {.solver = solver, .steps = 200, .spacing = spacing}, solver_noise(ctx, seeds), x.tensor);
        double square = 0;
        for (const double v : test::values(x.tensor)) square += v * v;
        // 4096 numbers of variance 0.25: 5 deviations of the estimate are 11 %, the rest is left to discretisation.
        EXPECT_NEAR(square / 4096, 0.25, 0.25 * 0.15) << solver << ", " << spacing << ", " << schedule->knots();
      }
    }
  }
}

// The cosine schedule begins at alpha 5e-5: no solver may blow up what little the first predictions are off by.
TEST(Sampler, EverySolverBearsTheCosineSchedule) {
  const Schedule cosine = Schedule::named("cosine", LabelKind::n);
  for (const std::string& solver : solver_names()) {
    const Denoiser rough = [&](Context& ctx, Tensor x, double label, Tensor out) {  // 2 % off
      gaussian(cosine, 1000)(ctx, x, label, out);
      const Term term{1.02, out};
      linear_combination(ctx, {&term, 1}, out);
    };
    Context ctx;
    const OwnedTensor x({}, DType::f32, {8, 512});
    const std::vector<uint64_t> seeds{1, 2, 3, 4, 5, 6, 7, 8};
    initial_noise(ctx, seeds, x.tensor);
    sample(ctx, cosine, rough, {.solver = solver, .steps = 100}, solver_noise(ctx, seeds), x.tensor);
    for (const double v : test::values(x.tensor)) ASSERT_LT(std::abs(v), 20) << solver;
  }
}

// Whatever t_start asks for: solvers of eps / alpha do not begin before lambda -5.1, those of whole steps begin at one.
TEST(Sampler, StartTimeIsWhereTheFirstEvaluationIs) {
  const Schedule cosine = Schedule::named("cosine", LabelKind::n);
  for (const std::string& solver : solver_names()) {
    for (const double t_start : {0.0, 1.0, 0.6004}) {
      Context ctx;
      double first = 0;
      const Denoiser noted = [&](Context& c, Tensor x, double label, Tensor out) {
        if (first == 0) first = label / 1000;
        gaussian(cosine, 1000)(c, x, label, out);
      };
      const OwnedTensor x({}, DType::f32, {1, 8});
      const SamplerOptions options{.solver = solver, .steps = 7, .t_start = t_start};
      sample(ctx, cosine, noted, options, solver_noise(ctx, {1}), x.tensor);
      EXPECT_NEAR(start_time(cosine, options), first, 1e-12) << solver << " from " << t_start;
      if (solver == "heun" || solver == "dpm") {
        EXPECT_GT(cosine.at(first).lambda, -5.11) << t_start;
      }
    }
  }
}

// Zero terminal SNR: the first step comes from pure noise, where alpha is 0, and nothing is divided by it.
TEST(Sampler, ZeroTerminalSnr) {
  const Denoiser v = [](Context& ctx, Tensor x, double label, Tensor out) {  // data N(0, 0.25), as gaussian()
    const NoiseLevel l = kZero.at(label / 1000);
    const double eps = l.sigma / (0.25 * l.alpha * l.alpha + l.sigma * l.sigma);
    const double x0 = 0.25 * l.alpha / (0.25 * l.alpha * l.alpha + l.sigma * l.sigma);
    const Term term{l.alpha * eps - l.sigma * x0, x};
    linear_combination(ctx, {&term, 1}, out);
  };
  for (const char* solver : {"ddpm", "ddim", "dpm++", "sde-dpm++"}) {
    for (const int order : {1, 2, 3}) {
      const bool orders = std::string(solver).ends_with("++");
      if (order > 1 && !orders) continue;
      Context ctx;
      const OwnedTensor x({}, DType::f32, {8, 512});
      const std::vector<uint64_t> seeds{1, 2, 3, 4, 5, 6, 7, 8};
      initial_noise(ctx, seeds, x.tensor);
      sample(ctx, kZero, v, {.solver = solver, .steps = 200, .order = orders ? order : 0, .prediction = Prediction::v},
             solver_noise(ctx, seeds), x.tensor);
      double square = 0;
      for (const double e : test::values(x.tensor)) square += e * e;
      EXPECT_NEAR(square / 4096, 0.25, 0.25 * 0.15) << solver << " of order " << order;
    }
  }
}

// From a later start a deterministic solver goes on where it would have been: what image-to-image rests on.
TEST(Sampler, StartsWhereItIsTold) {
  Context ctx;
  for (const std::string& solver : solver_names()) {
    if (solver == "ddpm" || solver == "sde-dpm++" || solver == "euler-maruyama") continue;
    const OwnedTensor x = test::random_tensor(DType::f64, {1, 8}, 3);
    const OwnedTensor half = test::tensor_of(DType::f64, {1, 8}, map_state(test::values(x.tensor), 1, 0.5));
    sample(ctx, kVp, gaussian(kVp, 999), {.solver = solver, .steps = 300, .t_end = 1e-2}, {}, x.tensor);
    sample(ctx, kVp, gaussian(kVp, 999), {.solver = solver, .steps = 300, .t_start = 0.5, .t_end = 1e-2}, {},
           half.tensor);
    EXPECT_LE(test::max_difference(test::values(x.tensor), test::values(half.tensor)), 0.02) << solver;
  }
}

// In-painting: what is known comes out as it was, to the noise that is left at t_end, and changes nothing elsewhere, as
// this network sees every number by itself.
TEST(Sampler, KnownPixelsComeOutAsTheyWere) {
  const OwnedTensor x0 = test::random_tensor(DType::f64, {2, 50}, 4), keep({}, DType::f64, {2, 50});
  for (int64_t i = 0; i < 100; i += 2) keep.tensor.data<double>()[i] = 1;
  for (const std::string& solver : solver_names()) {
    SCOPED_TRACE(solver);
    Context ctx;
    const NoiseLevel start = kVp.at(0.7);
    const std::vector<uint64_t> seeds{1, 2};
    const OwnedTensor x({}, DType::f64, {2, 50}), free({}, DType::f64, {2, 50});
    initial_noise(ctx, seeds, x.tensor);
    linear_combination(ctx, std::array<Term, 2>{{{start.alpha, x0.tensor}, {start.sigma, x.tensor}}}, x.tensor);
    cast(ctx, x.tensor, free.tensor);
    const SamplerOptions options{.solver = solver, .steps = 40, .t_start = 0.7};
    sample(ctx, kVp, gaussian(kVp, 999), options, solver_noise(ctx, seeds), free.tensor);
    sample(ctx, kVp, gaussian(kVp, 999), options, solver_noise(ctx, seeds), x.tensor, {}, {x0.tensor, keep.tensor});
    for (int64_t i = 0; i < 100; ++i) {
      const double got = test::at(x.tensor, i);
      if (i % 2) {
        EXPECT_EQ(got, test::at(free.tensor, i));
      } else {
        EXPECT_NEAR(got, test::at(x0.tensor, i), 0.15);
      }
    }
  }
}

void expect_refused(const Schedule& schedule, const SamplerOptions& options, const std::vector<std::string>& parts) {
  const std::string error = error_of([&] { validate(schedule, options); });
  for (const std::string& part : parts) EXPECT_NE(error.find(part), std::string::npos) << error << "\n  lacks " << part;
}

TEST(Sampler, RefusesWhatDoesNotFit) {
  expect_refused(kVp, {.solver = "dpm+"},
                 {"\"dpm+\"", "ddpm, ddim, dpm++, dpm, unipc, sde-dpm++, heun, heun-ode, euler-maruyama, euler-ode"});
  expect_refused(kVp, {.steps = 0}, {"steps", "1 or more", "0"});
  expect_refused(kVp, {.order = 4}, {"order", "1 to 3", "4"});
  expect_refused(kVp, {.steps = 1, .order = 3}, {"order 3", "got 1"});
  expect_refused(kVp, {.solver = "ddim", .order = 2}, {"ddim", "order", "dpm++"});
  expect_refused(kVp, {.eta = 0.5}, {"dpm++", "eta", "ddim"});
  expect_refused(kVp, {.solver = "ddim", .eta = -1}, {"eta", "-1"});
  expect_refused(kVp, {.solver = "euler-ode", .x0 = {.clip = true}}, {"euler-ode", "clip", "ddpm, ddim, dpm++"});
  expect_refused(kVp, {.spacing = "uniform"}, {"\"uniform\"", "time, logsnr, quadratic, karras"});
  expect_refused(kSd, {.spacing = "leading"}, {"leading", "time, logsnr, quadratic, karras"});
  expect_refused(kVp, {.solver = "ddim", .spacing = "trailing"}, {"trailing", "discrete"});
  expect_refused(kSd, {.solver = "ddim", .steps = 1001}, {"1 to 1000", "1001"});
  expect_refused(kSd, {.solver = "ddim", .steps = 50, .spacing = "leading", .steps_offset = 20}, {"steps_offset 20"});
  expect_refused(kSd, {.solver = "ddim", .spacing = "time", .steps_offset = 1}, {"steps_offset", "leading"});
  expect_refused(kSd, {.solver = "ddpm", .t_end = 0.01}, {"t_end", "whole training steps"});
  expect_refused(kVp, {.t_end = 2}, {"t_end", "(0, 1)"});
  expect_refused(kVp, {.solver = "ddpm", .variance = "medium"}, {"variance", "small or large"});
  expect_refused(kVp, {.variance = "large"}, {"variance", "ddpm"});
  expect_refused(kVp, {.solver = "ddim", .final_sigma = "min"}, {"final_sigma", "discrete"});
  expect_refused(kVp, {.solver = "ddim", .denoise = true}, {"denoise", "dpm++"});
  expect_refused(kVp, {.method = "single"}, {"\"single\"", "multistep, singlestep, singlestep-fixed or fast"});
  expect_refused(kVp, {.solver = "unipc", .method = "fast"}, {"unipc", "method", "dpm++ and dpm"});
  expect_refused(kVp, {.steps = 2, .order = 3, .method = "singlestep-fixed"}, {"order 3", "got 2"});
  expect_refused(kVp, {.solver = "unipc", .taylor = true}, {"taylor", "sde-dpm++"});
  expect_refused(kVp, {.bh1 = true}, {"bh1", "unipc"});
  expect_refused(kVp, {.spacing = "linspace"}, {"linspace", "discrete"});
  expect_refused(kSd, {.method = "fast", .final_sigma = "zero"}, {"final_sigma zero", "multistep"});
  expect_refused(kVp, {.solver = "dpm", .final_sigma = "zero"}, {"final_sigma zero"});
  expect_refused(kVp, {.final_sigma = "none"}, {"auto, zero or min", "none"});
  expect_refused(kVp, {.integer_labels = true}, {"integer_labels", "discrete"});
  expect_refused(kVp, {.t_start = 1.5}, {"t_start", "(0, 1]", "1.5"});
  expect_refused(kVp, {.t_start = 0.2, .t_end = 0.3}, {"t_end", "(0, 0.2)", "0.3"});
  expect_refused(kSd, {.solver = "ddim", .steps = 20, .t_start = 0.01}, {"1 to 10", "below the start", "20"});
  expect_refused(kVp, {.churn = {.amount = 8}}, {"dpm++", "churn", "heun"});
  expect_refused(kVp, {.solver = "heun", .churn = {.amount = -1}}, {"churn", "-1"});
  expect_refused(kZero, {.solver = "unipc", .prediction = Prediction::v}, {"unipc", "zero terminal SNR", "ddim"});
  expect_refused(kZero, {.solver = "ddim"}, {"ddim", "zero terminal SNR", "v or x0"});
  expect_refused(kVp, {.x0 = {.threshold_ratio = 2}}, {"threshold_ratio", "[0, 1]", "2"});

  Context ctx;
  const OwnedTensor x({}, DType::f32, {2, 8});
  EXPECT_NE(error_of([&] { sample(ctx, kVp, gaussian(kVp, 999), {.solver = "ddpm"}, {}, x.tensor); }).find("noise"),
            std::string::npos);
  EXPECT_NE(error_of([&] {
              sample(ctx, kVp, gaussian(kVp, 999), {.solver = "ddim", .steps = 5, .eta = 3}, solver_noise(ctx, {1, 2}),
                     x.tensor);
            }).find("eta up to 1"),
            std::string::npos);
  EXPECT_NE(error_of([&] { initial_noise(ctx, std::vector<uint64_t>{1}, x.tensor); }).find("1 seeds"),
            std::string::npos);
}

}  // namespace
}  // namespace uvic
