// The networks' linear layers as they call them, in every instruction set: embed, qkv, proj (adds the residual), fc1
// (bias, GELU, and what backward needs), fc2, head, and the long skip. Random numbers, since zeros draw less power and
// the clock rises with them. The least of the repetitions is the number to quote.

#include "kernels/ops/linear.h"

#include "tests/bench/cases.h"

namespace uvic {
namespace {

struct Layer {
  const char* name;
  bool bias, residual;
  Activation act, x_act;  // of its result; of its input, for backward
};
constexpr Layer kLayers[] = {{"embed", true, false, Activation::none, Activation::none},
                             {"qkv", false, false, Activation::none, Activation::none},
                             {"proj", true, true, Activation::none, Activation::none},
                             {"fc1", true, false, Activation::gelu, Activation::none},
                             {"fc2", true, true, Activation::none, Activation::gelu},
                             {"head", true, false, Activation::none, Activation::none}};

struct Size {
  int64_t N, K, M;
};
Size size_of_layer(const UViCConfig& c, const std::string& name) {
  const int64_t d = c.embed_dim, tokens = kBatch * c.tokens(), patch = c.patch_size * c.patch_size * c.in_chans;
  return name == "embed"  ? Size{kBatch * c.patches(), patch, d}
         : name == "qkv"  ? Size{tokens, d, 3 * d}
         : name == "proj" ? Size{tokens, d, d}
         : name == "fc1"  ? Size{tokens, d, c.hidden()}
         : name == "fc2"  ? Size{tokens, c.hidden(), d}
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
    LinearArgs args{x, w, {}, {}, layer.act, {}};
    if (layer.bias) args.b = job.random(dtype, {M});
    if (layer.residual) args.residual = job.random(dtype, {N, M});
    Tensor pre;
    if (pass == Pass::training && layer.act != Activation::none) pre = job.zeros(dtype, {N, M});
    const auto packed = std::make_shared<OwnedTensor>();
    if (pass == Pass::sampling) *packed = prepack_linear(ctx, w), args.prepacked = packed->tensor;
    job.run = [=, &ctx] { linear_forward(ctx, args, y, pre); };
    return;
  }
  LinearBackwardArgs args{x, w, layer.x_act, {}};
  if (layer.x_act != Activation::none) args.x = {}, args.x_pre = job.random(dtype, {N, K});  // made again from there
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

const bool registered = [] {
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
