#include <algorithm>
#include <cmath>
#include <cstring>

#include "app/resize.h"
#include "kernels/core/error.h"

namespace uvic {
namespace {

// Python's round(): a half goes to the even neighbour, as nearbyint does in the default rounding mode.
int round_half_even(double x) { return static_cast<int>(std::nearbyint(x)); }

}  // namespace

Image crop(const Image& image, int top, int left, int height, int width) {
  UVIC_CHECK(
      top >= 0 && left >= 0 && height > 0 && width > 0 && height <= image.height - top && width <= image.width - left,
      "crop: ", width, " x ", height, " pixels at (", left, ", ", top, ") of an image of ", image.width, " x ",
      image.height);
  Image out{height, width, std::vector<uint8_t>(static_cast<size_t>(height) * static_cast<size_t>(width) * 3)};
  const size_t bytes = static_cast<size_t>(width) * 3;
  for (size_t y = 0; y < static_cast<size_t>(height); ++y)
    std::memcpy(
        &out.rgb[y * bytes],
        &image.rgb[((static_cast<size_t>(top) + y) * static_cast<size_t>(image.width) + static_cast<size_t>(left)) * 3],
        bytes);
  return out;
}

Image resize_short_side(const Image& image, int size) {
  Image x = image;
  while (std::min(x.width, x.height) >= 2 * size) x = resize(x, x.height / 2, x.width / 2, Filter::box);
  const double scale = static_cast<double>(size) / std::min(x.width, x.height);
  UVIC_CHECK(scale * x.height * scale * x.width < kMaxPixels, "an image of ", image.width, " x ", image.height,
             " pixels is too narrow to be enlarged to a short side of ", size);
  return resize(x, round_half_even(x.height * scale), round_half_even(x.width * scale), Filter::bicubic);
}

Image center_crop_arr(const Image& image, int size) {
  if (image.height == size && image.width == size) return image;
  const Image x = resize_short_side(image, size);
  return crop(x, (x.height - size) / 2, (x.width - size) / 2, size, size);
}

Image coco_center_crop(const Image& image, int size) {
  const int c = std::min(image.height, image.width);
  return resize(crop(image, (image.height - c) / 2, (image.width - c) / 2, c, c), size, size, Filter::lanczos);
}

Image celeba_crop(const Image& image, int size) {
  UVIC_CHECK(image.height == 218 && image.width == 178,
             "celeba_crop: an aligned CelebA image has 178 x 218 pixels, got ", image.width, " x ", image.height);
  return resize(crop(image, 57, 25, 128, 128), size, size, Filter::bilinear);
}

Image random_crop_arr(const Image& image, int size, float scale, float row, float column) {
  const int last = static_cast<int>(std::ceil(size / 0.8));
  const int short_side = size + static_cast<int>(scale * static_cast<float>(last - size + 1));
  const Image x = resize_short_side(image, short_side);
  const int top = static_cast<int>(row * static_cast<float>(x.height - size + 1));
  const int left = static_cast<int>(column * static_cast<float>(x.width - size + 1));
  return crop(x, top, left, size, size);
}

Image flip_horizontally(const Image& image) {
  Image out = image;
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < image.width; ++x)
      std::memcpy(&out.rgb[(static_cast<size_t>(y) * static_cast<size_t>(image.width) +
                            static_cast<size_t>(image.width - 1 - x)) *
                           3],
                  &image.rgb[(static_cast<size_t>(y) * static_cast<size_t>(image.width) + static_cast<size_t>(x)) * 3],
                  3);
  return out;
}

}  // namespace uvic
