// BatchLoader: threads take step numbers in turn and each builds whole batches, so that rows need no hand-over; a ring
// of kAhead + workers slots keeps them in order and bounds the memory.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <map>
#include <mutex>
#include <thread>

#include "app/dataset.h"
#include "app/resize.h"
#include "kernels/core/error.h"
#include "kernels/core/philox.h"

namespace uvic {
namespace {

constexpr int64_t kAhead = 2;  // finished batches beside those being made
constexpr size_t kExamples = 5;

// Cropped images, decoded once. Two threads may meet at an image only where two epochs touch; the second then decodes
// for itself and stores nothing.
class Cache {
 public:
  Cache(int64_t images, size_t bytes_each)
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

}  // namespace

struct BatchLoader::Impl {
  Impl(const Dataset& d, const DataConfig& c, const LoaderOptions& o)
      : data(d),
        config(c),
        options(o),
        row_bytes(static_cast<size_t>(o.image_size) * static_cast<size_t>(o.image_size) * 3) {
    UVIC_CHECK(o.batch_size > 0 && o.image_size > 0 && o.start_step >= 0, "BatchLoader: batch_size ", o.batch_size,
               ", image_size ", o.image_size, ", start_step ", o.start_step);
    if (options.rows.count() == 0) options.rows = {0, o.batch_size};
    UVIC_CHECK(options.rows.begin >= 0 && options.rows.begin < options.rows.end && options.rows.end <= o.batch_size,
               "BatchLoader: rows [", o.rows.begin, ", ", o.rows.end, ") of a batch of ", o.batch_size);
    UVIC_CHECK(d.size() >= o.batch_size, d.path(), ": ", d.size(), " images are fewer than train.batch_size ",
               o.batch_size);
    const auto total = static_cast<double>(d.size()) * static_cast<double>(row_bytes);
    if (c.crop == "center" && total <= c.cache_mb * 1048576.0) cache = std::make_unique<Cache>(d.size(), row_bytes);
    next_to_make = next_to_take = o.start_step;
    const int processors = static_cast<int>(std::thread::hardware_concurrency());
    const int workers = c.workers > 0 ? c.workers : std::clamp(processors / 2, 1, 8);
    slots.resize(static_cast<size_t>(kAhead + workers));
    for (int i = 0; i < workers; ++i) threads.emplace_back([this] { work(); });
  }
  ~Impl() {
    {
      const std::lock_guard lock(mutex);
      stopping = true;
    }
    space.notify_all();
    for (std::thread& thread : threads) thread.join();
  }

  struct Slot {
    bool ready = false;
    Batch batch;
    std::exception_ptr error;
  };
  Slot& slot(int64_t step) { return slots[static_cast<size_t>(step) % slots.size()]; }

  void work() {
    std::unique_lock lock(mutex);
    for (;;) {
      space.wait(lock, [&] { return stopping || next_to_make < next_to_take + static_cast<int64_t>(slots.size()); });
      if (stopping) return;
      const int64_t step = next_to_make++;
      lock.unlock();
      Slot made;
      try {
        made.batch = make(step);
      } catch (...) {
        made.error = std::current_exception();
      }
      made.ready = true;
      lock.lock();
      slot(step) = std::move(made);
      filled.notify_all();
    }
  }

  Batch make(int64_t step) {
    Batch batch;
    batch.pixels = OwnedTensor({}, DType::u8, {options.rows.count(), options.image_size, options.image_size, 3});
    batch.first_sample = step * options.batch_size + options.sample_shift + options.rows.begin;
    auto* out = static_cast<uint8_t*>(batch.pixels.tensor.raw());
    for (int64_t row = 0; row < options.rows.count(); ++row, out += row_bytes) {
      const int64_t sample = batch.first_sample + row, epoch = sample / data.size();
      const int64_t wanted = (*order(epoch))[static_cast<size_t>(sample % data.size())];
      batch.labels.push_back(data.label(fill(wanted, epoch, out)));
    }
    return batch;
  }

  // Writes image `wanted` or, if it is broken, the next good one. Returns which.
  int64_t fill(int64_t wanted, int64_t epoch, uint8_t* out) {
    for (int64_t tries = 0, i = wanted;; i = (i + 1) % data.size()) {
      UVIC_CHECK(tries++ < data.size(), data.path(), ": every image is broken");
      const Random4 r =
          philox({options.seed, static_cast<uint32_t>(epoch), Stream::crop_flip, static_cast<uint32_t>(i)}, 0);
      if (!pixels_of(i, r, out)) continue;
      if (config.random_flip && (r.v[0] >> 31)) mirror(out);
      return i;
    }
  }

  bool pixels_of(int64_t i, const Random4& r, uint8_t* out) {
    if (const uint8_t* known = cache ? cache->find(i) : nullptr) {
      std::memcpy(out, known, row_bytes);
      return true;
    }
    if (is_bad(i)) return false;
    try {
      const Image square = cropped(data.load(i), r);
      std::memcpy(out, square.rgb.data(), row_bytes);
    } catch (const Error& e) {
      const std::string what = e.what();  // a crop does not know the image's name
      report_bad(i, what.find(data.name(i)) == std::string::npos ? concat(data.name(i), ": ", what) : what);
      return false;
    }
    if (cache) cache->store(i, out);
    return true;
  }

  Image cropped(const Image& image, const Random4& r) const {
    if (config.crop == "center") return center_crop_arr(image, options.image_size);
    return random_crop_arr(image, options.image_size, uniform(r.v[1]), uniform(r.v[2]), uniform(r.v[3]));
  }

  void mirror(uint8_t* out) const {
    const size_t width = static_cast<size_t>(options.image_size);
    for (size_t y = 0; y < width; ++y)
      for (size_t a = 0, b = width - 1; a < b; ++a, --b)
        std::swap_ranges(out + (y * width + a) * 3, out + (y * width + a) * 3 + 3, out + (y * width + b) * 3);
  }

  std::shared_ptr<const std::vector<uint32_t>> order(int64_t epoch) {
    const std::lock_guard lock(order_mutex);
    auto& found = orders[epoch];
    if (!found) {
      found = std::make_shared<const std::vector<uint32_t>>(epoch_order(options.seed, epoch, data.size()));
      // Steps are taken in turn, so that only the epochs of the ring's steps can be asked for again.
      const int64_t span = static_cast<int64_t>(slots.size()) * options.batch_size / data.size() + 2;
      std::erase_if(orders, [&](const auto& item) { return item.first < epoch - span; });
    }
    return found;
  }

  bool is_bad(int64_t i) {
    const std::lock_guard lock(bad_mutex);
    if (!bad.contains(i)) return false;
    check_share();  // another thread may have met the last straw, in a later batch
    return true;
  }

  void report_bad(int64_t i, const std::string& message) {
    const std::lock_guard lock(bad_mutex);
    bad.emplace(i, message);
    check_share();
  }

  void check_share() const {  // bad_mutex is held
    if (static_cast<double>(bad.size()) <= config.max_bad_share * static_cast<double>(data.size())) return;
    std::string list;
    for (const std::string& example : examples()) list += "\n  " + example;
    fail(data.path(), ": ", bad.size(), " of ", data.size(), " images are broken, more than data.max_bad_share ",
         config.max_bad_share, " allows:", list);
  }

  std::vector<std::string> examples() const {  // bad_mutex is held
    std::vector<std::string> list;
    for (const auto& [i, message] : bad)
      if (list.size() < kExamples) list.push_back(message);
    return list;
  }

  const Dataset& data;
  const DataConfig config;
  LoaderOptions options;
  const size_t row_bytes;
  std::unique_ptr<Cache> cache;

  std::mutex order_mutex;
  std::map<int64_t, std::shared_ptr<const std::vector<uint32_t>>> orders;
  std::mutex bad_mutex;
  std::map<int64_t, std::string> bad;  // by image, so that the list does not depend on which thread met it first

  std::mutex mutex;  // of what follows
  std::condition_variable space, filled;
  std::vector<Slot> slots;
  int64_t next_to_make = 0, next_to_take = 0;
  double waited = 0;
  bool stopping = false;
  std::vector<std::thread> threads;
};

BatchLoader::BatchLoader(const Dataset& dataset, const DataConfig& config, const LoaderOptions& options)
    : impl_(std::make_unique<Impl>(dataset, config, options)) {}
BatchLoader::~BatchLoader() = default;

Batch BatchLoader::next() {
  std::unique_lock lock(impl_->mutex);
  Impl::Slot& slot = impl_->slot(impl_->next_to_take);
  const auto start = std::chrono::steady_clock::now();
  impl_->filled.wait(lock, [&] { return slot.ready; });
  impl_->waited += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (slot.error) std::rethrow_exception(slot.error);  // the slot stays: a further call fails in the same way
  Batch batch = std::move(slot.batch);
  slot = {};
  ++impl_->next_to_take;
  lock.unlock();
  impl_->space.notify_one();
  return batch;
}

double BatchLoader::wait_seconds() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->waited;
}

int64_t BatchLoader::bad_images() const {
  const std::lock_guard lock(impl_->bad_mutex);
  return static_cast<int64_t>(impl_->bad.size());
}

std::vector<std::string> BatchLoader::bad_examples() const {
  const std::lock_guard lock(impl_->bad_mutex);
  return impl_->examples();
}

}  // namespace uvic
