// The parameter store, the released configurations (names, shapes, counts, FLOPs) and the released initialisation.

#include "model/params.h"

#include <fstream>

#include "kernels/ops/pointwise.h"
#include "model/uvic.h"
#include "tests/golden_model.h"

namespace uvic::test {
namespace {

using nlohmann::json;

const json& released_models() {
  static const json models = json::parse(std::ifstream(reference_dir("uvic") / "param_counts.json"))["models"];
  return models;
}

UViCConfig config_of(const json& model) { return config_from_json(model.dump(), model["label"]); }

TEST(ReleasedModels, NamesShapesAndCounts) {
  ASSERT_FALSE(released_models().empty());
  for (const json& model : released_models()) {
    SCOPED_TRACE(model["label"]);
    ParamStore store({});
    const UViC net(store, config_of(model));
    EXPECT_EQ(store.count(), model["params"]);
    EXPECT_EQ(net.config().tokens(), model["tokens"]);
    EXPECT_EQ(net.config().blocks(), model["blocks"]);
    ASSERT_EQ(store.params().size(), model["parameters"].size());
    for (size_t id = 0; id < store.params().size(); ++id) {
      const auto shape = model["parameters"][id][1].get<std::vector<int64_t>>();
      EXPECT_EQ(store.params()[id].name, model["parameters"][id][0]);
      EXPECT_EQ(store.params()[id].shape, Shape(shape.begin(), shape.end())) << store.params()[id].name;
    }
  }
}

TEST(ReleasedModels, Flops) {
  for (const json& model : released_models())
    EXPECT_EQ(config_of(model).forward_flops(), model["flops"]["total"].get<double>()) << model["label"];
}

// "ImageNet 64x64 U-ViT-L/4", "MS-COCO U-ViT-S/2 Deep": the preset is what follows the data set.
std::string preset_of(const std::string& label) {
  std::string name = label.substr(label.find("U-Vi"));
  if (const size_t deep = name.find(" Deep"); deep != std::string::npos)
    name = name.substr(0, deep).insert(name.find('/'), "-Deep");
  return name;
}

TEST(ReleasedModels, Presets) {
  for (const json& model : released_models()) {
    const std::string name = preset_of(model["label"]);
    const UViCConfig got = preset(name), want = config_of(model);
    EXPECT_EQ(got.arch, want.arch) << name;
    EXPECT_EQ(got.patch_size, want.patch_size) << name;
    EXPECT_EQ(got.embed_dim, want.embed_dim) << name;
    EXPECT_EQ(got.depth, want.depth) << name;
    EXPECT_EQ(got.num_heads, want.num_heads) << name;
    EXPECT_EQ(got.mlp_ratio, want.mlp_ratio) << name;
    EXPECT_EQ(got.conv, want.conv) << name;
  }
  EXPECT_EQ(preset("U-ViC-mini/4").embed_dim, 256);
  EXPECT_EQ(preset("U-ViC-mini/4").depth, 8);
  EXPECT_EQ(preset("U-ViC-mini/4").num_heads, 4);
  for (const std::string& name : preset_names()) EXPECT_NO_THROW(validate(preset(name))) << name;
  EXPECT_NE(error_of([] { preset("U-VIC-S/2"); }).find("U-VIC-S/2"), std::string::npos);
}

TEST(ParamStore, ViewsAreAlignedPiecesOfTheFlatMemory) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    ParamStore store({});
    const int a = store.add("a", {3, 5}, Init::ones), b = store.add("b", {7}, Init::zeros);
    EXPECT_EQ(store.count(), 22);
    EXPECT_EQ(store.find("b"), b);
    EXPECT_EQ(store.find("c"), -1);
    EXPECT_NE(error_of([&] { store.add("a", {1}, Init::zeros); }).find("'a'"), std::string::npos);
    EXPECT_TRUE(store.grad(a).empty());
    store.allocate_for_training(dtype);
    EXPECT_NE(error_of([&] { store.add("late", {1}, Init::zeros); }).find("'late'"), std::string::npos);
    for (const Role role : {Role::master, Role::working, Role::grad, Role::m, Role::v, Role::ema}) {
      EXPECT_EQ(store.view(role, a).shape(), Shape({3, 5})) << name_of(role);
      EXPECT_EQ(store.view(role, a).dtype(), role == Role::working ? dtype : DType::f32) << name_of(role);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(store.view(role, b).raw()) % 64, 0u) << name_of(role);
      EXPECT_GE(store.flat(role).numel(), store.count()) << name_of(role);
      for (const double x : values(store.flat(role))) ASSERT_EQ(x, 0) << name_of(role);
    }
    EXPECT_EQ(store.value(a).raw() == store.view(Role::master, a).raw(), dtype == DType::f32);
  }
}

class ParamsEverywhere : public ::testing::TestWithParam<Where> {};
INSTANTIATE_TEST_SUITE_P(Everywhere, ParamsEverywhere, ::testing::ValuesIn(everywhere_and_gpu()), where_name);

TEST_P(ParamsEverywhere, UseMakesTheWorkingWeightsThoseOfTheRole) {
  const Where& where = GetParam();
  Context ctx = context(where);
  ParamStore store(where.device);
  const int a = store.add("a", {2, 3}, Init::normal_1);
  store.allocate_for_training(where.dtype);
  store.initialise(ctx, 1);
  const OwnedTensor averaged = random_tensor(where.dtype, {2, 3}, 2);
  assign(store.view(Role::ema, a), values(averaged.tensor));
  store.use(ctx, Role::ema);
  EXPECT_EQ(values(store.value(a)), values(averaged.tensor));
  store.use(ctx, Role::master);
  Tensor rounded = ctx.empty(where.dtype, {2, 3});
  cast(ctx, store.view(Role::master, a), rounded);
  EXPECT_EQ(values(store.value(a)), values(rounded));
  EXPECT_THROW(store.use(ctx, Role::m), Error);
}

// ---- the released initialisation ------------------------------------------------------------------------------------

UViCConfig label_model() {
  UViCConfig c;
  c.img_size = 8;
  c.embed_dim = 96;
  c.depth = 2;
  c.num_heads = 2;
  c.num_classes = 101;
  c.in_chans = 5;
  c.qkv_bias = c.mlp_time_embed = true;
  return c;
}

struct Spread {
  double mean = 0, deviation = 0, largest = 0;
};
Spread spread(const std::vector<double>& v) {
  Spread s;
  for (const double x : v) s.mean += x / static_cast<double>(v.size()), s.largest = std::max(s.largest, std::abs(x));
  for (const double x : v) s.deviation += (x - s.mean) * (x - s.mean) / static_cast<double>(v.size());
  s.deviation = std::sqrt(s.deviation);
  return s;
}

// Normal(0, 0.02) for linear weights and pos_embed, normal(0, 1) for labels, U(-1, 1) / sqrt(fan in) for both
// convolutions and their biases, ones for norms, zero for every other bias. Means and deviations within 5 standard
// errors.
TEST(Initialisation, IsTheReleasedOne) {
  ParamStore store({});
  const UViC net(store, label_model());
  Context ctx;
  store.allocate_for_training(DType::f32);
  store.initialise(ctx, 3);
  for (size_t id = 0; id < store.params().size(); ++id) {
    const std::string& name = store.params()[id].name;
    SCOPED_TRACE(name);
    const std::vector<double> v = values(store.view(Role::master, static_cast<int>(id)));
    const Spread s = spread(v);
    const double n = static_cast<double>(v.size());
    const bool convolution = name.starts_with("patch_embed.") || name.starts_with("final_layer.");
    const bool norm = name.starts_with("norm.") || name.find(".norm") != std::string::npos;
    if (convolution) {
      const double bound = 1 / std::sqrt(name.starts_with("patch_embed.") ? 5.0 * 2 * 2 : 5.0 * 3 * 3);
      EXPECT_LE(s.largest, bound);
      EXPECT_NEAR(s.mean, 0, 5 * bound / std::sqrt(3 * n));
      EXPECT_NEAR(s.deviation, bound / std::sqrt(3.0), 5 * bound / std::sqrt(3 * n));
    } else if (name.ends_with("bias") || norm) {
      EXPECT_EQ(v, std::vector<double>(v.size(), name.ends_with("bias") ? 0 : 1));
    } else {
      const double deviation = name == "label_emb.weight" ? 1 : 0.02;
      EXPECT_NEAR(s.mean, 0, 5 * deviation / std::sqrt(n));
      EXPECT_NEAR(s.deviation, deviation, 5 * deviation / std::sqrt(2 * n));
    }
  }
}

TEST_P(ParamsEverywhere, InitialisationDependsOnTheSeedAloneAndFillsMasterWorkingAndEma) {
  const Where& where = GetParam();
  Context ctx = context(where), plain;
  ParamStore first({}), store(where.device), other(where.device), frozen(where.device);
  const UViC first_net(first, label_model()), net(store, label_model()), other_net(other, label_model()),
      frozen_net(frozen, label_model());
  first.allocate_for_training(DType::f32);
  first.initialise(plain, 3);
  store.allocate_for_training(where.dtype);
  store.initialise(ctx, 3);
  const std::vector<double> master = values(store.flat(Role::master));
  EXPECT_EQ(master, values(first.flat(Role::master)));
  EXPECT_EQ(values(store.flat(Role::ema)), master);
  frozen.allocate_for_inference(where.dtype);
  frozen.initialise(ctx, 3);
  EXPECT_EQ(values(frozen.flat(Role::working)), values(store.flat(Role::working)));
  other.allocate_for_training(where.dtype);
  other.initialise(ctx, 4);
  EXPECT_NE(values(other.flat(Role::master)), master);
}

// From such scores a U-ViC computes what a U-ViT of the same weights does, and from the released start it does not.
TEST_P(ParamsEverywhere, StartScoresMakeCogAttentionStartAsSoftmax) {
  const Where& where = GetParam();
  Context ctx = context(where);
  const OwnedTensor image = random_tensor(DType::f32, {1, 5, 8, 8}, 1), t(host(), DType::f32, {1}),
                    y(host(), DType::i32, {1});
  const auto output = [&](const std::string& arch, double score) {
    UViCConfig config = label_model();
    config.arch = arch;
    ParamStore store(where.device);
    const UViC net(store, config);
    store.allocate_for_training(where.dtype);
    store.initialise(ctx, 3);
    if (score > 0) start_scores_at(ctx, store, config, score);
    EXPECT_EQ(values(store.flat(Role::ema)), values(store.flat(Role::master)));
    OwnedTensor out(host(), DType::f32, {1, 5, 8, 8});
    net.forward(ctx, image.tensor, t.tensor, {.y = y.tensor}, out.tensor);
    return values(out.tensor);
  };
  EXPECT_EQ(output("uvic", 2), output("uvit", 2));
  EXPECT_NE(output("uvic", 0), output("uvit", 0));
}

TEST(StartScoresAt, NeedsBiases) {
  UViCConfig config = label_model();
  config.qkv_bias = false;
  ParamStore store({});
  const UViC net(store, config);
  store.allocate_for_training(DType::f32);
  Context ctx;
  EXPECT_THROW(start_scores_at(ctx, store, config, 2), Error);
}

}  // namespace
}  // namespace uvic::test
