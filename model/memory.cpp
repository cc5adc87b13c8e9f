#include "model/memory.h"

#include <algorithm>

#include "model/uvic.h"

namespace uvic {
namespace {

// Each number is bytes for one row of [B * L, ...], in the order in which forward and backward take them.
struct RowBytes {
  double width, hidden;  // of a row of embed_dim or of hidden() values in the working dtype
  double stats;          // f32: two norms' mean and deviation, attention's statistic a head

  // What Block::forward keeps: result, norm1, qkv, attention, middle, norm2, and fc1 before its activation.
  double kept() const { return 8 * width + hidden + stats; }
  // What Block::backward takes at most: the MLP's result, the gradient of its hidden values, and an operand in the
  // products' order; or that result, attention's, and the gradients of its output and of qkv.
  double backward() const { return std::max(2 * width + hidden, 6 * width); }
};

double activation_bytes(const UViCConfig& c, int64_t batch, DType dtype, bool recompute) {
  const auto each = static_cast<double>(size_of(dtype)), f32 = 4.0;
  const double images = static_cast<double>(batch), rows = images * c.tokens();
  const RowBytes row{each * c.embed_dim, each * c.hidden(), f32 * (4 + c.num_heads)};
  const double pixels = images * c.in_chans * c.img_size * c.img_size;
  const double head_pixels = rows * c.in_chans * c.patch_size * c.patch_size;  // of every token, not only of patches
  const int half = c.depth / 2, skips = c.skip ? half : 0;

  // Before the blocks: clean images, noise, x_t, output, its gradient; patches and their tokens; texts twice in dtype.
  double bytes = 5 * f32 * pixels + each * pixels + images * c.patches() * row.width + rows * row.width;
  bytes += images * c.num_clip_token * (each + (dtype == DType::f32 ? 0 : f32)) * c.clip_dim;
  bytes += images * c.num_clip_token * row.width;
  // The blocks: all they keep, or only their results.
  bytes += rows * (recompute ? c.blocks() * row.width : c.blocks() * row.kept() + skips * row.width);
  // The head: normalised tokens, pixels, and the image before the final convolution.
  bytes += rows * row.width + each * head_pixels + (c.conv ? each * pixels : 0);
  // Backward: the gradient of the stream, and for each long skip one at both of its ends; then one block at a time.
  bytes += rows * (1 + 2 * skips) * row.width;
  return bytes + rows * (row.backward() + (recompute ? row.kept() + (skips > 0 ? row.width : 0) : 0));
}

}  // namespace

TrainingMemory training_memory(const UViCConfig& config, int64_t batch, DType dtype, bool recompute, int averages,
                               int parts) {
  ParamStore store({});
  const UViC net(store, config);
  const double f32 = 4.0 * static_cast<double>(store.count()), part = f32 / parts;
  return {.weights = dtype == DType::f32 ? f32 : part + static_cast<double>(size_of(dtype)) * store.count(),
          .averages = averages * part,
          .gradients = f32,
          .moments = 2 * part,
          .activations = activation_bytes(config, batch, dtype, recompute)};
}

}  // namespace uvic
