// CLIP's text tower against HuggingFace's: a small one in both layouts, and ViT-L/14 with generated weights.

#include "model/clip_text.h"

#include "tests/golden_model.h"
#include "tests/model/inception_fixtures.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

fs::path clip(const std::string& file) { return reference_dir("eval") / "clip" / file; }

constexpr TextConfig kTiny{.heads = 2};

// The tensors of a golden file under a prefix, with another in its place.
Weights tower(const std::string& under, const std::string& prefix = "") {
  const auto file = std::make_shared<SafetensorsFile>(clip("tiny_text.safetensors"));
  Weights w{.path = "tower.safetensors", .keep_alive = file};
  for (const std::string& name : file->names())
    if (name.starts_with(under)) w.tensors.emplace_back(prefix + name.substr(under.size()), file->tensor(name));
  return w;
}

std::vector<double> encoded(Context& ctx, const TextEncoder& encoder, Tensor ids) {
  const OwnedTensor out({}, DType::f32, {ids.dim(0), ids.dim(1), encoder.width()});
  encoder.encode(ctx, ids, out.tensor);
  return values(out.tensor);
}

// A whole ViT-L/14 as its list of names says; the values by the generator of the golden data, or zeros.
Weights full_size(bool openai, bool values) {
  const json list = json::parse(std::ifstream(clip("vit_l14_text_names.json")));
  auto memory = std::make_shared<std::vector<OwnedTensor>>();
  Weights w{.path = "vit_l14.safetensors", .keep_alive = memory};
  std::map<std::string, Shape> shapes;
  for (const json& t : list["tensors"]) {
    const std::vector<int64_t> dims = t["shape"];
    const bool optional = t.value("optional", false);
    if (openai && optional) continue;
    Shape shape(dims.begin(), dims.end());
    const std::string name = t[openai ? "openai" : "name"];
    if (openai && t.contains("openai_rows"))
      shape = dims.size() == 2 ? Shape{3 * dims[0], dims[1]} : Shape{3 * dims[0]};
    if (!shapes.emplace(name, shape).second) continue;  // q, k and v are one tensor there
    memory->emplace_back(Device{}, optional ? DType::i64 : DType::f32, shape);
    const Tensor to = memory->back().tensor;
    std::memset(to.raw(), 0, to.bytes());
    w.tensors.emplace_back(name, to);
    if (!values || optional) continue;
    std::vector<float> v = generated("clip_l14/" + name, shape);
    const bool norm = name.find("layer_norm") != std::string::npos && name.ends_with("weight");
    const double scale = name.find("token_embedding") != std::string::npos      ? 0.05
                         : name.find("position_embedding") != std::string::npos ? 0.02
                         : shape.rank() == 2 ? std::sqrt(3.0 / static_cast<double>(shape[1]))
                                             : 0.1;
    for (float& x : v) x = norm ? 1.0f + 0.1f * x : x * static_cast<float>(scale);
    std::memcpy(to.raw(), v.data(), to.bytes());
  }
  return w;
}

class ClipTextTest : public ::testing::TestWithParam<Where> {};
INSTANTIATE_TEST_SUITE_P(Everywhere, ClipTextTest, ::testing::ValuesIn(everywhere_and_gpu()), where_name);

TEST_P(ClipTextTest, SmallTowerInBothLayouts) {
  const SafetensorsFile file(clip("tiny_text.safetensors"));
  const OwnedTensor ids = copy(file, "ids", DType::i32), want = copy(file, "last_hidden_state", DType::f32);
  std::vector<std::vector<double>> results;
  for (const std::string layout : {"hf.", "openai."}) {
    Context ctx = context(GetParam());
    const TextEncoder encoder(ctx, tower(layout), {GetParam().dtype, kTiny});
    EXPECT_EQ(encoder.width(), want.tensor.dim(2));
    EXPECT_EQ(encoder.tokens(), want.tensor.dim(1));
    results.push_back(encoded(ctx, encoder, ids.tensor));
    EXPECT_CLOSE_MAX(results.back(), values(want.tensor), GetParam().dtype == DType::f32 ? 1e-5 : 2e-2) << layout;
  }
  EXPECT_EQ(results[0], results[1]);
}

TEST_P(ClipTextTest, FullSize) {
  if (GetParam().device == Device{} && GetParam().isa < best_isa())
    GTEST_SKIP() << "once a dtype: half a gigabyte of weights";
  const SafetensorsFile file(clip("vit_l14_text_io.safetensors"));
  const OwnedTensor ids = copy(file, "ids", DType::i32), want = copy(file, "last_hidden_state", DType::f32);
  Context ctx = context(GetParam());
  const TextEncoder encoder(ctx, full_size(false, true), {.dtype = GetParam().dtype});
  EXPECT_EQ(encoder.parameters(), 123'060'480);
  EXPECT_CLOSE_MAX(encoded(ctx, encoder, ids.tensor), values(want.tensor),
                   GetParam().dtype == DType::f32 ? 1e-4 : 5e-2);
}

// Every name of the published checkpoints is read, and no other is asked for, under each prefix that they come with.
TEST(ClipTextNamesTest, NoneIsLeftAndNoneIsMissing) {
  for (const bool openai : {false, true}) {
    Weights w = full_size(openai, false);
    ASSERT_EQ(w.tensors.size(), openai ? 148u : 197u);
    w.tensors.emplace_back("vision_model.pre_layrnorm.weight", w.tensors[1].second);
    w.tensors.emplace_back("visual.transformer.resblocks.0.ln_1.weight", w.tensors[1].second);
    w.tensors.emplace_back("logit_scale", w.tensors[1].second);
    for (const std::string prefix : {"", "cond_stage_model.transformer."}) {
      Weights named = w;
      for (auto& [name, tensor] : named.tensors) name = prefix + name;
      Context ctx({.threads = 2});
      const TextEncoder encoder(ctx, named, {});
      EXPECT_EQ(encoder.parameters(), 123'060'480);
      EXPECT_EQ(encoder.vocabulary(), 49408);
    }
  }
}

TEST(ClipTextNamesTest, SaysWhatIsWrongWithAFile) {
  const auto error = [](const std::string& layout, const std::function<void(Weights&)>& change, TextConfig c = kTiny) {
    Weights w = tower(layout, layout == "hf." ? "" : "model.");
    change(w);
    Context ctx({.threads = 1});
    return error_of([&] { TextEncoder(ctx, w, {.config = c}); });
  };
  const auto at = [](Weights& w, const std::string& name) -> std::pair<std::string, Tensor>& {
    return *std::find_if(w.tensors.begin(), w.tensors.end(), [&](const auto& t) { return t.first == name; });
  };
  EXPECT_EQ(error("hf.", [](Weights& w) { w.tensors.clear(); }),
            "tower.safetensors: not a CLIP text tower: no tensor is named '...token_embedding.weight'");
  const std::string fc2 = "text_model.encoder.layers.1.mlp.fc2.weight";
  EXPECT_EQ(error("hf.", [&](Weights& w) { std::erase_if(w.tensors, [&](auto& t) { return t.first == fc2; }); }),
            "tower.safetensors: tensor 'text_model.encoder.layers.1.mlp.fc2.weight' [32, 128] is missing");
  EXPECT_EQ(error("hf.", [&](Weights& w) { at(w, fc2).second = w.find("text_model.final_layer_norm.bias"); }),
            "tower.safetensors: tensor 'text_model.encoder.layers.1.mlp.fc2.weight' is [32], this text tower needs "
            "[32, 128]");
  EXPECT_EQ(error("hf.", [&](Weights& w) { w.tensors.emplace_back("text_model.pooler.bias", w.tensors[0].second); }),
            "tower.safetensors: tensor 'text_model.pooler.bias' is not in a CLIP text tower");
  EXPECT_EQ(error("openai.",
                  [&](Weights& w) {
                    std::erase_if(w.tensors, [](auto& t) { return t.first.find("resblocks.0.") != std::string::npos; });
                  }),
            "tower.safetensors: tensor 'model.transformer.resblocks.0.mlp.c_fc.weight' is missing");
  EXPECT_EQ(error("openai.", [&](Weights& w) { at(w, "model.transformer.resblocks.1.ln_1.bias").first += "x"; }),
            "tower.safetensors: tensor 'model.transformer.resblocks.1.ln_1.bias' [32] is missing");
  const OwnedTensor bad = tensor_of(DType::f32, {32}, std::vector<double>(32, HUGE_VAL));
  EXPECT_EQ(error("openai.", [&](Weights& w) { at(w, "model.ln_final.bias").second = bad.tensor; }),
            "tower.safetensors: tensor 'model.ln_final.bias' has a number that is not finite");
  EXPECT_EQ(error("hf.", [](Weights&) {}, {.heads = 5}),
            "tower.safetensors: 5 heads do not divide the width of 32 into 1 to 128 each; num_attention_heads in "
            "config.json beside it says how many there are");
}

// A text is encoded alike in any company; shorter ones too, since nothing looks ahead; and memory stays.
TEST(ClipTextEncodeTest, ATextDependsOnNoOther) {
  const SafetensorsFile file(clip("tiny_text.safetensors"));
  const OwnedTensor ids = copy(file, "ids", DType::i32);
  const int64_t T = ids.tensor.dim(1), N = 4 * ids.tensor.dim(0) + 1;
  OwnedTensor many({}, DType::i32, {N, T});
  for (int64_t i = 0; i < N; ++i)
    std::memcpy(many.tensor.rows(i, i + 1).raw(), ids.tensor.rows(i % 4, i % 4 + 1).raw(), size_t(T) * 4);
  Context ctx({.threads = 2});
  const TextEncoder encoder(ctx, tower("hf."), {.config = kTiny});
  const auto alone = encoded(ctx, encoder, ids.tensor.rows(0, 1));
  ctx.arena().reset();
  const size_t peak = ctx.arena().peak();
  const auto all = encoded(ctx, encoder, many.tensor);
  EXPECT_EQ(ctx.arena().peak(), peak);
  const size_t text = alone.size();
  for (const size_t i : {0, 4, 16}) EXPECT_TRUE(std::equal(alone.begin(), alone.end(), all.begin() + i * text)) << i;
  const auto shorter = encoded(ctx, encoder, ids.tensor.rows(0, 1).view({T, 1}).rows(0, 9).view({1, 9}));
  EXPECT_CLOSE_MAX(shorter, std::vector<double>(alone.begin(), alone.begin() + shorter.size()), 1e-5);
}

TEST(ClipTextEncodeTest, RefusesWrongArguments) {
  Context ctx({.threads = 1});
  const TextEncoder encoder(ctx, tower("hf."), {.config = kTiny});
  const OwnedTensor ids({}, DType::i32, {1, 78}), out({}, DType::f32, {1, 77, 32});
  std::memset(ids.tensor.raw(), 0, ids.tensor.bytes());
  EXPECT_EQ(error_of([&] { encoder.encode(ctx, ids.tensor, out.tensor); }),
            "clip_text: ids are i32 [1, 78], wanted i32 [N, up to 77]");
  const Tensor some = ids.tensor.view({78}).rows(0, 76).view({1, 76});
  EXPECT_EQ(error_of([&] { encoder.encode(ctx, some, out.tensor); }),
            "clip_text: out is f32 [1, 77, 32], wanted f32 [1, 76, 32]");
  some.data<int32_t>()[3] = 100;
  const OwnedTensor fits({}, DType::f32, {1, 76, 32});
  EXPECT_NE(error_of([&] { encoder.encode(ctx, some, fits.tensor); }).find("100"), std::string::npos);
}

TEST(ClipTextConfigTest, ReadsWhatLiesBesideTheWeights) {
  const fs::path folder = fs::path(::testing::TempDir()) / "clip_text_config";
  fs::create_directories(folder);
  const auto config = [&](const std::string& text) {
    std::ofstream(folder / "config.json") << text;
    return text_config(folder / "model.safetensors");
  };
  TextConfig c = config(R"({"num_attention_heads": 12, "hidden_act": "gelu", "layer_norm_eps": 1e-6})");
  EXPECT_EQ(c.heads, 12);
  EXPECT_EQ(c.act, Activation::gelu);
  EXPECT_EQ(c.eps, 1e-6f);
  c = config(R"({"num_attention_heads": 1, "text_config": {"num_attention_heads": 8}})");
  EXPECT_EQ(c.heads, 8);
  EXPECT_EQ(c.act, Activation::quick_gelu);
  const std::string path = (folder / "config.json").string();
  EXPECT_EQ(error_of([&] { config("{"); }), path + ": not a JSON object, as a text tower's config.json is");
  EXPECT_EQ(error_of([&] { config(R"({"hidden_act": "relu"})"); }),
            path + ": hidden_act is \"relu\"; quick_gelu and gelu are known");
  EXPECT_EQ(error_of([&] { config(R"({"num_attention_heads": "12"})"); }),
            path + ": num_attention_heads is \"12\", wanted a positive number");
  EXPECT_EQ(text_config("/nowhere/model.safetensors").heads, std::nullopt);
}

}  // namespace
}  // namespace uvic::test
