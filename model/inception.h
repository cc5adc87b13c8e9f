#pragma once

#include <functional>
#include <memory>
#include <string>

#include "kernels/ops/feature_map.h"
#include "model/model_file.h"

namespace uvic {

enum class Pool : uint8_t { max, average };

// InceptionV3 as the FID field uses it (torchvision's, with batch-norm eps 0.001 and average pools that leave out their
// padding), frozen. The caller resizes and scales images: see app/inception_input.h.
class Inception {
 public:
  static constexpr int64_t kSide = 299, kFeatures = 2048, kSpatial = 17 * 17 * 7;

  // From pt_inception-2015-12-05-6726825d.pth or any file with its names; fc and num_batches_tracked may be absent.
  // Batch norms are folded into the filters in double. mixed_7c is the pool of that block's pool branch: max in the
  // network of 2015, average in torchvision's and Keras'. Throws Error naming the file and the first tensor that is
  // missing, has another shape or does not belong to this network. weights may be dropped afterwards.
  Inception(Context& ctx, const Weights& weights, Pool mixed_7c = Pool::max);
  ~Inception();
  Inception(Inception&&) noexcept;
  Inception& operator=(Inception&&) noexcept;

  // What to compute: those that are empty are skipped. All f32.
  struct Outputs {
    Tensor pool1, pool2, mixed_6e;   // [B, 64], [B, 192], [B, 768]: pytorch-fid's blocks 0 to 2, means over space
    Tensor pool3;                    // [B, 2048]: its block 3, the features of the FID
    Tensor logits, logits_unbiased;  // [B, classes()]: with and without fc.bias
    Tensor spatial;                  // [B, 2023], h then w then channel: the first 7 channels of Mixed_6d, for the sFID
  };
  // Called with the map behind each top-level module (as they are named in the files; "pool1" and "pool2" behind the
  // stem's max pools) and with the number of its first image.
  using Visitor = std::function<void(const std::string& name, const FeatureMap& map, int64_t first)>;

  // x [B, 3, 299, 299] f32, RGB. Runs through in pieces of a few images, so that memory does not grow with B, and the
  // result of an image does not depend on the others.
  void forward(Context& ctx, Tensor x, const Outputs& out, const Visitor& visit = {}) const;

  int64_t classes() const;  // rows of fc: 1008 in the file of 2015; 0 without fc, and then there are no logits
  Pool mixed_7c() const;

 private:
  struct Network;
  std::unique_ptr<Network> network_;
};

}  // namespace uvic
