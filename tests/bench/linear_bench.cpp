// The networks' linear layers as they call them, in every instruction set: embed, qkv, proj (adds the residual), head,
// the long skip, and the multilayer perceptron. Random numbers, since zeros draw less power and the clock rises with
// them. The least of the repetitions is the number to quote.

#include "kernels/ops/linear.h"
#include "kernels/ops/mlp.h"
#include "kernels/ops/pointwise.h"

#include "tests/bench/cases.h"

namespace uvic {
namespace {

struct Layer {
  const char* name;
  bool bias, residual;
};
constexpr Layer kLayers[] = {
    {"embed", true, false}, {"qkv", false, false}, {"proj", true, true}, {"head", true, false}};

struct Size {
  int64_t N, K, M;
};
Size size_of_layer(const UViCConfig& c, const std::string& name) {
  const int64_t d = c.embed_dim, tokens = kBatch * c.tokens(), patch = c.patch_size * c.patch_size * c.in_chans;
  return name == "embed"  ? Size{kBatch * c.patches(), patch, d}
         : name == "qkv"  ? Size{tokens, d, 3 * d}
         : name == "proj" ? Size{tokens, d, d}
                          : Size{tokens, d, patch};
}

enum class Pass : uint8_t { training, sampling, dx, dw };
constexpr const char* kPasses[] = {"forward", "prepacked", "dx", "dw"};

void make(Context& ctx, const UViCConfig& c, DType dtype, const Layer& layer, Pass pass, Job& job) {
  const auto [N, K, M] = size_of_layer(c, layer.name);
  const Tensor x = job.random(dtype, {N, K}), w = job.random(dtype, {M, K});
  const Tensor y = job.random(dtype, {N, M});
  job.flop = static_cast<double>(2 * N * K * M);
  job.arithmetic = dtype;
  job.label = concat("[", N, ", ", K, "] x [", K, ", ", M, "]");
  if (pass == Pass::training || pass == Pass::sampling) {
    LinearArgs args{x, w, {}, {}, Activation::none, {}};
    if (layer.bias) args.b = job.random(dtype, {M});
    if (layer.residual) args.residual = job.random(dtype, {N, M});
    const auto packed = std::make_shared<OwnedTensor>();
    if (pass == Pass::sampling) *packed = prepack_linear(ctx, w), args.prepacked = packed->tensor;
    job.run = [=, &ctx] { linear_forward(ctx, args, y); };
    return;
  }
  const LinearBackwardArgs args{x, w};
  if (pass == Pass::dx) {
    const Tensor dx = job.zeros(dtype, {N, K});
    job.run = [=, &ctx] { linear_backward(ctx, args, y, dx, {}, {}); };
  } else {
    const Tensor dw = job.zeros(DType::f32, {M, K}), db = job.zeros(DType::f32, {M});
    job.run = [=, &ctx] { linear_backward(ctx, args, y, {}, dw, db); };
  }
}

void make_skip(Context& ctx, const UViCConfig& c, DType dtype, bool backward, Job& job) {
  const int64_t N = kBatch * c.tokens(), K = c.embed_dim;
  const SkipLinearArgs args{
      job.random(dtype, {N, K}), job.random(dtype, {N, K}), job.random(dtype, {K, 2 * K}), job.random(dtype, {K}), {}};
  const Tensor y = job.random(dtype, {N, K});
  job.flop = static_cast<double>(2 * N * 2 * K * K) * (backward ? 2 : 1);
  job.arithmetic = dtype;
  job.label = concat("[", N, ", 2 x ", K, "] x [2 x ", K, ", ", K, "]");
  if (backward) {
    const Tensor dx = job.zeros(dtype, {N, K}), dskip = job.zeros(dtype, {N, K});
    const Tensor dw = job.zeros(DType::f32, {K, 2 * K}), db = job.zeros(DType::f32, {K});
    job.run = [=, &ctx] { skip_linear_backward(ctx, args, y, dx, dskip, dw, db); };
  } else {
    job.run = [=, &ctx] { skip_linear_forward(ctx, args, y); };
  }
}

void make_mlp(Context& ctx, const UViCConfig& c, DType dtype, Pass pass, Job& job) {
  const int64_t N = kBatch * c.tokens(), K = c.embed_dim, M = c.hidden();
  const Tensor x = job.random(dtype, {N, K}), w1 = job.random(dtype, {M, K}), w2 = job.random(dtype, {K, M});
  const Tensor y = job.zeros(dtype, {N, K}), residual = job.random(dtype, {N, K}), pre = job.random(dtype, {N, M});
  job.arithmetic = dtype;
  job.label = concat("[", N, ", ", K, ", ", M, ", ", K, "]");
  job.flop = static_cast<double>(4 * N * K * M);
  if (pass == Pass::dx) {
    job.flop *= 2;
    // The op overwrites pre with gelu(pre); so let these be numbers that GELU leaves as they are, or repeated runs
    // would end in denormal ones.
    const Tensor eight = job.random(DType::f32, pre.shape());
    for (int64_t i = 0; i < eight.numel(); ++i) eight.data<float>()[i] = 8 + std::abs(eight.data<float>()[i]);
    cast(ctx, eight, pre);
    const Tensor dw1 = job.zeros(DType::f32, {M, K}), dw2 = job.zeros(DType::f32, {K, M});
    const Tensor db1 = job.zeros(DType::f32, {M}), db2 = job.zeros(DType::f32, {K});
    const MlpBackwardArgs args{.x = x, .w1 = w1, .w2 = w2, .pre = pre};
    job.run = [=, &ctx] { mlp_backward(ctx, args, residual, y, dw1, db1, dw2, db2); };
    return;
  }
  MlpArgs args{
      .x = x, .w1 = w1, .b1 = job.random(dtype, {M}), .w2 = w2, .b2 = job.random(dtype, {K}), .residual = residual};
  if (pass == Pass::training) {
    job.run = [=, &ctx] { mlp_forward(ctx, args, y, pre); };
    return;
  }
  const auto packed1 = std::make_shared<OwnedTensor>(prepack_linear(ctx, w1));
  const auto packed2 = std::make_shared<OwnedTensor>(prepack_linear(ctx, w2));
  args.prepacked1 = packed1->tensor, args.prepacked2 = packed2->tensor;
  job.run = [=, &ctx] {
    (void)packed1, (void)packed2;  // kept
    mlp_forward(ctx, args, y);
  };
}

const bool registered = [] {
  for (const Pass pass : {Pass::training, Pass::sampling, Pass::dx})
    register_cases(concat("mlp/", pass == Pass::dx ? "backward" : kPasses[static_cast<int>(pass)]), networks(),
                   working_dtypes(), all_isas(), [pass](Context& ctx, const UViCConfig& c, DType dtype, Job& j) {
                     make_mlp(ctx, c, dtype, pass, j);
                   });
  for (const Layer& layer : kLayers)
    for (const Pass pass : {Pass::training, Pass::sampling, Pass::dx, Pass::dw}) {
      const std::string op = concat("linear/", kPasses[static_cast<int>(pass)], "/", layer.name);
      const MakeJob job = [&layer, pass](Context& ctx, const UViCConfig& c, DType dtype, Job& j) {
        make(ctx, c, dtype, layer, pass, j);
      };
      register_cases(op, networks(), working_dtypes(), all_isas(), job);
      register_cases(op, {networks()[2]}, {DType::bf16}, best_isa_only(), job, 1);
    }
  for (const bool backward : {false, true})
    register_cases(
        concat("skip_linear/", backward ? "backward" : "forward"), networks(), working_dtypes(), all_isas(),
        [=](Context& ctx, const UViCConfig& c, DType dtype, Job& j) { make_skip(ctx, c, dtype, backward, j); });
  return true;
}();

}  // namespace
}  // namespace uvic
