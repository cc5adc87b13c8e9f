#pragma once

// The smallest training run there is, and a model with random weights: for tests that go through files and programs.

#include <nlohmann/json.hpp>

#include "app/config.h"
#include "model/model_file.h"
#include "model/uvic.h"
#include "tests/app/image_fixtures.h"

namespace uvic::test {

inline UViCConfig tiny_model() {
  UViCConfig c;
  c.img_size = 8;
  c.embed_dim = 16;
  c.depth = 2;
  c.num_heads = 2;
  c.mlp_ratio = 1;
  c.num_classes = 4;
  c.null_class = true;
  return c;
}

// Of texts as MadeTower's.
inline UViCConfig tiny_text_model() {
  UViCConfig c = tiny_model();
  c.num_classes = -1;
  c.null_class = false;
  c.num_clip_token = 12;
  c.clip_dim = 8;
  return c;
}

// Three classes of images in data, in steps of 4 images. Lines every 4 steps and checkpoints every 5, so that some
// checkpoints lie between two lines.
inline RunConfig tiny_run(const std::filesystem::path& data) {
  RunConfig c;
  c.model = tiny_model();
  c.data = data_at(data);
  c.train.batch_size = 4;
  c.train.max_steps = 30;
  c.train.lr = 1e-3;
  c.train.warmup_steps = 5;
  c.train.ema_rate = {0.9};
  c.train.label_drop = 0.2;
  c.train.dtype = "f32";
  c.train.save_every = 5;
  c.train.keep_last = 0;
  c.train.log_every = 4;
  c.train.threads = 1;
  c.sample.every = 0;
  c.sample.count = 4;
  c.sample.steps = 2;
  return c;
}

// A model file whose images are far from flat: every weight is random, as large as in a trained network. It predicts v:
// what an untrained one takes for noise would be blown up by 1 / alpha.
inline std::filesystem::path write_random_model(const std::filesystem::path& path, const UViCConfig& config,
                                                std::vector<std::string> class_names = {}, uint64_t seed = 1,
                                                ModelInfo info = {}) {
  Context ctx({.threads = 1});
  ParamStore store({});
  const UViC net(store, config);
  store.allocate_for_inference(DType::f32);
  for (size_t id = 0; id < store.params().size(); ++id) {
    const Tensor t = store.value(static_cast<int>(id));
    std::vector<double> v = values(random_tensor(DType::f32, t.shape(), seed * 1000 + id, 0.3).tensor);
    const std::string& name = store.params()[id].name;
    if (name.find("norm") != std::string::npos && name.ends_with("weight"))
      for (double& x : v) x += 1;
    assign(t, v);
  }
  std::filesystem::create_directories(path.parent_path());
  info.config = config;
  info.prediction = "v";
  info.class_names = std::move(class_names);
  save_model(ctx, path, store, Role::working, DType::f32, info);
  return path;
}

// metrics.jsonl without what depends on the clock.
inline std::vector<nlohmann::json> metrics_of(const std::filesystem::path& run) {
  std::vector<nlohmann::json> lines;
  std::ifstream in(run / "metrics.jsonl");
  for (std::string line; std::getline(in, line);) {
    nlohmann::json j = nlohmann::json::parse(line);
    for (const char* timing : {"images_per_s", "tflops", "peak_share", "data_wait", "memory_mib"}) j.erase(timing);
    lines.push_back(std::move(j));
  }
  return lines;
}

// Rounding is all that may differ: sums over a batch are taken in another order.
inline void expect_same_losses(const std::filesystem::path& got, const std::filesystem::path& want) {
  const auto a = metrics_of(got), b = metrics_of(want);
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    const double loss = b[i]["loss"], norm = b[i]["grad_norm"];
    EXPECT_NEAR(a[i]["loss"], loss, 1e-5 * loss) << a[i];
    EXPECT_NEAR(a[i]["grad_norm"], norm, 1e-4 * norm) << a[i];
  }
}

// Everything a finished run leaves must be equal, to the bit.
inline void expect_same_end(const std::filesystem::path& got, const std::filesystem::path& want, int64_t step) {
  char name[32];
  std::snprintf(name, sizeof name, "step-%08lld", static_cast<long long>(step));
  for (const char* file : {"state.safetensors", "model.safetensors"})
    EXPECT_TRUE(read_text(got / name / file) == read_text(want / name / file)) << (got / name / file) << " differs";
  EXPECT_EQ(metrics_of(got), metrics_of(want));
}

}  // namespace uvic::test
