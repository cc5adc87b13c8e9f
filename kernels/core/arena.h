#pragma once

#include <cstddef>
#include <vector>

#include "kernels/core/memory.h"

namespace uvic {

// Memory of one step, handed out in stack order and taken back by rewinding to a mark. During the first step it grows
// block by block; reset() then replaces the blocks by one that holds the peak, so that later steps allocate nothing and
// see the same addresses. In debug builds every allocation is followed by guard bytes, checked on rewind.
class Arena {
 public:
  struct Mark {
    size_t block = 0;
    size_t used = 0;
    bool operator==(const Mark&) const = default;
  };

  explicit Arena(Device device) : device_(device) {}

  // Aligned to 64 bytes. Contents are undefined. Throws Error if the device has no more memory.
  void* allocate(size_t bytes);
  Tensor tensor(DType dtype, Shape shape);

  Mark mark() const { return here_; }
  void rewind(Mark mark);  // everything handed out since mark is gone
  void reset();            // rewind to the start, and merge the blocks into one

  size_t peak() const { return peak_; }     // bytes, the largest amount ever in use
  size_t capacity() const;                  // bytes held
  int growths() const { return growths_; }  // blocks ever added: constant after the first step
  void reserve(size_t bytes);               // only when nothing is in use

 private:
  size_t in_use() const;
  void check_guards(Mark from);

  Device device_;
  std::vector<Buffer> blocks_;
  std::vector<size_t> full_;  // bytes used in each block before the current one
  Mark here_;
  size_t peak_ = 0;
  int growths_ = 0;
  struct Guard {
    Mark at;
    unsigned char* bytes;
  };
  std::vector<Guard> guards_;  // debug builds, host memory only
};

}  // namespace uvic
