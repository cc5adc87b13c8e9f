#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "app/sample_run.h"
#include "kernels/core/context.h"

namespace uvic {

// What a run of uvic-sample writes: a PNG an image as it goes, and at its end what holds all of them together.
class SampleOutputs {
 public:
  // Whether anything of the request is made of images, beside the model's own results.
  static bool shows(const SampleRequest& request);

  // Checks that all that is asked for can be made and written: now, not after hours of work. side: pixels of an image.
  // Throws Error naming the option or the file.
  SampleOutputs(const SampleRequest& request, const UViCConfig& config, int64_t side);

  // Whether an earlier run made this image, with the same parameters, and all that is wanted of it is in its file,
  // which is then read. Throws Error if it was made with others.
  bool has_already(size_t image, const std::string& parameters);
  // A state on the way as images [B, 3, h, w] f32, if such are wanted.
  bool shows_states() const { return !request_.trajectory.empty() || !request_.preview.empty(); }
  void show(Context& ctx, std::span<const size_t> images, Tensor state);
  // The results, x [B, C, h, w] f32, and as images (empty unless shows()). Writes each image's PNG, if wanted.
  void take(Context& ctx, std::span<const size_t> images, Tensor x, Tensor decoded,
            const std::function<std::string(size_t image)>& parameters);
  // Grid, array, tensor and trajectory, once every image was taken or is there already.
  void write();

 private:
  std::filesystem::path png_of(size_t image) const;

  const SampleRequest& request_;
  int size_, classes_;
  OwnedTensor floats_;                        // results before rounding, if wanted
  OwnedTensor pixels_;                        // [N, h, w, 3] u8, if a grid or an npz is wanted
  std::vector<std::vector<uint8_t>> states_;  // by image: [steps, h, w, 3], if a trajectory is wanted
};

}  // namespace uvic
