#include "app/inception_loader.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "kernels/core/error.h"

namespace uvic {
namespace {

constexpr size_t kAhead = 2;  // finished batches beside those being made
constexpr int64_t kSide = 299;

}  // namespace

// Each thread takes the next batch's images from the source under the lock, and decodes and resizes them outside of it.
struct InceptionLoader::Impl {
  Impl(ImageSource& s, const InceptionLoaderOptions& o) : source(s), options(o) {
    UVIC_CHECK(o.count > 0 && o.count <= s.size() && o.batch > 0, "InceptionLoader: ", o.count, " of ", s.size(),
               " images in batches of ", o.batch);
    next_to_make = next_to_take = o.world.rank;
    if (s.heavy()) return;
    const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
    for (int i = 0; i < (o.threads > 0 ? o.threads : cores); ++i) threads.emplace_back([this] { work(); });
  }
  ~Impl() {
    {
      const std::lock_guard lock(mutex);
      stopping = true;
    }
    space.notify_all();
    for (std::thread& thread : threads) thread.join();
  }

  struct Made {
    Batch batch;
    std::exception_ptr error;
  };

  bool is_last(int64_t k) const { return k * options.batch >= options.count; }

  // Images of batch k, still as work to be done. In order: mutex is held, or there are no threads.
  std::vector<std::function<Image()>> fetch(int64_t k) {
    std::vector<std::function<Image()>> images;
    const int64_t end = std::min(options.count, (k + 1) * options.batch);
    for (int64_t i = k * options.batch; i < end; ++i)
      images.push_back(source.fetch(static_cast<int64_t>(static_cast<__int128>(i) * source.size() / options.count)));
    return images;
  }
  Batch make(int64_t k, const std::vector<std::function<Image()>>& images) const {
    const auto n = static_cast<int64_t>(images.size());
    Batch batch{k * options.batch, OwnedTensor(options.memory, DType::f32, {n, 3, kSide, kSide})};
    for (int64_t i = 0; i < n; ++i)
      inception_input(images[static_cast<size_t>(i)](), options.protocol, options.unit,
                      batch.x.tensor.rows(i, i + 1).view({3, kSide, kSide}));
    return batch;
  }

  void work() {
    std::unique_lock lock(mutex);
    for (;;) {
      space.wait(lock, [&] { return stopping || is_last(next_to_make) || taken.size() < threads.size() + kAhead; });
      if (stopping || is_last(next_to_make)) return;
      const int64_t k = next_to_make;
      next_to_make += options.world.size;
      Made& made = taken[k];  // a map's elements stay where they are
      try {
        const auto images = fetch(k);
        lock.unlock();
        made.batch = make(k, images);
      } catch (...) {
        made.error = std::current_exception();
      }
      if (!lock.owns_lock()) lock.lock();
      done[k] = true;
      filled.notify_all();
    }
  }

  ImageSource& source;
  const InceptionLoaderOptions options;
  std::mutex mutex;  // of what follows
  std::condition_variable space, filled;
  std::map<int64_t, Made> taken;  // batches that are made or being made, by number
  std::map<int64_t, bool> done;
  int64_t next_to_make = 0, next_to_take = 0;
  bool stopping = false;
  std::vector<std::thread> threads;
};

InceptionLoader::InceptionLoader(ImageSource& source, const InceptionLoaderOptions& options)
    : impl_(std::make_unique<Impl>(source, options)) {}
InceptionLoader::~InceptionLoader() = default;

bool InceptionLoader::next(Batch& batch) {
  const int64_t k = impl_->next_to_take;
  if (impl_->is_last(k)) return false;
  impl_->next_to_take += impl_->options.world.size;
  if (impl_->threads.empty()) {
    batch = impl_->make(k, impl_->fetch(k));
    return true;
  }
  std::unique_lock lock(impl_->mutex);
  impl_->filled.wait(lock, [&] { return impl_->done.contains(k); });
  Impl::Made made = std::move(impl_->taken.at(k));
  impl_->taken.erase(k);
  impl_->done.erase(k);
  lock.unlock();
  impl_->space.notify_all();
  if (made.error) std::rethrow_exception(made.error);
  batch = std::move(made.batch);
  return true;
}

}  // namespace uvic
