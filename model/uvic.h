#pragma once

#include <functional>
#include <string>
#include <vector>

#include "model/block.h"
#include "model/embed.h"

namespace uvic {

// U-ViT (arXiv 2209.12152) and, with Cog Attention (arXiv 2411.07176) in its blocks, U-ViC: the long-skip stack.
class UViC {
 public:
  // Adds its parameters to store, in the order and with the names of the released state_dict.
  UViC(ParamStore& store, const UViCConfig& config);

  struct Saved {
    // Set before forward: blocks keep nothing, and backward runs each block's forward again (Chen et al., arXiv
    // 1604.06174). A third more work; of activations, tokens are left, and those of one block at a time.
    bool recompute = false;
    Embed::Saved embed;
    std::vector<Block::Saved> blocks;  // empty if recompute
    Head::Saved head;
    std::vector<Tensor> tokens;  // what embed and then each block returned, [B * L, embed_dim]
  };

  // image [B, C, h, w] f32; t [B] f32, the time value as the network is meant to get it; out [B, C, h, w] f32,
  // overwritten. With saved, all that backward needs stays in the arena until the caller rewinds it; without, nothing
  // does. Throws Error if a shape or the condition does not fit the config.
  void forward(Context& ctx, Tensor image, Tensor t, const Conditions& conditions, Tensor out,
               Saved* saved = nullptr) const;
  // Called while backward runs: the gradients at [begin, end) of the store's flat role have their final values. Each
  // part ends where the one before it began, and the last begins at 0.
  using GradientsDone = std::function<void(int64_t begin, int64_t end)>;
  // Adds to every parameter's gradient; what was saved serves once. Overwrites dimage and dcontext (shapes of the
  // inputs, f32), skipped if empty.
  void backward(Context& ctx, const Saved& saved, Tensor dout, Tensor dimage = {}, Tensor dcontext = {},
                const GradientsDone& done = {}) const;

  // Of a forward with saved: the first module whose result is not finite everywhere ("embed", "in_blocks.3", "head"),
  // or "image" if the input was not; "" if all are.
  std::string first_not_finite(Context& ctx, Tensor image, const Saved& saved, Tensor out) const;

  const UViCConfig& config() const { return config_; }

 private:
  // Of the in-block whose output block takes as skip.
  size_t skip_source(size_t block) const { return blocks_.size() - 1 - block; }
  void check(Tensor image, Tensor t, const Conditions& conditions, Tensor out) const;

  UViCConfig config_;
  Embed embed_;
  std::vector<int64_t> begins_;  // of each block's parameters in the store's flat roles, then of the head's; the end
  std::vector<Block> blocks_;    // in, mid, out
  Head head_;
};

// Makes every attention's scores start around score (> 0) instead of 0, in all roles of a store that was just
// initialised: the q and k biases, which config.qkv_bias must give, become sqrt(score / (scale D)). Where no score is
// negative, cog attention is softmax attention: from the released start, where signs are drawn by lot, a U-ViC first
// has to find that state. Throws Error if there are no such biases.
void start_scores_at(Context& ctx, ParamStore& store, const UViCConfig& config, double score);

}  // namespace uvic
