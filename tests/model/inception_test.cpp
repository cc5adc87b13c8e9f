#include "tests/model/inception_fixtures.h"

namespace uvic::test {
namespace {

constexpr int64_t kSide = Inception::kSide;

// The network's parameters for the tests below, made once.
const Weights& weights() {
  static const Weights all = generated_inception();
  return all;
}

std::string load_error(const std::function<void(Weights&)>& change) {
  Weights changed = weights();
  change(changed);
  Context ctx({.device = {}, .threads = 2});
  try {
    Inception(ctx, changed);
  } catch (const Error& e) {
    return e.hint().empty() ? e.what() : concat(e.what(), "; ", e.hint());
  }
  ADD_FAILURE() << "no Error was thrown";
  return {};
}

std::pair<std::string, Tensor>& entry(Weights& w, const std::string& name) {
  return *std::find_if(w.tensors.begin(), w.tensors.end(), [&](const auto& t) { return t.first == name; });
}

TEST(InceptionWeightsTest, GeneratorMatchesItsExamples) {
  const auto path = reference_dir("eval") / "inception" / "generator_examples.json";
  const nlohmann::json file = nlohmann::json::parse(std::ifstream(path));
  ASSERT_FALSE(file["examples"].empty());
  for (const auto& example : file["examples"]) {
    const std::vector<int64_t> dims = example["shape"];
    const std::vector<float> v = generated_inception(example["name"], Shape(dims.begin(), dims.end()));
    const std::vector<double> first = example["value_first5"];
    for (size_t i = 0; i < first.size(); ++i) EXPECT_EQ(static_cast<double>(v[i]), first[i]) << example["name"];
    EXPECT_EQ(static_cast<double>(v.back()), example["value_last"].get<double>()) << example["name"];
  }
}

TEST(InceptionWeightsTest, SaysWhatIsWrongWithAFile) {
  EXPECT_EQ(load_error([](Weights& w) { w.tensors.erase(w.tensors.begin()); }),
            "generated.pth: tensor 'Conv2d_1a_3x3.conv.weight' [32, 3, 3, 3] is missing; wanted an InceptionV3 with "
            "pytorch-fid's names, such as pt_inception-2015-12-05-6726825d.pth");
  EXPECT_EQ(
      load_error([](Weights& w) { entry(w, "Mixed_6c.branch7x7_2.bn.bias").first = "Mixed_6c.branch7x7_2.bn.bais"; }),
      "generated.pth: tensor 'Mixed_6c.branch7x7_2.bn.bias' [160] is missing; wanted an InceptionV3 with "
      "pytorch-fid's names, such as pt_inception-2015-12-05-6726825d.pth");
  EXPECT_EQ(load_error([](Weights& w) { entry(w, "fc.weight").second = w.find("fc.bias"); }),
            "generated.pth: tensor 'fc.weight' is [1008], this network needs [1008, 2048]");
  EXPECT_EQ(load_error([](Weights& w) {
              entry(w, "Mixed_7c.branch1x1.conv.weight").second = w.find("Mixed_7b.branch1x1.conv.weight");
            }),
            "generated.pth: tensor 'Mixed_7c.branch1x1.conv.weight' is [320, 1280, 1, 1], this network needs [320, "
            "2048, 1, 1]");
  EXPECT_EQ(load_error([](Weights& w) { w.tensors.emplace_back("Mixed_8a.conv.weight", w.find("fc.bias")); }),
            "generated.pth: tensor 'Mixed_8a.conv.weight' is not in this network; the nearest name in it is "
            "'Conv2d_1a_3x3.conv.weight'");
  const OwnedTensor bad = tensor_of(DType::f32, {32}, std::vector<double>(32, std::nan("")));
  EXPECT_EQ(load_error([&](Weights& w) { entry(w, "Conv2d_2a_3x3.bn.weight").second = bad.tensor; }),
            "generated.pth: tensor 'Conv2d_2a_3x3.bn.weight' has a number that is not finite");
  const OwnedTensor negative = tensor_of(DType::f32, {32}, std::vector<double>(32, -1));
  EXPECT_EQ(load_error([&](Weights& w) { entry(w, "Conv2d_2a_3x3.bn.running_var").second = negative.tensor; }),
            "generated.pth: Conv2d_2a_3x3.bn.running_var has -1, which is no variance");
}

// More images than run at a time, in any company: the same bits; and memory that does not grow with them.
TEST(InceptionForwardTest, AnImageDependsOnNoOther) {
  Context ctx({.device = {}, .threads = 2});
  const Inception network(ctx, weights());
  const OwnedTensor x = random_tensor(DType::f32, {19, 3, kSide, kSide}, 1);
  const auto run = [&](Tensor images) {
    OwnedTensor pool3({}, DType::f32, {images.dim(0), 2048}), logits({}, DType::f32, {images.dim(0), 1008});
    network.forward(ctx, images, {.pool3 = pool3.tensor, .logits = logits.tensor});
    return std::pair(values(pool3.tensor), values(logits.tensor));
  };
  const auto all = run(x.tensor);
  ctx.arena().reset();
  const int growths = ctx.arena().growths();
  const size_t peak = ctx.arena().peak();
  for (const int64_t n : {0, 7, 15, 18}) {
    const auto one = run(x.tensor.rows(n, n + 1));
    EXPECT_TRUE(std::equal(one.first.begin(), one.first.end(), all.first.begin() + n * 2048)) << n;
    EXPECT_TRUE(std::equal(one.second.begin(), one.second.end(), all.second.begin() + n * 1008)) << n;
  }
  run(x.tensor);
  EXPECT_EQ(ctx.arena().growths(), growths);
  EXPECT_EQ(ctx.arena().peak(), peak);
}

TEST(InceptionForwardTest, RefusesWrongArguments) {
  Context ctx({.device = {}, .threads = 2});
  Weights trunk = weights();
  std::erase_if(trunk.tensors, [](const auto& t) { return t.first.starts_with("fc."); });
  const Inception network(ctx, trunk);
  const OwnedTensor x({}, DType::f32, {1, 3, kSide, kSide}), small({}, DType::f32, {1, 3, 32, 32});
  const OwnedTensor out({}, DType::f32, {1, 1008});
  EXPECT_EQ(error_of([&] { network.forward(ctx, small.tensor, {}); }),
            "inception: x is f32 [1, 3, 32, 32], wanted f32 [B, 3, 299, 299]");
  EXPECT_EQ(error_of([&] { network.forward(ctx, x.tensor, {.pool3 = out.tensor}); }),
            "inception: pool3 is f32 [1, 1008], wanted f32 [1, 2048]");
  EXPECT_EQ(error_of([&] { network.forward(ctx, x.tensor, {.logits = out.tensor}); }),
            "inception: logits are wanted, but the file of weights has no fc.weight");
}

}  // namespace
}  // namespace uvic::test
