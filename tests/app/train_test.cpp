// train_step() against PyTorch's golden trajectories, and from a released checkpoint.

#include "app/train_step.h"

#include <limits>

#include "app/loaded_model.h"
#include "model/checkpoint.h"
#include "tests/golden_model.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// A golden file of training steps: config and optimizer from its metadata.
struct GoldenSteps {
  SafetensorsFile file;
  UViCConfig config;
  OptimizerConfig optimizer;

  explicit GoldenSteps(const fs::path& path) : file(path), config(golden_config(file)) {
    const json o = json::parse(file.metadata().at("optimizer"));
    optimizer = {.lr = o["lr"],
                 .beta1 = o["betas"][0],
                 .beta2 = o["betas"][1],
                 .eps = o["eps"],
                 .weight_decay = o["weight_decay"],
                 .warmup_steps = file.metadata().contains("lr_schedule")
                                     ? json::parse(file.metadata().at("lr_schedule"))["warmup_steps"].get<int64_t>()
                                     : std::stoll(file.metadata().at("warmup_steps")),
                 .ema_rates = {std::stod(file.metadata().at("ema_rate"))}};
  }

  OwnedTensor row(const std::string& name, int64_t k, DType dtype = DType::f32) const {
    const Tensor from = file.tensor(name).rows(k, k + 1);
    OwnedTensor t(host(), dtype, Shape(from.shape().begin() + 1, from.shape().end()));
    convert(from, t.tensor);
    return t;
  }
  double number(const std::string& name, int64_t k) const { return values(row(name, k, DType::f64).tensor)[0]; }

  // Largest |role - golden| over all parameters that the file holds under prefix.
  double deviation(const ParamStore& store, Role role, const std::string& prefix) const {
    double worst = 0;
    int compared = 0;
    for (size_t id = 0; id < store.params().size(); ++id) {
      const std::string name = prefix + store.params()[id].name;
      if (!file.contains(name)) continue;
      const auto got = values(store.view(role, static_cast<int>(id)));
      const OwnedTensor golden = copy(file, name, DType::f64);
      const auto want = values(golden.tensor);
      for (size_t i = 0; i < want.size(); ++i) worst = std::max(worst, std::abs(got[i] - want[i]));
      ++compared;
    }
    EXPECT_GT(compared, 0) << prefix;
    return worst;
  }
};

// One step's inputs, kept alive.
struct OwnedInputs {
  OwnedTensor x0, eps, alpha, sigma, t, y;
  StepInputs view() const { return {x0.tensor, eps.tensor, alpha.tensor, sigma.tensor, t.tensor, {y.tensor, {}}, {}}; }
};

OwnedTensor time_values(const OwnedTensor& t, const std::function<double(double)>& f) {
  std::vector<double> v = values(t.tensor);
  for (double& x : v) x = f(x);
  return tensor_of(DType::f32, t.tensor.shape(), v);
}

class GoldenTraining : public ::testing::TestWithParam<Where> {};

TEST_P(GoldenTraining, Trajectories) {
  const GoldenSteps g(reference_dir("uvic") / "train_tiny.safetensors");
  const bool f32 = GetParam().dtype == DType::f32;
  const int64_t steps = std::stoll(g.file.metadata().at("steps"));
  for (const std::string run : {"a/", "b/"}) {
    SCOPED_TRACE(run);
    const bool continuous = g.file.contains(run + "t");
    const Schedule schedule = schedule_of(continuous ? "vp" : "sd");
    Context ctx = context(GetParam());
    TrainedModel model(ctx, g.config, GetParam().dtype, 1);
    for (const Role role : {Role::master, Role::ema}) load_golden(ctx, g.file, "init/", model.store, role);
    model.store.use(ctx, Role::master);
    for (int64_t k = 0; k < steps; ++k) {
      const OwnedTensor time = g.row(run + (continuous ? "t" : "n"), k);
      const OwnedInputs in{g.row(run + "x0", k),
                           g.row(run + "eps", k),
                           g.row(run + "alpha", k),
                           g.row(run + "sigma", k),
                           time_values(time, [&](double t) { return continuous ? 999 * t : t; }),
                           g.row(run + "y", k, DType::i32)};
      for (int64_t b = 0; b < time.tensor.numel(); ++b) {  // what our own schedule makes of that time
        const NoiseLevel level = schedule.at(continuous ? at(time.tensor, b) : at(time.tensor, b) / schedule.knots());
        EXPECT_NEAR(level.alpha, at(in.alpha.tensor, b), 1e-6 * level.alpha);
        EXPECT_NEAR(level.sigma, at(in.sigma.tensor, b), 1e-6 * level.sigma);
        EXPECT_EQ(static_cast<float>(level.label), at(in.t.tensor, b));
      }
      ctx.arena().reset();
      const StepResult got = train_step(ctx, model, in.view(), Prediction::eps, g.optimizer, k + 1);
      const double loss = g.number(run + "loss", k), norm = g.number(run + "grad_norm", k);
      EXPECT_NEAR(got.loss, loss, loss * (f32 ? 1e-5 : 1e-2)) << "step " << k + 1;
      EXPECT_NEAR(got.grad_norm, norm, norm * (f32 ? 1e-5 : 5e-2)) << "step " << k + 1;
      EXPECT_NEAR(got.lr, g.number(run + "lr", k), 1e-10);
      EXPECT_NEAR(learning_rate(g.optimizer, k + 2), g.number(run + "lr_after", k), 1e-10);
      const auto each = values(g.row(run + "loss_per_sample", k, DType::f64).tensor);
      ASSERT_EQ(got.loss_per_sample.size(), each.size());
      for (size_t b = 0; b < each.size(); ++b)
        EXPECT_NEAR(got.loss_per_sample[b], each[b], each[b] * (f32 ? 1e-5 : 2e-2)) << "step " << k + 1;
      const std::string stored = concat(run, "step", k + 1, "/");
      if (!f32 || !g.file.contains(stored + "param/pos_embed")) continue;
      const double tolerance = k + 1 <= 5 ? 1e-5 : 2e-5;
      EXPECT_LE(g.deviation(model.store, Role::master, stored + "param/"), tolerance) << stored;
      EXPECT_LE(g.deviation(model.store, Role::ema, stored + "ema/"), tolerance) << stored;
    }
  }
}

TEST_P(GoldenTraining, ContinuesAReleasedCheckpoint) {
  if (GetParam().dtype != DType::f32) return;
  const fs::path folder = reference_dir("uvic") / "checkpoints";
  const GoldenSteps g(folder / "resume.safetensors");
  Context ctx = context(GetParam());
  TrainedModel model(ctx, g.config, DType::f32, 1);
  const TrainState state =
      load_released_checkpoint(ctx, folder / (g.file.metadata().at("step") + ".ckpt"), model.store);
  EXPECT_EQ(state.step, std::stoll(g.file.metadata().at("step")));
  const std::pair<const char*, Role> roles[] = {{"expected/nnet", Role::master},
                                                {"expected/nnet_ema", Role::ema},
                                                {"expected/exp_avg", Role::m},
                                                {"expected/exp_avg_sq", Role::v}};
  for (const auto& [name, role] : roles) {
    for (size_t id = 0; id < model.store.params().size(); ++id) {  // first, last, sum, norm
      const auto want = values(g.row(name, static_cast<int64_t>(id), DType::f64).tensor);
      const auto got = values(model.store.view(role, static_cast<int>(id)));
      double sum = 0, square = 0;
      for (const double x : got) sum += x, square += x * x;
      EXPECT_EQ(got.front(), want[0]) << name << " " << model.store.params()[id].name;
      EXPECT_EQ(got.back(), want[1]) << name << " " << model.store.params()[id].name;
      EXPECT_NEAR(sum, want[2], 1e-5 * (std::abs(want[2]) + want[3]));
      EXPECT_NEAR(std::sqrt(square), want[3], 1e-5 * want[3]);
    }
  }
  const Schedule schedule = schedule_of("vp");
  for (int64_t k = 0; k < std::stoll(g.file.metadata().at("steps_after")); ++k) {
    const OwnedTensor t = g.row("t", k);
    const OwnedInputs in{g.row("x0", k),
                         g.row("eps", k),
                         time_values(t, [&](double x) { return schedule.at(x).alpha; }),
                         time_values(t, [&](double x) { return schedule.at(x).sigma; }),
                         time_values(t, [&](double x) { return schedule.at(x).label; }),
                         g.row("y", k, DType::i32)};
    ctx.arena().reset();
    const StepResult got = train_step(ctx, model, in.view(), Prediction::eps, g.optimizer, state.step + k + 1);
    EXPECT_NEAR(got.loss, g.number("loss", k), 1e-5 * g.number("loss", k));
    EXPECT_NEAR(got.lr, g.number("lr", k), 1e-10);
  }
  EXPECT_LE(g.deviation(model.store, Role::master, "after/param/"), 5e-6);
  EXPECT_LE(g.deviation(model.store, Role::ema, "after/ema/"), 5e-6);
}

INSTANTIATE_TEST_SUITE_P(Everywhere, GoldenTraining, ::testing::ValuesIn(everywhere_and_gpu()), where_name);

// ---- what is not in the golden data --------------------------------------------------------------------------------

struct SmallStep {
  Context ctx;
  UViCConfig config;
  OwnedInputs in;
  explicit SmallStep(Device device = {}) : ctx({.device = device}) {
    config.img_size = 4;
    config.embed_dim = 16;
    config.depth = 2;
    config.num_heads = 1;
    const Shape shape{2, 3, 4, 4};
    in = {random_tensor(DType::f32, shape, 1),    random_tensor(DType::f32, shape, 2),
          tensor_of(DType::f32, {2}, {0.8, 0.3}), tensor_of(DType::f32, {2}, {0.6, 0.9}),
          tensor_of(DType::f32, {2}, {100, 800}), {}};
  }
};

class TrainStep : public ::testing::TestWithParam<Device> {};
INSTANTIATE_TEST_SUITE_P(Devices, TrainStep, ::testing::ValuesIn(devices()), device_name);

// Step 1 of a warm-up has learning rate 0, so the same weights give every prediction's loss.
TEST_P(TrainStep, TargetsAndWeights) {
  SmallStep s(GetParam());
  TrainedModel model(s.ctx, s.config, DType::f32, 3);
  const auto x0 = values(s.in.x0.tensor), eps = values(s.in.eps.tensor);
  const std::vector<double> alpha{0.8, 0.3}, sigma{0.6, 0.9}, weight{0.5, 3};
  const size_t each = x0.size() / 2;
  std::vector<double> x_t(x0.size());
  for (size_t i = 0; i < x_t.size(); ++i) x_t[i] = alpha[i / each] * x0[i] + sigma[i / each] * eps[i];
  const OwnedTensor noisy = tensor_of(DType::f32, s.in.x0.tensor.shape(), x_t),
                    out = random_tensor(DType::f32, s.in.x0.tensor.shape(), 4);
  model.net.forward(s.ctx, noisy.tensor, s.in.t.tensor, {}, out.tensor);
  const auto y = values(out.tensor);
  const OwnedTensor weights = tensor_of(DType::f32, {2}, weight);
  for (const Prediction prediction : {Prediction::eps, Prediction::x0, Prediction::v}) {
    double want = 0;
    for (size_t i = 0; i < y.size(); ++i) {
      const size_t b = i / each;
      const double target = prediction == Prediction::eps  ? eps[i]
                            : prediction == Prediction::x0 ? x0[i]
                                                           : alpha[b] * eps[i] - sigma[b] * x0[i];
      want += weight[b] * (target - y[i]) * (target - y[i]) / static_cast<double>(y.size());
    }
    StepInputs in = s.in.view();
    in.weight = weights.tensor;
    const StepResult got = train_step(s.ctx, model, in, prediction, {.warmup_steps = 10}, 1);
    EXPECT_NEAR(got.loss, want, 1e-5 * want);
    EXPECT_EQ(got.lr, 0);
  }
}

TEST_P(TrainStep, ALossThatIsNotFiniteChangesNothing) {
  SmallStep s(GetParam());
  TrainedModel model(s.ctx, s.config, DType::f32, 3);
  const auto before = values(model.store.flat(Role::master));
  s.in.x0.tensor.data<float>()[5] = std::numeric_limits<float>::quiet_NaN();
  const std::string what =
      error_of([&] { train_step(s.ctx, model, s.in.view(), Prediction::eps, {.warmup_steps = 0}, 9); });
  EXPECT_EQ(what, "step 9: the loss is not finite; the first values that are not are those of image");
  EXPECT_EQ(values(model.store.flat(Role::master)), before);
  for (const Role role : {Role::m, Role::v})
    for (const double x : values(model.store.flat(role))) ASSERT_EQ(x, 0);
}

// The smallest proof that learning works: one batch, seen often, is learned by heart.
class TrainStepEverywhere : public ::testing::TestWithParam<Where> {};
INSTANTIATE_TEST_SUITE_P(Everywhere, TrainStepEverywhere, ::testing::ValuesIn(everywhere_and_gpu()), where_name);

TEST_P(TrainStepEverywhere, OverfitsOneBatch) {
  SmallStep s;
  Context ctx = context(GetParam());
  TrainedModel model(ctx, s.config, GetParam().dtype, 3);
  double first = 0, last = 0;
  for (int64_t step = 1; step <= 300; ++step) {
    ctx.arena().reset();
    last =
        train_step(ctx, model, s.in.view(), Prediction::eps, {.lr = 3e-3, .beta1 = 0.9, .warmup_steps = 0}, step).loss;
    if (step == 1) first = last;
  }
  EXPECT_LT(last, first / 20);
}

TEST(LevelLossesTest, FallIntoQuartersOfTheNoise) {
  LevelLosses levels;
  const std::vector<float> t{0, 1, 240, 260, 510, 740, 760, 999, 1000}, losses{1, 2, 4, 8, 16, 32, 64, 128, 256};
  for (size_t i = 0; i < t.size(); ++i) levels.add(t[i], losses[i]);
  EXPECT_EQ(levels.sum, (std::array<double, 4>{7, 8, 48, 448}));
  EXPECT_EQ(levels.samples, (std::array<double, 4>{3, 1, 2, 3}));
}

}  // namespace
}  // namespace uvic::test
