// Model files: what is saved is what is loaded, what a bare state dict tells, and what is refused.

#include "model/model_file.h"

#include <fstream>

#include "model/uvic.h"
#include "tests/golden_model.h"
#include "tests/model/hostile.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::vector<fs::path> golden_models() { return golden_files(reference_dir("uvic"), "uvi", ".safetensors"); }

// The golden file's parameters as a plain state dict: no metadata.
fs::path write_bare(const fs::path& golden, const fs::path& path) {
  const SafetensorsFile file(golden);
  std::vector<NamedTensor> tensors;
  for (const std::string& name : file.names())
    if (name.starts_with("param/")) tensors.push_back({name.substr(6), file.tensor(name)});
  write_safetensors(path, tensors, {});
  return path;
}

class ModelFileOnDevice : public ::testing::TestWithParam<Device> {};
INSTANTIATE_TEST_SUITE_P(Devices, ModelFileOnDevice, ::testing::ValuesIn(devices()), device_name);

TEST_P(ModelFileOnDevice, SavedIsLoadedInEitherDtype) {
  const TempFolder folder;
  for (const fs::path& golden : golden_models()) {
    const SafetensorsFile file(golden);
    ModelInfo info{.config = golden_config(file),
                   .schedule = "cosine",
                   .prediction = "v",
                   .class_names = {"a \"cat\"", "Hündin"},
                   .step = 123456789012,
                   .train_config = "train:\n  lr: 0.1\n",
                   .scale_factor = 0.2301,
                   .autoencoder = "../ae.pth",
                   .text_encoder = "clip/"};
    Context ctx({.device = GetParam()});
    ParamStore store(GetParam());
    const UViC net(store, info.config);
    store.allocate_for_training(DType::f32);
    load_golden(ctx, file, "param/", store, Role::ema);
    for (const DType dtype : {DType::f32, DType::bf16}) {
      const fs::path path = folder / "model.safetensors";
      save_model(ctx, path, store, Role::ema, dtype, info);
      const Weights weights = read_weights(path);
      EXPECT_TRUE(has_model_info(weights));
      const ModelInfo got = model_info(weights);
      for (int i = 0; i < info.config.blocks(); ++i) EXPECT_EQ(got.config.kind(i), info.config.kind(i));
      UViCConfig config = got.config;
      config.attention = info.config.attention;  // written out even where arch says it all
      EXPECT_EQ(config, info.config) << golden;
      EXPECT_EQ(got.schedule, info.schedule);
      EXPECT_EQ(got.prediction, info.prediction);
      EXPECT_EQ(got.class_names, info.class_names);
      EXPECT_EQ(got.step, info.step);
      EXPECT_EQ(got.train_config, info.train_config);
      EXPECT_EQ(got.scale_factor, info.scale_factor);
      EXPECT_EQ(got.autoencoder, info.autoencoder);
      EXPECT_EQ(got.text_encoder, info.text_encoder);
      ParamStore loaded(GetParam());
      const UViC again(loaded, got.config);
      loaded.allocate_for_inference(DType::f32);
      load_weights(ctx, weights, loaded, Role::working);
      for (size_t id = 0; id < store.params().size(); ++id) {
        const auto want = values(store.view(Role::ema, static_cast<int>(id)));
        const auto have = values(loaded.value(static_cast<int>(id)));
        for (size_t i = 0; i < want.size(); ++i) {
          const float x = static_cast<float>(want[i]);
          ASSERT_EQ(have[i], dtype == DType::f32 ? x : to_float(to_bf16(x))) << store.params()[id].name;
        }
      }
    }
  }
}

// Folders, and so classes, may have names in any encoding; a JSON header may not.
TEST(ModelFile, NamesThatAreNotUtf8DoNotStopASave) {
  const TempFolder folder;
  Context ctx;
  ParamStore store({});
  store.add("w", {2}, Init::ones);
  store.allocate_for_inference(DType::f32);
  const ModelInfo info{.class_names = {"caf\xe9", "plain"}, .train_config = "path: caf\xe9"};
  save_model(ctx, folder / "m.safetensors", store, Role::working, DType::f32, info);
  const ModelInfo got = model_info(read_weights(folder / "m.safetensors"));
  ASSERT_EQ(got.class_names.size(), 2u);
  EXPECT_TRUE(got.class_names[0].starts_with("caf"));
  EXPECT_EQ(got.class_names[1], "plain");
  EXPECT_TRUE(got.train_config.starts_with("path: caf"));
}

// What names and shapes cannot tell is left out of the comparison: the attention pattern, the number of heads, and
// where patches end and context begins if the context is as long as another row of patches.
void expect_inferred(const UViCConfig& got, const UViCConfig& want) {
  EXPECT_EQ(got.embed_dim, want.embed_dim);
  EXPECT_EQ(got.depth, want.depth);
  EXPECT_EQ(got.in_chans, want.in_chans);
  EXPECT_EQ(got.patch_size, want.patch_size);
  EXPECT_EQ(got.hidden(), want.hidden());
  EXPECT_EQ(got.qkv_bias, want.qkv_bias);
  EXPECT_EQ(got.mlp_time_embed, want.mlp_time_embed);
  EXPECT_EQ(got.num_classes, want.num_classes);
  EXPECT_EQ(got.null_class, want.num_classes > 1 && want.num_classes % 10 == 1);
  EXPECT_EQ(got.clip_dim, want.clip_dim);
  EXPECT_EQ(got.conv, want.conv);
  EXPECT_EQ(got.skip, want.skip);
  EXPECT_EQ(got.tokens(), want.tokens());
  if (want.num_clip_token == 77 || want.num_clip_token < 2 * want.img_size / want.patch_size + 2) {
    EXPECT_EQ(got.num_clip_token, want.num_clip_token);
    EXPECT_EQ(got.img_size, want.img_size);
  }
}

TEST(ModelFile, ConfigIsInferredFromABareStateDict) {
  const TempFolder folder;
  for (const fs::path& golden : golden_models()) {
    SCOPED_TRACE(golden.filename());
    const Weights weights = read_weights(write_bare(golden, folder / "bare.safetensors"));
    EXPECT_FALSE(has_model_info(weights));
    ModelInfo info = model_info(weights);
    const UViCConfig want = golden_config(SafetensorsFile(golden));
    expect_inferred(info.config, want);
    ParamStore store({});
    const UViC net(store, want);
    store.allocate_for_inference(DType::f32);
    Context ctx;
    EXPECT_NO_THROW(load_weights(ctx, weights, store, Role::working));
  }
}

TEST(ModelFile, ConfigOfEveryReleasedModelIsInferred) {
  const json models = json::parse(std::ifstream(reference_dir("uvic") / "param_counts.json"))["models"];
  ASSERT_FALSE(models.empty());
  for (const json& model : models) {
    SCOPED_TRACE(model["label"]);
    float never_read = 0;  // shapes are all that is looked at, and the weights would fill gigabytes
    Weights weights;
    for (const json& p : model["parameters"]) {
      const auto shape = p[1].get<std::vector<int64_t>>();
      weights.tensors.emplace_back(p[0], Tensor(&never_read, DType::f32, Shape(shape.begin(), shape.end())));
    }
    const UViCConfig got = model_info(weights).config, want = config_from_json(model.dump(), "param_counts.json");
    expect_inferred(got, want);
    EXPECT_EQ(got.num_heads, want.num_heads);
  }
}

struct Loader {
  Context ctx;
  ParamStore store{{}};
  explicit Loader(const UViCConfig& config) {
    const UViC net(store, config);
    store.allocate_for_inference(DType::f32);
  }
  std::string refusal_of(const fs::path& path) {
    return refusal(path, [&] { load_weights(ctx, read_weights(path), store, Role::working); });
  }
};

// The released text-to-image checkpoints, at their full size: every tensor arrives in its place, none is left over and
// none is missing.
TEST(ModelFile, ReleasedTextModelsLoadWhole) {
  const json models = json::parse(std::ifstream(reference_dir("uvic") / "param_counts.json"))["models"];
  int text_models = 0;
  for (const json& model : models) {
    if (model["cond"] != "text") continue;
    ++text_models;
    SCOPED_TRACE(model["label"]);
    std::vector<OwnedTensor> memory;
    Weights weights{.path = "nnet_ema.pth"};
    for (const json& p : model["parameters"]) {
      const auto shape = p[1].get<std::vector<int64_t>>();
      memory.emplace_back(Device{}, DType::f32, Shape(shape.begin(), shape.end()));
      const Tensor t = memory.back().tensor;
      std::fill_n(t.data<float>(), t.numel(), static_cast<float>(memory.size()));
      weights.tensors.emplace_back(p[0], t);
    }
    const UViCConfig config = model_info(weights).config;
    EXPECT_EQ(config.condition(), Condition::text);
    Loader loader(config);
    load_weights(loader.ctx, weights, loader.store, Role::working);
    ASSERT_EQ(loader.store.params().size(), weights.tensors.size());
    EXPECT_EQ(loader.store.count(), model["params"].get<int64_t>());
    for (size_t i = 0; i < memory.size(); ++i) {
      const int id = loader.store.find(weights.tensors[i].first);
      ASSERT_GE(id, 0) << weights.tensors[i].first;
      const Tensor t = loader.store.value(id);
      ASSERT_EQ(t.shape(), weights.tensors[i].second.shape()) << weights.tensors[i].first;
      EXPECT_EQ(t.data<float>()[0], static_cast<float>(i + 1));
      EXPECT_EQ(t.data<float>()[t.numel() - 1], static_cast<float>(i + 1));
    }
    const auto last = weights.tensors.back();
    weights.tensors.pop_back();
    EXPECT_NE(error_of([&] { load_weights(loader.ctx, weights, loader.store, Role::working); }).find(last.first),
              std::string::npos);
    weights.tensors.push_back(last);
    weights.tensors.emplace_back("clip.weight", last.second);
    EXPECT_NE(error_of([&] { load_weights(loader.ctx, weights, loader.store, Role::working); }).find("clip.weight"),
              std::string::npos);
  }
  EXPECT_EQ(text_models, 3);
}

TEST(ModelFile, AStateDictThatDoesNotFitIsRefusedByTensor) {
  const TempFolder folder;
  const fs::path golden = golden_models().front();
  const SafetensorsFile file(golden);
  Loader loader(golden_config(file));
  std::vector<NamedTensor> good;
  for (const auto& p : loader.store.params()) good.push_back({p.name, file.tensor("param/" + p.name)});
  const auto refused = [&](std::vector<NamedTensor> tensors) {
    write_safetensors(folder / "w.safetensors", tensors, {});
    return loader.refusal_of(folder / "w.safetensors");
  };
  EXPECT_EQ(refused(good), "");
  auto bad = good;
  bad.back().tensor = bad.back().tensor.view({bad.back().tensor.numel(), 1});
  EXPECT_NE(refused(bad).find(concat("'", bad.back().name, "' is ", bad.back().tensor.shape(), ", this model needs ",
                                     good.back().tensor.shape())),
            std::string::npos);
  bad = good;
  bad.pop_back();
  EXPECT_NE(refused(bad).find(concat("'", good.back().name, "' ", good.back().tensor.shape(), " is missing")),
            std::string::npos);
  bad = good;
  bad.push_back({"pos_embedd", good.front().tensor});
  EXPECT_NE(refused(bad).find("'pos_embedd' is not in this model"), std::string::npos);
}

TEST(ModelFile, WrongMetadataIsRefused) {
  const TempFolder folder;
  const fs::path path = folder / "m.safetensors";
  const auto w = random_tensor(DType::f32, {2}, 1);
  const std::string config = config_to_json({});
  const auto refused = [&](const std::map<std::string, std::string>& metadata) {
    write_safetensors(path, {{"w", w.tensor}}, metadata);
    return refusal(path, [&] { model_info(read_weights(path)); });
  };
  EXPECT_EQ(refused({{"config", config}}), "");
  EXPECT_NE(refused({{"config", "{"}}).find("not a JSON object"), std::string::npos);
  EXPECT_NE(refused({{"config", "{\"depth\": 3}"}}).find("depth must be even"), std::string::npos);
  EXPECT_NE(refused({{"config", "{\"depth\": \"x\"}"}}).find("wrong type"), std::string::npos);
  EXPECT_NE(refused({{"config", "{\"attention\": [\"cogg\"]}"}}).find("cogg"), std::string::npos);
  EXPECT_NE(refused({{"config", config}, {"class_names", "{}"}}).find("class_names"), std::string::npos);
  EXPECT_NE(refused({{"config", config}, {"class_names", "[1]"}}).find("class name"), std::string::npos);
  EXPECT_NE(refused({{"config", config}, {"scale_factor", "-1"}}).find("scale_factor"), std::string::npos);
  EXPECT_NE(refused({{"config", config}, {"step", "-1"}}).find("step"), std::string::npos);
  EXPECT_NE(refused({}).find("not the weights of a U-ViT: no 'patch_embed.proj.weight'"), std::string::npos);
}

}  // namespace
}  // namespace uvic::test
