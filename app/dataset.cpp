#include "app/dataset.h"

#include <numeric>
#include <utility>

#include "kernels/core/error.h"
#include "kernels/core/philox.h"

namespace uvic {

Dataset::Dataset(const DataConfig& config)
    : path_(config.path), index_(build_index(config.path, config.format, config.classes)) {
  UVIC_CHECK(size() <= int64_t{1} << 32, path_, ": ", size(), " images; a random key has room for 2^32");
}

Image Dataset::load(int64_t i) const {
  const ImageEntry& e = entry(i);
  const std::filesystem::path& file = index_.files[static_cast<size_t>(e.file)];
  const std::vector<uint8_t> bytes = read_bytes(file, e.offset, e.size);
  if (index_.coding == Coding::encoded)
    return decode_image(bytes, e.size < 0 ? file.string() : concat(file.string(), ": ", e.name));
  constexpr size_t kSide = 32, kPlane = kSide * kSide;
  Image image{kSide, kSide, std::vector<uint8_t>(3 * kPlane)};
  for (size_t pixel = 0; pixel < kPlane; ++pixel)
    for (size_t c = 0; c < 3; ++c) image.rgb[pixel * 3 + c] = bytes[c * kPlane + pixel];
  return image;
}

std::vector<uint32_t> epoch_order(uint64_t seed, int64_t epoch, int64_t size) {
  std::vector<uint32_t> order(static_cast<size_t>(size));
  std::iota(order.begin(), order.end(), 0u);
  // Fisher-Yates. 64 random bits for each draw leave a bias below size / 2^64; block i / 2 holds the bits of draw i.
  Random4 r{};
  for (size_t i = order.size(); i-- > 1;) {
    const RandomKey key{seed, static_cast<uint32_t>(epoch), Stream::shuffling, 0};
    if (i % 2 == 1 || i + 1 == order.size()) r = philox(key, static_cast<uint32_t>(i / 2));
    const uint64_t bits = uint64_t{r.v[i % 2 * 2]} << 32 | r.v[i % 2 * 2 + 1];
    const auto j = static_cast<size_t>(static_cast<unsigned __int128>(bits) * (i + 1) >> 64);
    std::swap(order[i], order[j]);
  }
  return order;
}

}  // namespace uvic
