#include "kernels/core/arena.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace uvic {
namespace {

constexpr size_t kAlign = 64;
constexpr size_t kFirstBlock = size_t{1} << 20;
#ifdef NDEBUG
constexpr size_t kGuard = 0;
#else
constexpr size_t kGuard = kAlign;
#endif
constexpr unsigned char kPattern = 0xA5;

size_t round_up(size_t n) { return (n + kAlign - 1) / kAlign * kAlign; }

// More than is needed, so that blocks stay few; just that where the device has no more.
Buffer new_block(Device device, size_t need, size_t generous) {
  try {
    return Buffer(device, generous);
  } catch (const Error&) {
    if (generous == need) throw;
    return Buffer(device, need);
  }
}

bool before(Arena::Mark a, Arena::Mark b) { return a.block != b.block ? a.block < b.block : a.used < b.used; }

}  // namespace

void* Arena::allocate(size_t bytes) {
  const size_t need = round_up(std::max<size_t>(bytes, 1)) + kGuard;
  if (blocks_.empty() || here_.used + need > blocks_[here_.block].size()) {
    // Blocks behind the current one are unused: a rewind may have left some, too small or not.
    const size_t next = blocks_.empty() ? 0 : here_.block + 1;
    if (next < blocks_.size() && need > blocks_[next].size()) blocks_.resize(next);
    if (next >= blocks_.size()) {
      blocks_.push_back(new_block(device_, need, std::max({need, kFirstBlock, capacity() / 2})));
      ++growths_;
    }
    full_.resize(next);
    if (next > 0) full_[next - 1] = here_.used;
    here_ = {next, 0};
  }
  unsigned char* data = static_cast<unsigned char*>(blocks_[here_.block].data()) + here_.used;
  if (kGuard && device_.kind == DeviceKind::cpu) {
    guards_.push_back({here_, data + need - kGuard});
    std::memset(data + need - kGuard, kPattern, kGuard);
  }
  here_.used += need;
  peak_ = std::max(peak_, in_use());
  return data;
}

Tensor Arena::tensor(DType dtype, Shape shape) {
  return {allocate(static_cast<size_t>(shape.numel()) * size_of(dtype)), dtype, shape};
}

void Arena::rewind(Mark mark) {
  check_guards(mark);
  here_ = mark;
  full_.resize(std::min(full_.size(), here_.block));
}

void Arena::reset() {
  rewind({});
  // Blocks leave up to one allocation unused at their ends, so the merged size is their sum, not the peak.
  if (blocks_.size() > 1) reserve(capacity());
}

void Arena::reserve(size_t bytes) {
  UVIC_CHECK(in_use() == 0, "Arena::reserve while ", in_use(), " bytes are in use");
  if (capacity() >= bytes && blocks_.size() <= 1) return;
  blocks_.clear();
  blocks_.emplace_back(device_, bytes);
  here_ = {};
}

size_t Arena::capacity() const {
  size_t n = 0;
  for (const Buffer& b : blocks_) n += b.size();
  return n;
}

size_t Arena::in_use() const {
  size_t n = here_.used;
  for (const size_t used : full_) n += used;
  return n;
}

void Arena::check_guards(Mark from) {
  while (!guards_.empty() && !before(guards_.back().at, from)) {
    const unsigned char* g = guards_.back().bytes;
    const bool intact = std::all_of(g, g + kGuard, [](unsigned char c) { return c == kPattern; });
    guards_.pop_back();
    if (!intact) {  // our own bug, found in a destructor: there is nothing to unwind to
      std::fputs("uvic: arena: an op wrote past the end of its memory\n", stderr);
      std::abort();
    }
  }
}

}  // namespace uvic
