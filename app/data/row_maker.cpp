#include "app/data/row_maker.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <vector>

#include "app/resize.h"
#include "kernels/core/error.h"
#include "kernels/core/philox.h"
#include "kernels/core/text.h"

namespace uvic {

// Cropped images, decoded once. Two threads may meet at an image only where two epochs touch; the second then decodes
// for itself and stores nothing.
class PixelCache {
 public:
  PixelCache(int64_t images, size_t bytes_each)
      : bytes_(bytes_each), pixels_(static_cast<size_t>(images) * bytes_each), state_(static_cast<size_t>(images)) {}

  const uint8_t* find(int64_t i) const {
    const auto at = static_cast<size_t>(i);
    return state_[at].load(std::memory_order_acquire) == State::ready ? &pixels_[at * bytes_] : nullptr;
  }
  void store(int64_t i, const uint8_t* rgb) {
    const auto at = static_cast<size_t>(i);
    State expected = State::empty;
    if (!state_[at].compare_exchange_strong(expected, State::busy, std::memory_order_relaxed)) return;
    std::memcpy(&pixels_[at * bytes_], rgb, bytes_);
    state_[at].store(State::ready, std::memory_order_release);
  }

 private:
  enum class State : uint8_t { empty, busy, ready };
  size_t bytes_;
  std::vector<uint8_t> pixels_;
  std::vector<std::atomic<State>> state_;
};

namespace {

Image cropped(const Image& image, const std::string& how, int size, const Random4& r) {
  if (how == "random") return random_crop_arr(image, size, uniform(r.v[1]), uniform(r.v[2]), uniform(r.v[3]));
  if (how == "coco") return coco_center_crop(image, size);
  if (how == "celeba") return celeba_crop(image, size);
  return center_crop_arr(image, size);
}

void mirror(uint8_t* rgb, size_t size) {
  for (size_t y = 0; y < size; ++y)
    for (size_t a = 0, b = size - 1; a < b; ++a, --b)
      std::swap_ranges(rgb + (y * size + a) * 3, rgb + (y * size + a) * 3 + 3, rgb + (y * size + b) * 3);
}

// Bytes of the samples that are read before they are asked for, beside the window and those in the making.
constexpr int64_t kReadAhead = 64;

}  // namespace

RowMaker::RowMaker(const Dataset& data, const DataConfig& config, const LoaderOptions& options, int64_t in_flight)
    : data_(data),
      config_(config),
      options_(options),
      row_bytes_(static_cast<size_t>(options.image_size) * static_cast<size_t>(options.image_size) * 3),
      bad_(data.path(), data.size(), config.max_bad_share),
      orders_([&data, seed = options.seed](int64_t epoch) { return data.order(seed, epoch); }, data.size(),
              in_flight + (data.sequential() ? config.shuffle_buffer + kReadAhead : 0)) {
  if (data.sequential()) {
    const auto mine = [batch = options.batch_size, shift = options.sample_shift, rows = options.rows](int64_t g) {
      const int64_t row = (g - shift) % batch;
      return row >= rows.begin && row < rows.end;
    };
    const int64_t first = options.start_step * options.batch_size + options.sample_shift;
    read_ahead_ = std::make_unique<ReadAhead>(data, orders_, config.shuffle_buffer, first, kReadAhead, mine);
    return;
  }
  const auto total = static_cast<double>(data.size()) * static_cast<double>(row_bytes_);
  if (config.crop != "random" && total <= config.cache_mb * 1048576.0)
    cache_ = std::make_unique<PixelCache>(data.size(), row_bytes_);
}

RowMaker::~RowMaker() = default;

void RowMaker::stop() {
  if (read_ahead_) read_ahead_->stop();
}

Batch RowMaker::empty_batch(int64_t rows) const {
  Batch batch;
  batch.pixels = OwnedTensor(options_.memory, DType::u8, {rows, options_.image_size, options_.image_size, 3});
  return batch;
}

int32_t RowMaker::make(int64_t sample, Batch& batch, int64_t row) {
  uint8_t* out = batch.pixels.tensor.rows(row, row + 1).data<uint8_t>();
  const int64_t epoch = sample / data_.size();
  int64_t i = orders_.of(epoch)->images[static_cast<size_t>(sample % data_.size())];
  std::optional<int64_t> own = sample;  // bytes read ahead are for the image itself, not for one in its place
  for (int64_t tries = 0; !write_pixels(i, epoch, own, out); own.reset(), i = (i + 1) % data_.size())
    UVIC_CHECK(++tries < data_.size(), data_.path(), ": every image is broken");
  return data_.label(i);
}

bool RowMaker::write_pixels(int64_t i, int64_t epoch, std::optional<int64_t> sample, uint8_t* out) {
  const Random4 r =
      philox({options_.seed, static_cast<uint32_t>(epoch), Stream::crop_flip, static_cast<uint32_t>(i)}, 0);
  const uint8_t* known = cache_ ? cache_->find(i) : nullptr;
  if (known) {
    std::memcpy(out, known, row_bytes_);
  } else {
    std::optional<ReadAhead::Read> ahead;
    if (read_ahead_ && sample) ahead = read_ahead_->take(*sample);
    if (bad_.contains(i)) return false;
    try {
      UVIC_CHECK(!ahead || ahead->error.empty(), ahead->error);
      const Image image = ahead ? data_.decode(i, ahead->bytes) : data_.load(i);
      std::memcpy(out, cropped(image, config_.crop, options_.image_size, r).rgb.data(), row_bytes_);
    } catch (const Error& e) {
      const std::string what = e.what();  // a crop does not know the image's name
      bad_.add(i, escape(what.find(data_.name(i)) == std::string::npos ? concat(data_.name(i), ": ", what) : what));
      return false;
    }
    if (cache_) cache_->store(i, out);
  }
  if (config_.random_flip && (r.v[0] >> 31)) mirror(out, static_cast<size_t>(options_.image_size));
  return true;
}

}  // namespace uvic
