// BatchLoader: threads take step numbers in turn and each builds whole batches, so that rows need no hand-over; a ring
// of kAhead + workers slots keeps them in order and bounds the memory.

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>

#include "app/data/latent_rows.h"
#include "app/data/row_maker.h"
#include "app/dataset.h"
#include "kernels/core/error.h"

namespace uvic {
namespace {

constexpr int64_t kAhead = 2;  // finished batches beside those being made

int worker_count(const DataConfig& config) {
  const int processors = static_cast<int>(std::thread::hardware_concurrency());
  return config.workers > 0 ? config.workers : std::clamp(processors / 2, 1, 8);
}

// of: so many images at path.
LoaderOptions checked(int64_t of, const std::string& path, LoaderOptions o) {
  UVIC_CHECK(o.batch_size > 0 && o.start_step >= 0, "BatchLoader: batch_size ", o.batch_size, ", start_step ",
             o.start_step);
  if (o.rows.count() == 0) o.rows = {0, o.batch_size};
  UVIC_CHECK(o.rows.begin >= 0 && o.rows.begin < o.rows.end && o.rows.end <= o.batch_size, "BatchLoader: rows [",
             o.rows.begin, ", ", o.rows.end, ") of a batch of ", o.batch_size);
  UVIC_CHECK(of >= o.batch_size, path, ": ", of, " images are fewer than train.batch_size ", o.batch_size);
  return o;
}

// How far apart samples that are being made can lie.
int64_t in_flight(const DataConfig& config, const LoaderOptions& o) {
  return (kAhead + worker_count(config)) * o.batch_size;
}

}  // namespace

struct BatchLoader::Impl {
  Impl(std::unique_ptr<RowSource> source, const DataConfig& config, const LoaderOptions& o)
      : options(o), slots(static_cast<size_t>(kAhead + worker_count(config))), rows(std::move(source)) {
    next_to_make = next_to_take = o.start_step;
    for (int i = 0; i < worker_count(config); ++i) threads.emplace_back([this] { work(); });
  }
  ~Impl() {
    {
      const std::lock_guard lock(mutex);
      stopping = true;
    }
    rows->stop();
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
    Batch batch = rows->empty_batch(options.rows.count());
    batch.first_sample = step * options.batch_size + options.sample_shift + options.rows.begin;
    for (int64_t row = 0; row < options.rows.count(); ++row)
      batch.labels.push_back(rows->make(batch.first_sample + row, batch, row));
    return batch;
  }

  const LoaderOptions options;
  std::mutex mutex;  // of what follows but rows
  std::condition_variable space, filled;
  std::vector<Slot> slots;
  int64_t next_to_make = 0, next_to_take = 0;
  double waited = 0;
  bool stopping = false;
  const std::unique_ptr<RowSource> rows;
  std::vector<std::thread> threads;
};

BatchLoader::BatchLoader(const Dataset& dataset, const DataConfig& config, const LoaderOptions& options) {
  UVIC_CHECK(options.image_size > 0, "BatchLoader: image_size ", options.image_size);
  const LoaderOptions o = checked(dataset.size(), dataset.path(), options);
  impl_ = std::make_unique<Impl>(std::make_unique<RowMaker>(dataset, config, o, in_flight(config, o)), config, o);
}
BatchLoader::BatchLoader(const LatentSource& latents, const DataConfig& config, const LoaderOptions& options) {
  const LoaderOptions o = checked(LatentRows::samples(latents, config), latents.info().path, options);
  impl_ = std::make_unique<Impl>(std::make_unique<LatentRows>(latents, config, o, in_flight(config, o)), config, o);
}
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

int64_t BatchLoader::bad_images() const { return impl_->rows->bad().count(); }
std::vector<std::string> BatchLoader::bad_examples() const { return impl_->rows->bad().examples(); }

}  // namespace uvic
