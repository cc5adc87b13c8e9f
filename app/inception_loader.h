#pragma once

#include <cstdint>
#include <memory>

#include "app/image_source.h"
#include "app/inception_input.h"
#include "app/world.h"
#include "kernels/core/memory.h"

namespace uvic {

struct InceptionLoaderOptions {
  Protocol protocol = Protocol::tf1;
  bool unit = false;  // inception_input's
  int64_t count = 0;  // so many of the source's images, spread evenly over it
  int64_t batch = 32;
  int threads = 0;  // that decode and resize; 0: one per core
  Device memory{};  // that batches lie in, see host_memory_for()
  World world;      // batch k is for process k mod size
};

// Images of a source as Inception wants them, batch by batch in order, decoded and resized ahead on threads (in next()
// itself where the source is heavy). Memory is bounded by the threads' batches and two more.
class InceptionLoader {
 public:
  // source must outlive it. count is at most source.size().
  InceptionLoader(ImageSource& source, const InceptionLoaderOptions& options);
  ~InceptionLoader();

  struct Batch {
    int64_t first = 0;  // of count
    OwnedTensor x;      // [B, 3, 299, 299] f32
  };
  // Overwrites batch, or returns false behind the last one. Throws the Error of the first image that is broken.
  bool next(Batch& batch);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace uvic
