#include "model/clip_text.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "kernels/ops/attention.h"
#include "kernels/ops/mlp.h"
#include "kernels/ops/norm.h"
#include "kernels/ops/pointwise.h"
#include "kernels/ops/tokens.h"
#include "kernels/ops/transfer.h"
#include "model/clip_text_names.h"
#include "model/io/file.h"
#include "model/layers.h"

namespace uvic {
namespace {

// Texts at a time. All pieces have as many rows, since a product of another size might sum in another order; more would
// only cost memory, for 308 rows already take longer than reading the weights.
constexpr int64_t kPiece = 4;

struct Norm {
  Norm(ParamStore& s, const std::string& name, int64_t width, float epsilon)
      : store(&s),
        w(s.add(name + ".weight", {width}, Init::ones)),
        b(s.add(name + ".bias", {width}, Init::zeros)),
        eps(epsilon) {}
  Tensor forward(Context& ctx, Tensor x) const {
    const Tensor y = ctx.like(x);
    layernorm_forward(ctx, {x, store->value(w), store->value(b), eps}, y);
    return y;
  }

  const ParamStore* store;
  int w, b;
  float eps;
};

// x += out(attention(qkv(norm1(x)))); x += fc2(act(fc1(norm2(x)))).
struct TextBlock {
  TextBlock(ParamStore& s, const std::string& name, const ClipTextSizes& z, float eps)
      : norm1(s, name + ".norm1", z.width, eps),
        qkv(s, name + ".qkv", z.width, 3 * z.width, true),
        proj(s, name + ".proj", z.width, z.width, true),
        norm2(s, name + ".norm2", z.width, eps),
        fc1(s, name + ".fc1", z.width, z.hidden, true),
        fc2(s, name + ".fc2", z.hidden, z.width, true) {}

  // x [B T, width] becomes the block's result.
  void forward(Context& ctx, int64_t batch, int64_t heads, Activation act, Tensor x) const {
    const auto scope = ctx.scope("block");
    const int64_t rows = x.dim(0), width = x.dim(1);
    const Tensor split =
        qkv.forward(ctx, norm1.forward(ctx, x), nullptr).view({batch, rows / batch, 3, heads, width / heads});
    const Tensor o = ctx.empty(x.dtype(), {batch, rows / batch, heads, width / heads});
    attention_forward(ctx, {.qkv = split, .causal = true}, o);
    const Tensor middle = proj.forward(ctx, o.view({rows, width}), nullptr, Activation::none, x);
    mlp_forward(ctx,
                {.x = norm2.forward(ctx, middle),
                 .w1 = fc1.weight(),
                 .b1 = fc1.bias(),
                 .w2 = fc2.weight(),
                 .b2 = fc2.bias(),
                 .residual = middle,
                 .act = act,
                 .prepacked1 = fc1.prepacked(),
                 .prepacked2 = fc2.prepacked()},
                x);
  }

  Norm norm1;
  Linear qkv, proj;
  Norm norm2;
  Linear fc1, fc2;
};

}  // namespace

struct TextEncoder::Network {
  Network(Context& ctx, const ClipTextSizes& z, const TextConfig& config)
      : sizes(z),
        heads(config.heads.value_or(z.width / 64)),
        act(config.act),
        store(ctx.device()),
        token_table(store.add("token_embedding", {z.vocabulary, z.width}, Init::normal_002)),
        positions(store.add("position_embedding", {z.tokens, z.width}, Init::normal_002)),
        blocks(make_blocks(store, z, config.eps)),
        last(store, "norm", z.width, config.eps) {}

  static std::vector<TextBlock> make_blocks(ParamStore& store, const ClipTextSizes& z, float eps) {
    std::vector<TextBlock> all;
    for (int64_t i = 0; i < z.layers; ++i) all.emplace_back(store, concat("layers.", i), z, eps);
    return all;
  }

  void piece(Context& ctx, Tensor ids, Tensor out) const {
    const auto scope = ctx.scope("piece");
    const int64_t B = ids.dim(0), T = ids.dim(1);
    const Tensor rows = ctx.empty(store.dtype(), {B * T, sizes.width}), x = ctx.like(rows);
    const Shape by_text{B, T, sizes.width};
    embedding_forward(ctx, store.value(token_table), ids.view({B * T}), rows);
    place_tokens(ctx, rows.view(by_text), store.value(positions).rows(0, T), 0, x.view(by_text));
    for (const TextBlock& block : blocks) block.forward(ctx, B, heads, act, x);
    cast(ctx, last.forward(ctx, x).view(by_text).rows(0, out.dim(0)), out);
  }

  ClipTextSizes sizes;
  int64_t heads;
  Activation act;
  ParamStore store;
  int token_table, positions;
  std::vector<TextBlock> blocks;
  Norm last;
};

TextConfig text_config(const std::filesystem::path& weights) {
  const std::filesystem::path path = weights.parent_path() / "config.json";
  TextConfig config;
  if (!std::filesystem::exists(path)) return config;
  const MappedFile file(path);
  const auto* text = reinterpret_cast<const char*>(file.bytes().data());
  nlohmann::json j = nlohmann::json::parse(text, text + file.bytes().size(), nullptr, false);
  UVIC_CHECK(j.is_object(), path.string(), ": not a JSON object, as a text tower's config.json is");
  if (j.contains("text_config")) j = j["text_config"];  // of a whole CLIPModel
  const auto number = [&](const char* key) {
    UVIC_CHECK(j[key].is_number() && j[key] > 0, path.string(), ": ", key, " is ", j[key].dump(),
               ", wanted a positive number");
    return j[key];
  };
  if (j.contains("num_attention_heads")) config.heads = number("num_attention_heads").get<int64_t>();
  if (j.contains("layer_norm_eps")) config.eps = number("layer_norm_eps").get<float>();
  const auto act = j.value("hidden_act", nlohmann::json("quick_gelu"));
  UVIC_CHECK(act == "quick_gelu" || act == "gelu", path.string(), ": hidden_act is ", act.dump(),
             "; quick_gelu and gelu are known");
  config.act = act == "gelu" ? Activation::gelu : Activation::quick_gelu;
  return config;
}

std::unique_ptr<TextEncoder> TextEncoder::load(Context& ctx, const std::filesystem::path& file,
                                               const Options& options) {
  Options complete = options;
  if (!complete.config) complete.config = text_config(file);
  return std::make_unique<TextEncoder>(ctx, read_weights(file), complete);
}

TextEncoder::TextEncoder(Context& ctx, const Weights& weights, const Options& options) {
  const ClipTextNames names(weights);
  const TextConfig config = options.config.value_or(TextConfig{});
  const int64_t width = names.sizes().width, heads = config.heads.value_or(width / 64);
  UVIC_CHECK(heads > 0 && width % heads == 0 && width / heads <= 128, weights.path.string(), ": ", heads,
             " heads do not divide the width of ", width, " into 1 to 128 each; num_attention_heads in config.json ",
             "beside it says how many there are");
  network_ = std::make_unique<Network>(ctx, names.sizes(), config);
  network_->store.allocate_for_inference(options.dtype);
  names.load(ctx, network_->store);
  network_->store.prepack(ctx);
}
TextEncoder::~TextEncoder() = default;

int64_t TextEncoder::width() const { return network_->sizes.width; }
int64_t TextEncoder::tokens() const { return network_->sizes.tokens; }
int64_t TextEncoder::vocabulary() const { return network_->sizes.vocabulary; }
int64_t TextEncoder::parameters() const { return network_->store.count(); }

void TextEncoder::encode(Context& ctx, Tensor ids, Tensor out) const {
  const auto where = ctx.scope("clip_text");
  UVIC_CHECK(ids && ids.dtype() == DType::i32 && ids.rank() == 2 && ids.dim(1) > 0 && ids.dim(1) <= tokens(),
             "clip_text: ids are ", ids.dtype(), ' ', ids.shape(), ", wanted i32 [N, up to ", tokens(), "]");
  const int64_t N = ids.dim(0), T = ids.dim(1);
  UVIC_CHECK(out && out.dtype() == DType::f32 && out.shape() == Shape({N, T, width()}), "clip_text: out is ",
             out.dtype(), ' ', out.shape(), ", wanted f32 ", Shape{N, T, width()});
  for (int64_t begin = 0; begin < N; begin += kPiece) {
    const auto scope = ctx.scope("texts");
    const int64_t end = std::min(N, begin + kPiece);
    std::vector<int32_t> some(static_cast<size_t>(kPiece * T));
    const Tensor given = ids.rows(begin, end);
    std::copy_n(given.data<int32_t>(), given.numel(), some.begin());
    network_->piece(ctx, upload(ctx, some).view({kPiece, T}), out.rows(begin, end));
  }
}

}  // namespace uvic
