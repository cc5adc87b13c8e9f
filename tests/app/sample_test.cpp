// Images from a model: the same at any batch size, guidance as it is usually meant, every solver.

#include "app/generator.h"

#include <algorithm>
#include <set>

#include "app/loaded_model.h"
#include "kernels/ops/pointwise.h"
#include "tests/app/tiny_run.h"

namespace uvic::test {
namespace {

// A tiny random model, and what its network makes of seeds and labels.
class GeneratorTest : public FolderTest, public ::testing::WithParamInterface<Where> {
 protected:
  explicit GeneratorTest(const UViCConfig& config = tiny_model())
      : ctx_(context(GetParam())),
        model_(load_model(ctx_, write_random_model(dir_ / "model.safetensors", config), GetParam().dtype)) {}

  // Images [N, 3, 8, 8] of consecutive seeds, in batches.
  std::vector<double> images(GeneratorOptions options, int count, int batch, uint64_t first_seed = 5) {
    options.sampler.prediction = prediction_of(model_.info.prediction);
    const Generator generator(*model_.net, schedule_of("vp"), options);
    std::vector<double> all;
    for (int begin = 0; begin < count; begin += batch) {
      std::vector<uint64_t> seeds;
      std::vector<int32_t> labels;
      for (int i = begin; i < std::min(count, begin + batch); ++i) {
        seeds.push_back(first_seed + static_cast<uint64_t>(i));
        labels.push_back(i % 3);
      }
      Tensor x = ctx_.empty(DType::f32, {static_cast<int64_t>(seeds.size()), 3, 8, 8});
      generator.generate(ctx_, {.seeds = seeds, .labels = labels}, x);
      for (const double v : values(x)) all.push_back(v);
    }
    return all;
  }

  std::vector<int> pixels(const std::vector<double>& image) {
    const OwnedTensor x = tensor_of(DType::f32, {static_cast<int64_t>(image.size()) / 192, 3, 8, 8}, image);
    const OwnedTensor p(host(), DType::u8, {x.tensor.dim(0), 8, 8, 3});
    image_to_pixels(ctx_, x.tensor, p.tensor);
    std::vector<int> all;
    for (const double v : values(p.tensor)) all.push_back(static_cast<int>(v));
    return all;
  }

  Context ctx_;
  LoadedModel model_;
};

TEST_P(GeneratorTest, AnImageIsTheSameAtAnyBatchSize) {
  const GeneratorOptions options{.sampler = {.steps = 6}};
  const std::vector<double> alone = images(options, 16, 1);
  const std::vector<int> want = pixels(alone);
  EXPECT_GT(std::set<int>(want.begin(), want.end()).size(), 100u) << "the images are too flat to tell anything";
  for (const int batch : {3, 16}) {
    SCOPED_TRACE(batch);
    const std::vector<double> together = images(options, 16, batch);
    const std::vector<int> got = pixels(together);
    if (GetParam().dtype == DType::bf16) {  // a cog score near 0 may change sign there: only norms say something
      EXPECT_LE(relative_l2(together, alone), 5e-2);
      continue;
    }
    size_t near = 0;
    for (size_t i = 0; i < want.size(); ++i) {
      const int difference = std::abs(got[i] - want[i]);
      near += difference <= 1;
      EXPECT_LE(difference, 3) << "pixel " << i;
    }
    EXPECT_GE(static_cast<double>(near), 0.999 * static_cast<double>(want.size()));
  }
}

TEST_P(GeneratorTest, InitialNoiseDependsOnTheSeedAlone) {
  const std::vector<uint64_t> seeds{9, 0, 1ull << 40, 7, 8};
  Tensor all = ctx_.empty(DType::f32, {5, 3, 8, 8}), one = ctx_.empty(DType::f32, {1, 3, 8, 8});
  initial_noise(ctx_, seeds, all);
  for (int64_t i = 0; i < 5; ++i) {
    initial_noise(ctx_, {&seeds[static_cast<size_t>(i)], 1}, one);
    EXPECT_EQ(values(one), values(all.rows(i, i + 1)));
  }
}

TEST_P(GeneratorTest, ScaleOneIsNoGuidanceToTheBit) {
  const SamplerOptions options{.steps = 4, .prediction = Prediction::v};
  const std::vector<uint64_t> seeds{3, 4};
  const std::vector<int32_t> labels{2, 0};
  Tensor got = ctx_.empty(DType::f32, {2, 3, 8, 8}), want = ctx_.like(got);
  Generator(*model_.net, schedule_of("vp"), {.sampler = options, .guidance = {.scale = 1}})
      .generate(ctx_, {.seeds = seeds, .labels = labels}, got);
  const OwnedTensor y = tensor_of(DType::i32, {2}, {2, 0});
  const Denoiser plain = [&](Context& ctx, Tensor x, double label, Tensor out) {
    const OwnedTensor t = tensor_of(DType::f32, {2}, {label, label});
    model_.net->forward(ctx, x, t.tensor, {y.tensor, {}}, out);
    settle();  // t goes
  };
  initial_noise(ctx_, seeds, want);
  sample(ctx_, schedule_of("vp"), plain, options, solver_noise(ctx_, seeds), want);
  EXPECT_EQ(values(got), values(want));
}

// uncond + scale (cond - uncond), so one evaluation's result is linear in scale; scale 0 is the null class's image.
TEST_P(GeneratorTest, GuidanceExtrapolatesFromTheNullClass) {
  const bool f32 = GetParam().dtype == DType::f32;
  const auto at_scale = [&](double scale) {
    return images({.sampler = {.solver = "ddim", .steps = 1}, .guidance = {.scale = scale}}, 3, 3);
  };
  const auto zero = at_scale(0), one = at_scale(1), three = at_scale(3);
  std::vector<double> want(one.size());
  for (size_t i = 0; i < want.size(); ++i) want[i] = zero[i] + 3 * (one[i] - zero[i]);
  EXPECT_LE(relative_l2(three, want), f32 ? 1e-4 : 5e-2);
  EXPECT_GT(relative_l2(zero, one), 1e-2) << "the class makes no difference";
}

// What goes beyond noise, a label and the null class: negative labels, a guide, mixed labels, a start from an image.
class RequestTest : public GeneratorTest {
 protected:
  using Request = Generator::Request;

  std::vector<double> make(const GeneratorOptions& given, Request r) {
    GeneratorOptions options = given;
    options.sampler.prediction = prediction_of(model_.info.prediction);
    options.sampler.steps = 4;
    r.seeds = seeds_;
    if (r.labels.empty()) r.labels = labels_;
    Tensor x = ctx_.empty(DType::f32, {2, 3, 8, 8});
    Generator(*model_.net, schedule_of("vp"), options).generate(ctx_, r, x);
    return values(x);
  }

  const std::vector<uint64_t> seeds_{3, 4};
  const std::vector<int32_t> labels_{2, 2}, others_{1, 1};
  const double near_ = GetParam().dtype == DType::f32 ? 1e-4 : 5e-2;
};

TEST_P(RequestTest, GuidingAwayFromTheSameConditionIsNoGuidance) {
  const std::vector<double> plain = make({}, {});
  EXPECT_LE(relative_l2(make({.guidance = {.scale = 3}}, {.negative_label = 2}), plain), near_);
  EXPECT_LE(relative_l2(make({.guidance = {.scale = 3}, .guide = model_.net.get()}, {}), plain), near_);
  EXPECT_GT(relative_l2(make({.guidance = {.scale = 3}}, {.negative_label = 1}), plain), 1e-2);
}

TEST_P(RequestTest, MixedLabelsGoFromOneToTheOther) {
  const auto mixed = [&](float share, double scale) {
    const std::vector<float> shares{share, share};
    return make({.guidance = {.scale = scale}}, {.other_labels = others_, .share = shares});
  };
  for (const double scale : {1.0, 2.0}) {
    const std::vector<double> first = make({.guidance = {.scale = scale}}, {}),
                              second = make({.guidance = {.scale = scale}}, {.labels = others_});
    EXPECT_LE(relative_l2(mixed(0, scale), first), near_);
    EXPECT_LE(relative_l2(mixed(1, scale), second), near_);
    EXPECT_GT(relative_l2(mixed(0.5, scale), first), 1e-2);
  }
}

TEST_P(RequestTest, StartsFromAnImageAndKeepsWhatItIsTold) {
  const OwnedTensor init = random_tensor(DType::f32, {2, 3, 8, 8}, 5, 0.5), keep(host(), DType::f32, {2, 3, 8, 8});
  for (int64_t i = 0; i < 192; ++i) keep.tensor.data<float>()[i] = 1;  // all of the first image, none of the second
  const std::vector<double> want = values(init.tensor);
  GeneratorOptions options;
  options.sampler.t_start = 0.02;
  const double little = relative_l2(make(options, {.init = init.tensor}), want);
  options.sampler.t_start = 0.9;
  EXPECT_GT(relative_l2(make(options, {.init = init.tensor}), want), 2 * little);
  const std::vector<double> kept = make(options, {.init = init.tensor, .keep = keep.tensor});
  EXPECT_EQ(std::vector<double>(kept.begin(), kept.begin() + 192),
            std::vector<double>(want.begin(), want.begin() + 192));
  EXPECT_GT(relative_l2({kept.begin() + 192, kept.end()}, {want.begin() + 192, want.end()}), 0.3);
}

INSTANTIATE_TEST_SUITE_P(Everywhere, RequestTest, ::testing::ValuesIn(everywhere_and_gpu()), where_name);

TEST_P(GeneratorTest, EverySolverRunsAndRepeats) {
  for (const std::string& solver : solver_names()) {
    SCOPED_TRACE(solver);
    GeneratorOptions options{.sampler = {.solver = solver, .steps = 5}, .guidance = {.scale = 1.5}};
    const Schedule schedule = schedule_of("vp");
    const auto run = [&] { return images(options, 2, 2); };
    const std::vector<double> first = run();
    for (const double v : first) ASSERT_TRUE(std::isfinite(v));
    EXPECT_EQ(run(), first);
    EXPECT_NE(std::vector<double>(first.begin(), first.begin() + 192),
              std::vector<double>(first.begin() + 192, first.end()));
  }
}

INSTANTIATE_TEST_SUITE_P(Everywhere, GeneratorTest, ::testing::ValuesIn(everywhere_and_gpu()), where_name);

TEST(Guidance, NeedsANullClass) {
  UViCConfig config = tiny_model();
  ParamStore labels({}), none({});
  config.null_class = false;
  const UViC without_null(labels, config);
  config.num_classes = -1;
  const UViC unconditional(none, config);
  const GeneratorOptions guided{.guidance = {.scale = 2}};
  EXPECT_NE(error_of([&] { Generator(without_null, schedule_of("vp"), guided); }).find("no null class"),
            std::string::npos);
  EXPECT_NE(error_of([&] { Generator(unconditional, schedule_of("vp"), guided); }).find("no condition"),
            std::string::npos);
  const auto with_guide = [&](double scale, const UViC& guide) {
    return error_of(
        [&] { Generator(without_null, schedule_of("vp"), {.guidance = {.scale = scale}, .guide = &guide}); });
  };
  const Generator needs_none(without_null, schedule_of("vp"), {.guidance = {.scale = 2}, .guide = &without_null});
  EXPECT_NE(with_guide(1, without_null).find("--guide-model needs a --cfg-scale"), std::string::npos);
  EXPECT_NE(with_guide(2, unconditional).find("from other conditions"), std::string::npos);
}

}  // namespace
}  // namespace uvic::test
