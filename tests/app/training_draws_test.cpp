#include "app/training_draws.h"

#include <set>

#include "app/loaded_model.h"
#include "tests/check.h"

namespace uvic::test {
namespace {

RunConfig small_run() {
  RunConfig c;
  c.model.img_size = 8;
  c.model.num_classes = 11;
  c.model.null_class = true;
  c.train.label_drop = 0.25;
  c.train.seed = 77;
  return c;
}

// Row r: pixels and label tell its global index.
Batch batch_of(int64_t first_sample, int64_t count) {
  Batch batch;
  batch.first_sample = first_sample;
  batch.pixels = OwnedTensor({}, DType::u8, {count, 8, 8, 3});
  auto* pixels = static_cast<uint8_t*>(batch.pixels.tensor.raw());
  for (int64_t i = 0; i < count * 192; ++i) pixels[i] = static_cast<uint8_t>((first_sample + i / 192) * 7 + i % 192);
  for (int64_t r = 0; r < count; ++r) batch.labels.push_back(static_cast<int32_t>((first_sample + r) % 10));
  return batch;
}

// Moments as a batch of latents: means count up, the log variance is log 4 in channel 0 and beyond what is taken in 1.
Batch latents_of(int64_t first_sample, int64_t count) {
  Batch batch;
  batch.first_sample = first_sample;
  batch.latents = OwnedTensor({}, DType::f32, {count, 4, 8, 8});
  batch.context = OwnedTensor({}, DType::f32, {count, 3, 5});
  auto* x = batch.latents.tensor.data<float>();
  for (int64_t r = 0; r < count; ++r)
    for (int64_t i = 0; i < 256; ++i)
      *x++ = i < 128 ? static_cast<float>((first_sample + r) % 7) : i < 192 ? std::log(4.0f) : -1000.0f;
  for (int64_t i = 0; i < count * 15; ++i)
    batch.context.tensor.data<float>()[i] = static_cast<float>(first_sample + i / 15 + 1);
  batch.labels.assign(static_cast<size_t>(count), -1);
  return batch;
}

RunConfig latent_run() {
  RunConfig c = small_run();
  c.model = {.img_size = 8, .in_chans = 2, .clip_dim = 5, .num_clip_token = 3};
  return c;
}

std::vector<double> all_of(const StepInputs& in, int64_t begin, int64_t end) {
  std::vector<double> v;
  for (const Tensor& t : {in.x0, in.eps, in.alpha, in.sigma, in.t, in.conditions.y, in.conditions.context, in.weight})
    if (t)
      for (const double x : values(t.rows(begin, end))) v.push_back(x);
  return v;
}

// A step's inputs, of a batch that need not outlive them.
StepInputs drawn(const TrainingDraws& draws, Context& ctx, const Batch& batch, int64_t step, Rows rows = {}) {
  Feed feed(ctx);
  const StepMaterial material = draws.bring(feed, batch, step);
  const StepInputs in = draws.draw(ctx, material, rows);
  synchronize(ctx.device());
  return in;
}

TEST(TrainingDraws, DependOnSeedStepAndSampleAlone) {
  for (const char* schedule : {"vp", "sd"}) {
    RunConfig config = small_run();
    config.diffusion.schedule = schedule;
    const TrainingDraws draws(config, schedule_of(schedule));
    Context ctx, other({.threads = 1, .isa = Isa::avx2});
    const StepInputs six = drawn(draws, ctx, batch_of(30, 6), 5);
    EXPECT_EQ(all_of(six, 0, 3), all_of(drawn(draws, other, batch_of(30, 3), 5), 0, 3));
    EXPECT_EQ(all_of(six, 3, 6), all_of(drawn(draws, other, batch_of(33, 3), 5), 0, 3));
    EXPECT_EQ(all_of(six, 2, 5), all_of(drawn(draws, other, batch_of(30, 6), 5, {2, 5}), 0, 3));
    EXPECT_NE(values(six.eps), values(drawn(draws, ctx, batch_of(30, 6), 6).eps));
    EXPECT_NE(values(six.t), values(drawn(draws, ctx, batch_of(30, 6), 6).t));
    EXPECT_NE(values(six.eps.rows(0, 1)), values(six.eps.rows(1, 2)));
    config.train.seed = 78;
    EXPECT_NE(values(drawn(TrainingDraws(config, schedule_of(schedule)), ctx, batch_of(30, 6), 5).eps),
              values(six.eps));
  }
}

// On every device, and with batches in the memory that it copies from.
class TrainingDrawsOn : public ::testing::TestWithParam<Device> {};
INSTANTIATE_TEST_SUITE_P(Devices, TrainingDrawsOn, ::testing::ValuesIn(devices()), device_name);

TEST_P(TrainingDrawsOn, HaveTheBitsOfTheCpu) {
  Context cpu, ctx({.device = GetParam(), .threads = 1});
  const OwnedTensor empty = tensor_of(DType::f32, {3, 5}, std::vector<double>(15, -3));
  const TrainingDraws of_images(small_run(), schedule_of("vp")),
      of_latents(latent_run(), schedule_of("sd"), 0.5, empty.tensor);
  const auto all = [&](Context& on, const Batch& images, const Batch& latents) {
    std::vector<double> v = all_of(drawn(of_images, on, images, 5), 0, 9);
    const StepInputs in = drawn(of_latents, on, latents, 5);  // x0 goes through exp(), of each device its own
    for (const Tensor& t : {in.eps, in.t, in.conditions.context})
      for (const double x : values(t)) v.push_back(x);
    return v;
  };
  const std::vector<double> want = all(cpu, batch_of(30, 9), latents_of(30, 9));
  Batch images = batch_of(30, 9);
  OwnedTensor near(host_memory_for(GetParam()), DType::u8, images.pixels.tensor.shape());
  copy({}, images.pixels.tensor, near.buffer.device(), near.tensor);
  images.pixels = std::move(near);
  EXPECT_EQ(all(ctx, images, latents_of(30, 9)), want);
}

TEST(TrainingDraws, ALabelThatTheModelDoesNotHaveIsSaid) {
  Context ctx;
  Batch batch = batch_of(0, 3);
  batch.labels[1] = 10;  // the null class
  EXPECT_EQ(error_of([&] { drawn(TrainingDraws(small_run(), schedule_of("vp")), ctx, batch, 0); }),
            "the data have an image of label 10, the model has 10 classes");
}

constexpr int64_t kMany = 4000;

// Means and variances within five standard errors.
TEST(TrainingDraws, NoiseIsStandardNormalAndTimeUniform) {
  Context ctx;
  const StepInputs in = drawn(TrainingDraws(small_run(), schedule_of("vp")), ctx, batch_of(0, kMany), 3);
  double mean = 0, square = 0;
  const auto eps = values(in.eps);
  const double n = static_cast<double>(eps.size());
  for (const double x : eps) mean += x / n, square += x * x / n;
  EXPECT_NEAR(mean, 0, 5 / std::sqrt(n));
  EXPECT_NEAR(square, 1, 5 * std::sqrt(2 / n));
  std::vector<int> bins(10);
  for (const double t : values(in.t)) {
    ASSERT_GE(t, 0);
    ASSERT_LT(t, 999);
    ++bins[static_cast<size_t>(t / 99.9)];
  }
  for (const int count : bins) EXPECT_NEAR(count, kMany / 10.0, 5 * std::sqrt(kMany * 0.09));
}

TEST(TrainingDraws, DiscreteTimesAreTheWholeStepsFromOneToAThousand) {
  Context ctx;
  RunConfig config = small_run();
  config.diffusion.schedule = "sd";
  const Schedule schedule = schedule_of("sd");
  const StepInputs in = drawn(TrainingDraws(config, schedule), ctx, batch_of(0, kMany), 0);
  std::set<double> seen;
  for (int64_t b = 0; b < kMany; ++b) {
    const double n = at(in.t, b);
    ASSERT_EQ(n, std::round(n));
    ASSERT_GE(n, 1);
    ASSERT_LE(n, 1000);
    seen.insert(n);
    const NoiseLevel level = schedule.at(n / 1000);
    EXPECT_EQ(at(in.alpha, b), static_cast<float>(level.alpha));
    EXPECT_EQ(at(in.sigma, b), static_cast<float>(level.sigma));
  }
  EXPECT_GT(seen.size(), 970u);  // 1000 (1 - e^-4) = 982 are expected, give or take 4
}

TEST(TrainingDraws, DropsTheShareOfLabelsAndKeepsTheOthers) {
  Context ctx;
  RunConfig config = small_run();
  const Batch batch = batch_of(0, kMany);
  for (const double share : {0.0, 0.25}) {
    config.train.label_drop = share;
    const StepInputs in = drawn(TrainingDraws(config, schedule_of("vp")), ctx, batch, 0);
    int dropped = 0;
    for (int64_t b = 0; b < kMany; ++b) {
      if (at(in.conditions.y, b) == 10) {
        ++dropped;
      } else {
        ASSERT_EQ(at(in.conditions.y, b), batch.labels[static_cast<size_t>(b)]);
      }
    }
    EXPECT_NEAR(dropped, share * kMany, 5 * std::sqrt(share * (1 - share) * kMany));
  }
  config.model.num_classes = -1;
  config.model.null_class = false;
  EXPECT_TRUE(drawn(TrainingDraws(config, schedule_of("vp")), ctx, batch_of(0, 2), 0).conditions.y.empty());
}

TEST(TrainingDraws, PixelsBecomeImagesInMinusOneToOne) {
  Context ctx;
  const Batch batch = batch_of(5, 2);
  const StepInputs in = drawn(TrainingDraws(small_run(), schedule_of("vp")), ctx, batch, 0);
  const auto* pixels = static_cast<const uint8_t*>(batch.pixels.tensor.raw());
  for (int64_t b = 0; b < 2; ++b)
    for (int64_t c = 0; c < 3; ++c)
      for (int64_t i = 0; i < 64; ++i)
        ASSERT_FLOAT_EQ(static_cast<float>(at(in.x0, (b * 3 + c) * 64 + i)),
                        static_cast<float>(pixels[b * 192 + i * 3 + c]) / 127.5f - 1);
}

// The logit of a logit-normal time is a standard normal number; on a discrete schedule the time is the knot above it.
TEST(TrainingDraws, LogitNormalTimes) {
  Context ctx;
  RunConfig config = small_run();
  config.diffusion.time_sampling = "logit_normal";
  const Batch batch = batch_of(0, kMany);
  const std::vector<double> t = values(drawn(TrainingDraws(config, schedule_of("vp")), ctx, batch, 0).t);
  const std::vector<double> n = values(drawn(TrainingDraws(config, schedule_of("linear")), ctx, batch, 0).t);
  double mean = 0, square = 0;
  for (size_t i = 0; i < t.size(); ++i) {
    const double u = t[i] / 999, z = std::log(u / (1 - u));
    mean += z / kMany;
    square += z * z / kMany;
    ASSERT_NEAR(n[i], u * 1000 + 0.5, 0.501) << u;
  }
  EXPECT_NEAR(mean, 0, 5 / std::sqrt(double{kMany}));
  EXPECT_NEAR(square, 1, 5 * std::sqrt(2.0 / kMany));
}

// Min-SNR-gamma as weights on the loss of what is predicted: with snr = alpha^2 / sigma^2 and w = min(snr, gamma), an
// x0 loss is weighted w, an eps loss w / snr, a v loss w / (snr + 1).
TEST(TrainingDraws, MinSnrWeights) {
  Context ctx;
  RunConfig config = small_run();
  config.diffusion.gamma = 5;
  for (const std::string prediction : {"eps", "x0", "v"}) {
    config.diffusion.prediction = prediction;
    config.diffusion.loss_weight = "none";
    for (const double w : values(drawn(TrainingDraws(config, schedule_of("vp")), ctx, batch_of(0, 50), 0).weight))
      ASSERT_EQ(w, 1);
    config.diffusion.loss_weight = "min_snr";
    const StepInputs in = drawn(TrainingDraws(config, schedule_of("vp")), ctx, batch_of(0, 500), 0);
    int cut = 0;
    for (int64_t b = 0; b < 500; ++b) {
      const double alpha = at(in.alpha, b), sigma = at(in.sigma, b), snr = alpha * alpha / (sigma * sigma);
      const double w = std::min(snr, 5.0);
      const double want = prediction == "x0" ? w : prediction == "eps" ? w / snr : w / (snr + 1);
      EXPECT_NEAR(at(in.weight, b), want, 1e-5 * want) << prediction << " alpha " << alpha;
      cut += snr > 5;
    }
    EXPECT_GT(cut, 50);
    EXPECT_LT(cut, 450);
  }
}

TEST(TrainingDraws, LatentsComeFromTheirPosteriorsAndAreScaled) {
  Context ctx;
  const OwnedTensor empty({}, DType::f32, {3, 5});
  const TrainingDraws draws(latent_run(), schedule_of("vp"), 0.5, empty.tensor);
  const StepInputs in = drawn(draws, ctx, latents_of(0, kMany), 3);
  double mean = 0, square = 0, of_eps = 0;
  constexpr double n = kMany * 64;
  for (int64_t b = 0; b < kMany; ++b)
    for (int64_t i = 0; i < 64; ++i) {
      const double noise = at(in.x0, b * 128 + i) / 0.5 / 2 - static_cast<double>(b % 7) / 2;
      mean += noise / n, square += noise * noise / n, of_eps += noise * at(in.eps, b * 128 + i) / n;
      ASSERT_NEAR(at(in.x0, b * 128 + 64 + i), 0.5 * static_cast<double>(b % 7), 1e-5);
    }
  EXPECT_NEAR(mean, 0, 5 / std::sqrt(n));
  EXPECT_NEAR(square, 1, 5 * std::sqrt(2 / n));
  EXPECT_NEAR(of_eps, 0, 5 / std::sqrt(n)) << "its noise is not that of training";
  EXPECT_EQ(all_of(in, 2, 5), all_of(drawn(draws, ctx, latents_of(2, 3), 3), 0, 3));
  EXPECT_NE(values(in.x0), values(drawn(draws, ctx, latents_of(0, kMany), 4).x0));

  Batch means = latents_of(0, 6);
  means.latents = OwnedTensor({}, DType::f32, {6, 2, 8, 8});
  for (int64_t i = 0; i < 6 * 128; ++i) means.latents.tensor.data<float>()[i] = static_cast<float>(i);
  const StepInputs plain = drawn(draws, ctx, means, 3);
  for (int64_t i = 0; i < 6 * 128; ++i) ASSERT_EQ(at(plain.x0, i), 0.5 * static_cast<double>(i));
}

TEST(TrainingDraws, ADroppedTextIsTheEmptyOne) {
  Context ctx;
  const OwnedTensor empty = tensor_of(DType::f32, {3, 5}, std::vector<double>(15, -3));
  const StepInputs in =
      drawn(TrainingDraws(latent_run(), schedule_of("sd"), 1, empty.tensor), ctx, latents_of(0, kMany), 1);
  int dropped = 0;
  for (int64_t b = 0; b < kMany; ++b) {
    const auto row = values(in.conditions.context.rows(b, b + 1));
    const bool drop = row[0] == -3;
    EXPECT_EQ(row, std::vector<double>(15, drop ? -3.0 : static_cast<double>(b + 1)));
    dropped += drop;
  }
  EXPECT_NEAR(dropped, kMany * 0.25, 5 * std::sqrt(kMany * 0.25 * 0.75));
}

}  // namespace
}  // namespace uvic::test
