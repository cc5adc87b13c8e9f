#include "app/sampled_images.h"

#include <algorithm>
#include <numeric>

#include "kernels/ops/pointwise.h"
#include "kernels/ops/transfer.h"

namespace uvic {

SampledImages::SampledImages(const SampleRequest& request) : request_(request), maker_(request) {}

std::function<Image()> SampledImages::fetch(int64_t i) {
  if (i < first_ || i >= first_ + static_cast<int64_t>(images_.size())) {
    const int64_t n = std::min<int64_t>(request_.batch, size() - i);
    std::vector<size_t> batch(static_cast<size_t>(n));
    std::iota(batch.begin(), batch.end(), static_cast<size_t>(i));
    const Tensor x = maker_.decode(maker_.make(batch));
    const Tensor pixels = maker_.ctx().empty(DType::u8, {n, x.dim(2), x.dim(3), 3});
    image_to_pixels(maker_.ctx(), x, pixels);
    const OwnedTensor read = on_host(maker_.ctx(), pixels);
    first_ = i;
    images_.clear();
    for (int64_t b = 0; b < n; ++b) {
      const Tensor row = read.tensor.rows(b, b + 1);
      const uint8_t* rgb = row.data<uint8_t>();
      images_.push_back({static_cast<int>(x.dim(2)), static_cast<int>(x.dim(3)), {rgb, rgb + row.numel()}});
    }
  }
  return [image = std::move(images_[static_cast<size_t>(i - first_)])] { return image; };
}

}  // namespace uvic
