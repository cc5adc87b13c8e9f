// What --dry-run says: memory against what a step takes, and every shipped config against the released models.

#include "app/run_estimate.h"

#include <map>
#include <set>

#include "app/made_up.h"
#include "tests/app/program.h"
#include "tests/app/tiny_run.h"
#include "tests/golden_model.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;

struct Shape {
  const char* name;
  UViCConfig config;
};

// Small, but with the proportions of what is trained: activations far larger than the scratch of the ops.
std::vector<Shape> shapes() {
  UViCConfig c;
  c.img_size = 16;
  c.embed_dim = 128;
  c.depth = 6;
  c.num_heads = 4;
  UViCConfig labels = c, text = c, flat = c;
  labels.num_classes = 11;
  labels.depth = 10;
  text.clip_dim = 96;
  text.num_clip_token = 20;
  text.in_chans = 4;
  flat.skip = flat.conv = false;
  flat.mlp_ratio = 6;
  return {{"plain", c}, {"labels", labels}, {"text", text}, {"flat", flat}};
}

TEST(TrainingMemoryTest, IsWhatAStepTakes) {
  for (const Shape& shape : shapes()) {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      for (const bool recompute : {false, true}) {
        SCOPED_TRACE(concat(shape.name, " ", name_of(dtype), recompute ? " recompute" : ""));
        constexpr int kBatch = 40;
        Context ctx({.threads = 1});
        TrainedModel model(ctx, shape.config, dtype, 1);
        model.recompute = recompute;
        train_step(ctx, model, made_up_step(ctx, shape.config, kBatch), Prediction::eps, {}, 1);
        const TrainingMemory m = training_memory(shape.config, kBatch, dtype, recompute);
        const auto took = static_cast<double>(ctx.arena().peak());
        EXPECT_NEAR(m.activations, took, 0.1 * took);
        const auto bytes = [&](std::initializer_list<Role> roles) {
          double sum = 0;
          for (const Role role : roles) sum += static_cast<double>(model.store.flat(role).bytes());
          return sum;
        };
        const double copy = dtype == DType::f32 ? 0 : bytes({Role::working});
        EXPECT_NEAR(m.weights, bytes({Role::master}) + copy, 0.01 * m.weights);
        EXPECT_NEAR(m.moments, bytes({Role::m, Role::v}), 0.01 * m.moments);
        EXPECT_NEAR(m.gradients, bytes({Role::grad}), 0.01 * m.gradients);
        EXPECT_NEAR(m.averages, bytes({Role::ema}), 0.01 * m.averages);
        EXPECT_EQ(m.total(), m.weights + m.moments + m.gradients + m.averages + m.activations);
      }
    }
  }
}

RunConfig small_run(int batch, int64_t steps) {
  RunConfig c;
  c.model = shapes()[0].config;
  c.train.batch_size = batch;
  c.train.max_steps = steps;
  c.train.dtype = "f32";
  c.train.threads = 1;
  c.data.path = "/no/such/data";
  return c;
}

class RunEstimateTest : public ImageFolderTest {};

TEST_F(RunEstimateTest, CountsTheWorkAndTheData) {
  RunConfig c = small_run(4, 30);
  c.data = data_at(class_folders(3, 5));
  const RunEstimate e = estimate_run(c, {.threads = 1});
  EXPECT_EQ(e.images, 15);
  EXPECT_EQ(e.step_flops, 4 * 3 * c.model.forward_flops());
  EXPECT_EQ(e.measured_batch, 4);
  EXPECT_GT(e.step_seconds, 0);
  EXPECT_LT(e.step_flops / e.step_seconds, e.matrix_rate);
  const std::string text = to_text(e, c);
  for (const char* part : {"65 tokens, f32", "a step of 4 images", "15 images: 30 steps are 8 epochs",
                           "for 30 steps of", "measured here", "with recompute)"})
    EXPECT_NE(text.find(part), std::string::npos) << part << " is not in\n" << text;
  c.train.recompute = true;
  EXPECT_NE(to_text(estimate_run(c, {.threads = 1}), c).find("without recompute)"), std::string::npos);
}

TEST_F(RunEstimateTest, RefusesDataOfOtherClassesAsTrainingDoes) {
  RunConfig c = small_run(4, 30);
  c.data = data_at(class_folders(3, 5));
  c.model.num_classes = 11;
  c.model.null_class = true;
  EXPECT_NE(error_of([&] {
              estimate_run(c, {.threads = 1});
            }).find("has 3 classes, but model.num_classes is 11 with a null class: it must be 4"),
            std::string::npos);
  c.model.num_classes = 4;
  EXPECT_EQ(estimate_run(c, {.threads = 1}).images, 15);
}

TEST_F(RunEstimateTest, SaysWhatItDoesNotKnow) {
  RunConfig c = small_run(4, 30);
  RunEstimate e = estimate_run(c, {.threads = 1});
  EXPECT_EQ(e.images, -1);
  EXPECT_NE(to_text(e, c).find("epochs are not known: /no/such/data: no such file"), std::string::npos);
  e.measured_batch = 0;
  EXPECT_NE(to_text(e, c).find("at least "), std::string::npos);
  e.machine_memory = 1 << 20;
  EXPECT_NE(to_text(e, c).find("; this machine has only 1 MiB"), std::string::npos);
}

// Of weights, moments and averages, what processes divide; of a batch, each its share.
TEST_F(RunEstimateTest, ProcessesShareABatchAndMayDivideTheState) {
  RunConfig c = small_run(8, 30);
  for (const char* dtype : {"f32", "bf16"}) {
    SCOPED_TRACE(dtype);
    c.train.dtype = dtype;
    c.train.batch_size = 8;
    c.train.shard_optimizer = false;
    const RunEstimate whole = estimate_run(c, {.threads = 1}, {}, 4);
    c.train.shard_optimizer = true;
    const RunEstimate divided = estimate_run(c, {.threads = 1}, {}, 4);
    c.train.batch_size = 2;
    const RunEstimate alone = estimate_run(c, {.threads = 1});
    const double f32 = 4.0 * static_cast<double>(whole.parameters),
                 saved = f32 * 0.75 * (c.train.dtype == "f32" ? 3 : 4);
    EXPECT_EQ(whole.memory.total(), alone.memory.total());
    EXPECT_DOUBLE_EQ(whole.memory.total() - divided.memory.total(), saved);
    EXPECT_DOUBLE_EQ(divided.memory.moments, 2 * f32 / 4);
    EXPECT_EQ(divided.memory.gradients, f32);
    EXPECT_DOUBLE_EQ(whole.divided_state, saved);
    EXPECT_EQ(alone.divided_state, 0);
    c.train.shard_optimizer = false;
    EXPECT_NE(to_text(whole, c).find(" in each of 4 processes: weights "), std::string::npos) << to_text(whole, c);
    EXPECT_NE(to_text(whole, c).find(" less with shard_optimizer"), std::string::npos) << to_text(whole, c);
    c.train.shard_optimizer = true;
    EXPECT_NE(to_text(divided, c).find(" more without shard_optimizer"), std::string::npos) << to_text(divided, c);
    EXPECT_EQ(to_text(alone, c).find("process"), std::string::npos) << to_text(alone, c);
  }
}

TEST_F(RunEstimateTest, AContinuedRunHasFewerStepsLeft) {
  const RunConfig c = small_run(4, 30);
  fs::create_directories(dir_ / "run/step-00000010");
  fs::create_directories(dir_ / "run/step-00000020");
  const RunEstimate e = estimate_run(c, {.threads = 1}, dir_ / "run");
  EXPECT_EQ(e.steps_done, 20);
  EXPECT_NE(to_text(e, c).find("for 10 steps of"), std::string::npos);
}

// A large batch is measured by a part of it, and time goes by the image.
TEST_F(RunEstimateTest, MeasuresNoMoreThanFitsInASecond) {
  const RunEstimate e = estimate_run(small_run(1 << 20, 10), {.threads = 1});
  EXPECT_GT(e.measured_batch, 0);
  EXPECT_LT(e.measured_batch, 1 << 20);
  EXPECT_LT(e.step_flops / e.step_seconds, e.matrix_rate);
}

// Parameters of the released models, which do not depend on the kind of attention.
const std::map<std::string, const char*> kReleased{{"celeba64_small", "CelebA 64x64 U-ViT-S/4"},
                                                   {"cifar10_small", "CIFAR-10 U-ViT-S/2"},
                                                   {"imagenet64_mid", "ImageNet 64x64 U-ViT-M/4"},
                                                   {"imagenet64_large", "ImageNet 64x64 U-ViT-L/4"},
                                                   {"imagenet256_large", "ImageNet 256x256 U-ViT-L/2"},
                                                   {"imagenet256_huge", "ImageNet 256x256 U-ViT-H/2"},
                                                   {"imagenet512_large", "ImageNet 512x512 U-ViT-L/4"},
                                                   {"imagenet512_huge", "ImageNet 512x512 U-ViT-H/4"},
                                                   {"mscoco_small", "MS-COCO U-ViT-S/2"},
                                                   {"mscoco_small_deep", "MS-COCO U-ViT-S/2 Deep"}};

std::map<std::string, nlohmann::json> released_models() {
  std::map<std::string, nlohmann::json> models;
  const auto counts = golden_json(reference_dir("uvic") / "param_counts.json");
  for (const auto& m : counts["models"]) models[m["label"]] = m;
  return models;
}

// 44255328: "44,255,328".
std::string with_commas(int64_t n) {
  std::string text = std::to_string(n);
  for (size_t at = text.size(); at > 3;) text.insert(at -= 3, ",");
  return text;
}

// The line of configs/README.md about a file; empty if there is none.
std::string readme_line(const std::string& name) {
  const std::string readme = read_text(fs::path(UVIC_SOURCE_DIR) / "configs/README.md");
  const size_t at = readme.find("| [" + name + "](" + name + ".yaml)");
  return at == std::string::npos ? "" : readme.substr(at, readme.find('\n', at) - at);
}

TEST(ShippedConfigs, EveryOnePassesADryRunWithTheReleasedParameters) {
  auto models = released_models();
  std::set<std::string> names;
  for (const auto& item : fs::directory_iterator(fs::path(UVIC_SOURCE_DIR) / "configs")) {
    if (item.path().extension() != ".yaml") continue;
    const std::string name = item.path().stem();
    SCOPED_TRACE(name);
    names.insert(name);
    const Ended dry = run_program("uvic-train", {"-c", item.path().string(), "--dry-run", "--json"});
    ASSERT_EQ(dry.status, 0) << dry.err;
    const auto j = nlohmann::json::parse(dry.out, nullptr, false);
    ASSERT_TRUE(j.is_object()) << dry.out;
    EXPECT_GT(j["step_s"], 0);
    EXPECT_TRUE(readme_line(name).ends_with(" " + with_commas(j["parameters"]) + " |")) << readme_line(name);
    if (!kReleased.contains(name)) continue;
    const auto& model = models.at(kReleased.at(name));
    EXPECT_EQ(j["parameters"], model["params"]);
    EXPECT_EQ(j["tokens"], model["tokens"]);
    const RunConfig c = load_config(item.path());
    EXPECT_NEAR(j["step_tflop"], 3 * c.train.batch_size * model["flops"]["total"].get<double>() / 1e12, 1e-9);
  }
  for (const auto& [name, label] : kReleased) EXPECT_TRUE(names.contains(name)) << name;
}

// One override of the file makes the U-ViT of the release, in every field.
TEST(ShippedConfigs, TheirTwinsAreTheReleasedModels) {
  auto models = released_models();
  for (const auto& [name, label] : kReleased) {
    SCOPED_TRACE(name);
    const fs::path path = fs::path(UVIC_SOURCE_DIR) / "configs" / (name + ".yaml");
    const std::string uvic = load_config(path).preset, uvit = "U-ViT" + uvic.substr(5);
    EXPECT_NE(read_text(path).find("--set model.preset=" + uvit), std::string::npos) << "its first lines should say so";
    RunConfig ours = load_config(path), twin = load_config(path, {"model.preset=" + uvit});
    UViCConfig want = config_from_json(models.at(label).dump(), label);
    want.null_class = twin.model.null_class;  // not a field of the release
    EXPECT_EQ(twin.model, want);
    EXPECT_EQ(ours.model.arch, "uvic");
    twin.model.arch = ours.model.arch, twin.preset = ours.preset;
    EXPECT_EQ(twin, ours);
  }
}

}  // namespace
}  // namespace uvic::test
