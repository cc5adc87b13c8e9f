// Every gradient of a block, and of a small whole network, against differences.
//
// A cog weight jumps where its score changes sign, so differences mean something only away from there. Tokens are
// therefore +u or -u plus some noise, and q and k nearly the same map: scores are near +-|W u|^2, some of each sign,
// and stay clear of zero while inputs and weights are moved.

#include "model/block.h"

#include "kernels/ops/pointwise.h"
#include "model/uvic.h"
#include "tests/gradcheck.h"

namespace uvic::test {
namespace {

// Of a gradient's norm; a wrong gradient is off by about 1. What a network's small gradients leave is the rounding of
// the loss in f32.
constexpr double kBlockTolerance = 2e-3, kNetworkTolerance = 1e-2;
constexpr double kMargin = 0.25;  // least |score|
constexpr double kStep = 0x1p-7;  // softmax in a row of blocks bends so much that larger steps measure the bend

std::vector<double> noise(int64_t n, uint64_t seed, double scale) {
  return values(random_tensor(DType::f32, {n}, seed, scale).tensor);
}

// rows x [width]: the same random vector, its sign changing from row to row, plus noise.
std::vector<double> signed_rows(int64_t rows, int64_t width, uint64_t seed) {
  const std::vector<double> base = noise(width, seed, 1);
  std::vector<double> x = noise(rows * width, seed + 1, 0.15);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < width; ++i)
      x[static_cast<size_t>(r * width + i)] += (r * r % 3 == 1 ? -1 : 1) * base[static_cast<size_t>(i)];
  return x;
}

void fill(ParamStore& store, uint64_t seed) {
  for (size_t id = 0; id < store.params().size(); ++id) {
    const ParamStore::Param& p = store.params()[id];
    const int64_t n = p.shape.numel();
    std::vector<double> v = noise(n, seed + 10 * id, p.name.ends_with("bias") ? 0.1 : 0.3);
    if (p.name == "pos_embed") {  // twice: it outweighs what embeddings and earlier blocks add
      v = signed_rows(p.shape[1], p.shape[2], seed);
      for (double& x : v) x *= 2;
    }
    if (p.name.find("norm") != std::string::npos && p.name.ends_with("weight"))
      for (double& x : v) x = 1 + x / 3;
    if (p.name.ends_with("qkv.weight")) {  // rows: q, k, v
      const std::vector<double> other = noise(n / 3, seed + 10 * id + 5, 0.03);
      for (size_t i = 0; i < other.size(); ++i) v[other.size() + i] = v[i] + other[i];
    }
    assign(store.view(Role::master, static_cast<int>(id)), v);
  }
}

// The least |q . k| / sqrt(D) among what a block saved.
double least_score(Tensor heads) {
  const std::vector<double> all = values(heads);
  const auto at = [&](int64_t i) { return all[static_cast<size_t>(i)]; };
  const int64_t B = heads.dim(0), L = heads.dim(1), H = heads.dim(3), D = heads.dim(4);
  double least = 1e9;
  for (int64_t b = 0; b < B; ++b)
    for (int64_t h = 0; h < H; ++h)
      for (int64_t i = 0; i < L; ++i)
        for (int64_t j = 0; j < L; ++j) {
          double dot = 0;
          for (int64_t d = 0; d < D; ++d)
            dot += at((((b * L + i) * 3 + 0) * H + h) * D + d) * at((((b * L + j) * 3 + 1) * H + h) * D + d);
          least = std::min(least, std::abs(dot) / std::sqrt(static_cast<double>(D)));
        }
  return least;
}

void expect_gradients(ParamStore& store, const std::vector<Variable>& inputs, const std::function<double()>& loss,
                      double tolerance) {
  for (const Variable& input : inputs) EXPECT_LE(gradient_error(input, loss, kStep), tolerance) << input.name;
  for (size_t id = 0; id < store.params().size(); ++id) {
    const int i = static_cast<int>(id);
    const Variable parameter{store.params()[id].name, store.view(Role::master, i), store.grad(i)};
    EXPECT_LE(gradient_error(parameter, loss, kStep), tolerance) << parameter.name;
  }
}

class BlockTest : public ::testing::TestWithParam<std::tuple<Where, AttentionKind, bool>> {};

TEST_P(BlockTest, GradientsAreThoseOfDifferences) {
  const auto [where, kind, takes_skip] = GetParam();
  constexpr int64_t kBatch = 2, kLength = 5, kWidth = 18;
  UViCConfig config;
  config.embed_dim = kWidth;
  config.num_heads = 2;
  config.mlp_ratio = 1.5;
  config.qkv_bias = true;
  Context ctx = context(where);
  ParamStore store(where.device);
  const Block block(store, "block", config, kind, takes_skip);
  store.allocate_for_training(DType::f32);
  fill(store, 1);
  const Shape shape{kBatch * kLength, kWidth};
  const OwnedTensor x = tensor_of(DType::f32, shape, signed_rows(shape[0], kWidth, 2));
  const OwnedTensor skip = tensor_of(DType::f32, shape, signed_rows(shape[0], kWidth, 4));
  const OwnedTensor direction = random_tensor(DType::f32, shape, 6);
  const Tensor skip_in = takes_skip ? skip.tensor : Tensor{};

  const auto loss = [&] {
    const Arena::Mark mark = ctx.arena().mark();
    const double y = projection(block.forward(ctx, kBatch, x.tensor, skip_in, nullptr), direction.tensor);
    ctx.arena().rewind(mark);
    return y;
  };
  Block::Saved saved;
  const Tensor y = block.forward(ctx, kBatch, x.tensor, skip_in, &saved);
  EXPECT_NEAR(projection(y, direction.tensor), loss(), 1e-5);  // training and inference agree
  ASSERT_GT(least_score(saved.attn.heads), kMargin);
  Tensor dx = ctx.like(x.tensor), dskip = takes_skip ? ctx.like(x.tensor) : Tensor{};
  cast(ctx, direction.tensor, dx);
  const Tensor dx_in = takes_skip ? ctx.like(dx) : dx;
  block.backward(ctx, saved, dx, dx_in, dskip);
  std::vector<Variable> inputs{{"x", x.tensor, dx_in}};
  if (takes_skip) inputs.push_back({"skip", skip.tensor, dskip});
  expect_gradients(store, inputs, loss, kBlockTolerance);
}

std::string block_name(const ::testing::TestParamInfo<BlockTest::ParamType>& test) {
  const auto [where, kind, takes_skip] = test.param;
  return concat(label(where), "_", name_of(kind), takes_skip ? "_skip" : "");
}

constexpr AttentionKind kKinds[] = {AttentionKind::softmax, AttentionKind::cog, AttentionKind::expressive};

INSTANTIATE_TEST_SUITE_P(Everywhere, BlockTest,
                         ::testing::Combine(::testing::ValuesIn(everywhere_and_gpu({DType::f32})),
                                            ::testing::ValuesIn(kKinds), ::testing::Bool()),
                         block_name);

// ---- the whole network ---------------------------------------------------------------------------------------------

class NetworkGradients : public ::testing::TestWithParam<std::tuple<AttentionKind, Condition>> {};

TEST_P(NetworkGradients, AreThoseOfDifferences) {
  const auto [kind, condition] = GetParam();
  constexpr int64_t kBatch = 2;
  UViCConfig c;
  c.img_size = 4;
  c.embed_dim = 16;
  c.depth = 2;
  c.num_heads = 2;
  c.mlp_ratio = 1;
  c.mlp_time_embed = true;
  c.attention = {AttentionKind::softmax, kind, AttentionKind::softmax};
  if (condition == Condition::label) c.num_classes = 3;
  if (condition == Condition::text) c.num_clip_token = 2, c.clip_dim = 5;
  Context ctx;
  ParamStore store({});
  const UViC net(store, c);
  store.allocate_for_training(DType::f32);
  fill(store, 20);
  const Shape shape{kBatch, 3, 4, 4};
  const OwnedTensor image = random_tensor(DType::f32, shape, 21), direction = random_tensor(DType::f32, shape, 22);
  const OwnedTensor t = tensor_of(DType::f32, {kBatch}, {3, 700}), y = tensor_of(DType::i32, {kBatch}, {2, 0});
  const OwnedTensor rows = random_tensor(DType::f32, {kBatch, 2, 5}, 23);
  Conditions conditions;
  if (condition == Condition::label) conditions.y = y.tensor;
  if (condition == Condition::text) conditions.context = rows.tensor;

  const OwnedTensor out({}, DType::f32, shape);
  const auto loss = [&] {
    net.forward(ctx, image.tensor, t.tensor, conditions, out.tensor);
    return projection(out.tensor, direction.tensor);
  };
  UViC::Saved saved;
  Tensor kept = ctx.like(image.tensor), dimage = ctx.like(image.tensor);
  net.forward(ctx, image.tensor, t.tensor, conditions, kept, &saved);
  EXPECT_NEAR(projection(kept, direction.tensor), loss(), 1e-5);
  if (kind == AttentionKind::cog) {
    ASSERT_GT(least_score(saved.blocks[1].attn.heads), kMargin);
  }
  Tensor dcontext = conditions.context ? ctx.like(conditions.context) : Tensor{};
  net.backward(ctx, saved, direction.tensor, dimage, dcontext);
  std::vector<Variable> inputs{{"image", image.tensor, dimage}};
  if (dcontext) inputs.push_back({"context", rows.tensor, dcontext});
  expect_gradients(store, inputs, loss, kNetworkTolerance);
}

// With blocks run again in backward: the same bits, from less memory.
class NetworkEverywhere : public ::testing::TestWithParam<Where> {};
INSTANTIATE_TEST_SUITE_P(Everywhere, NetworkEverywhere, ::testing::ValuesIn(everywhere_and_gpu()), where_name);

TEST_P(NetworkEverywhere, RecomputeChangesNothingButMemory) {
  UViCConfig c;
  c.img_size = 16;
  c.embed_dim = 64;
  c.depth = 12;
  c.num_heads = 2;
  c.num_classes = 3;
  const Where& where = GetParam();
  for (const bool skip : {true, false}) {
    SCOPED_TRACE(skip ? "skip" : "");
    c.skip = skip;
    const OwnedTensor image = random_tensor(DType::f32, {2, 3, 16, 16}, 31), y = tensor_of(DType::i32, {2}, {2, 0}),
                      t = tensor_of(DType::f32, {2}, {5, 600});
    std::vector<double> gradients[2], results[2];
    size_t peak[2];
    for (const bool recompute : {false, true}) {
      Context ctx = context(where);
      ParamStore store(where.device);
      const UViC net(store, c);
      store.allocate_for_training(where.dtype);
      store.initialise(ctx, 30);
      const Tensor out = ctx.like(image.tensor), dimage = ctx.like(image.tensor);
      UViC::Saved saved{.recompute = recompute};
      net.forward(ctx, image.tensor, t.tensor, {.y = y.tensor}, out, &saved);
      net.backward(ctx, saved, image.tensor, dimage);
      gradients[recompute] = values(store.flat(Role::grad));
      results[recompute] = values(out);
      for (const double v : values(dimage)) results[recompute].push_back(v);
      peak[recompute] = ctx.arena().peak();
    }
    EXPECT_EQ(results[1], results[0]);
    EXPECT_EQ(gradients[1], gradients[0]);
    EXPECT_LT(static_cast<double>(peak[1]), 0.7 * static_cast<double>(peak[0]));
  }
}

// Parameter gradients are added to, so the same step once more doubles them.
TEST(Network, BackwardAddsToParameterGradients) {
  UViCConfig c;
  c.img_size = 4;
  c.embed_dim = 16;
  c.depth = 2;
  c.num_heads = 1;
  c.mlp_ratio = 1;
  Context ctx;
  ParamStore store({});
  const UViC net(store, c);
  store.allocate_for_training(DType::f32);
  fill(store, 30);
  const OwnedTensor image = random_tensor(DType::f32, {1, 3, 4, 4}, 31), t = tensor_of(DType::f32, {1}, {5});
  Tensor out = ctx.like(image.tensor);
  UViC::Saved saved;
  net.forward(ctx, image.tensor, t.tensor, {}, out, &saved);
  net.backward(ctx, saved, image.tensor);
  const std::vector<double> once = values(store.flat(Role::grad));
  UViC::Saved again;  // what was saved serves once
  net.forward(ctx, image.tensor, t.tensor, {}, out, &again);
  net.backward(ctx, again, image.tensor);
  const std::vector<double> twice = values(store.flat(Role::grad));
  double largest = 0;
  for (size_t i = 0; i < once.size(); ++i) {
    EXPECT_NEAR(twice[i], 2 * once[i], 1e-5 * (1 + std::abs(once[i])));
    largest = std::max(largest, std::abs(once[i]));
  }
  EXPECT_GT(largest, 0.01);
}

std::string network_name(const ::testing::TestParamInfo<NetworkGradients::ParamType>& test) {
  constexpr const char* kConditions[] = {"none", "label", "text"};
  const auto [kind, condition] = test.param;
  return concat(name_of(kind), "_", kConditions[static_cast<size_t>(condition)]);
}

INSTANTIATE_TEST_SUITE_P(Kinds, NetworkGradients,
                         ::testing::Combine(::testing::ValuesIn(kKinds),
                                            ::testing::Values(Condition::none, Condition::label, Condition::text)),
                         network_name);

}  // namespace
}  // namespace uvic::test
