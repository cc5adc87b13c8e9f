#include "model/io/npy.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <limits>

#include "kernels/core/text.h"

namespace uvic {
namespace {

// The header's dict: a Python literal of which NumPy writes one form only.
class DictReader {
 public:
  DictReader(std::string text, const std::string& name, bool objects)
      : text_(std::move(text)), name_(name), objects_(objects) {}

  NpyHeader read() {
    NpyHeader h;
    bool descr = false, order = false, shape = false;
    expect('{');
    while (!accept('}')) {
      const std::string key = string();
      expect(':');
      if (key == "descr" && !std::exchange(descr, true)) {
        read_descr(h);
      } else if (key == "fortran_order" && !std::exchange(order, true)) {
        h.fortran_order = boolean();
      } else if (key == "shape" && !std::exchange(shape, true)) {
        read_shape(h);
      } else {
        fail(name_, ": the array's header has the key ", quote(key), " twice, or it is unknown");
      }
      if (accept('}')) break;
      expect(',');
    }
    UVIC_CHECK(descr && order && shape, name_, ": the array's header lacks descr, fortran_order or shape");
    skip_space();
    UVIC_CHECK(at_ == text_.size(), name_, ": something follows the dict of the array's header");
    return h;
  }

 private:
  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }
  bool accept(char c) {
    skip_space();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) { UVIC_CHECK(accept(c), name_, ": damaged array header: ", quote(text_)); }
  std::string string() {
    expect('\'');
    const size_t end = text_.find('\'', at_);
    UVIC_CHECK(end != std::string::npos, name_, ": damaged array header: ", quote(text_));
    const std::string s = text_.substr(at_, end - at_);
    at_ = end + 1;
    return s;
  }
  bool boolean() {
    skip_space();
    for (const bool value : {true, false})
      if (const char* word = value ? "True" : "False"; text_.compare(at_, std::strlen(word), word) == 0) {
        at_ += std::strlen(word);
        return value;
      }
    fail(name_, ": damaged array header: ", quote(text_));
  }
  void read_descr(NpyHeader& h) {
    skip_space();
    UVIC_CHECK(at_ < text_.size() && text_[at_] != '[', name_, ": an array of records cannot be read");
    const std::string descr = string();
    if (objects_ && descr == "|O") {
      h.kind = 'O';
      return;
    }
    UVIC_CHECK(set_dtype(h, descr), name_, ": an array of dtype ", quote(descr), " cannot be read; numbers can");
  }
  void read_shape(NpyHeader& h) {
    expect('(');
    uint64_t numel = 1;
    while (!accept(')')) {
      skip_space();
      int64_t dim = -1;
      const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), dim);
      UVIC_CHECK(error == std::errc{} && dim >= 0, name_, ": damaged array header: ", quote(text_));
      at_ = static_cast<size_t>(end - text_.data());
      UVIC_CHECK(h.shape.rank() < Shape::kMaxRank, name_, ": an array of more than ", Shape::kMaxRank, " dimensions");
      constexpr uint64_t kMost = uint64_t{1} << 56;
      UVIC_CHECK(dim == 0 || numel <= kMost / static_cast<uint64_t>(dim), name_, ": the array's shape overflows");
      if (dim > 0) numel *= static_cast<uint64_t>(dim);
      h.shape.push_back(dim);
      if (!accept(',')) {
        expect(')');
        break;
      }
    }
  }

  std::string text_;
  const std::string& name_;
  const bool objects_;
  size_t at_ = 0;
};

// out[i] = the i-th element of type From, widened.
template <class From, class To>
void widen(const std::byte* data, int64_t n, Tensor out, const std::string& name) {
  To* to = static_cast<To*>(out.raw());
  for (int64_t i = 0; i < n; ++i, data += sizeof(From)) {
    From value;
    std::memcpy(&value, data, sizeof value);
    if constexpr (std::is_same_v<From, uint64_t>)
      UVIC_CHECK(value <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max()), name, ": element ", i, " is ",
                 value, ", too large for i64");
    to[i] = static_cast<To>(value);
  }
}

void widen(const NpyHeader& h, const std::byte* data, Tensor out, const std::string& name) {
  const int64_t n = h.shape.numel();
  const bool is_signed = h.kind == 'i';
  if (h.kind == 'f') {
    std::memcpy(out.raw(), data, out.bytes());
  } else if (h.item_size == 1 && is_signed) {
    widen<int8_t, int32_t>(data, n, out, name);
  } else if (h.item_size == 2 && is_signed) {
    widen<int16_t, int32_t>(data, n, out, name);
  } else if (h.item_size == 2) {
    widen<uint16_t, int32_t>(data, n, out, name);
  } else if (h.item_size == 4 && !is_signed) {
    widen<uint32_t, int64_t>(data, n, out, name);
  } else if (h.item_size == 8 && !is_signed) {
    widen<uint64_t, int64_t>(data, n, out, name);
  } else {
    std::memcpy(out.raw(), data, out.bytes());
  }
}

// The element of a row-major array that lies at position i of a column-major one, for all i in turn.
void reorder(Tensor from, Tensor to) {
  const size_t item = size_of(from.dtype());
  const Shape& shape = from.shape();
  std::vector<int64_t> index(static_cast<size_t>(shape.rank()));
  const auto* source = static_cast<const std::byte*>(from.raw());
  for (int64_t i = 0; i < from.numel(); ++i, source += item) {
    int64_t target = 0;
    for (int axis = 0; axis < shape.rank(); ++axis) target = target * shape[axis] + index[static_cast<size_t>(axis)];
    std::memcpy(static_cast<std::byte*>(to.raw()) + static_cast<size_t>(target) * item, source, item);
    for (int axis = 0; axis < shape.rank() && ++index[static_cast<size_t>(axis)] == shape[axis]; ++axis)
      index[static_cast<size_t>(axis)] = 0;
  }
}

}  // namespace

DType NpyHeader::dtype() const {
  if (kind == 'f') return item_size == 2 ? DType::f16 : item_size == 4 ? DType::f32 : DType::f64;
  if (kind == 'b') return DType::boolean;
  if (kind == 'u' && item_size == 1) return DType::u8;
  return item_size == 8 || (item_size == 4 && kind == 'u') ? DType::i64 : DType::i32;
}

bool set_dtype(NpyHeader& h, const std::string& descr) {
  constexpr const char* kKnown[] = {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"};
  const std::string type = descr.empty() ? "" : descr.substr(1);
  if (std::find(std::begin(kKnown), std::end(kKnown), type) == std::end(kKnown) || !std::strchr("<>|=", descr[0]))
    return false;
  h.kind = type[0];
  h.item_size = static_cast<size_t>(type[1] - '0');
  h.big_endian = descr[0] == '>';
  return true;
}

NpyHeader read_npy_header(const std::function<void(void* to, size_t bytes)>& read, const std::string& name,
                          bool objects) {
  unsigned char start[8], length[4] = {};
  read(start, sizeof start);
  UVIC_CHECK(std::memcmp(start, "\x93NUMPY", 6) == 0, name, ": not a NumPy array");
  UVIC_CHECK(start[6] >= 1 && start[6] <= 3, name, ": NumPy array format ", int{start[6]}, "; known are 1, 2 and 3");
  read(length, start[6] == 1 ? 2 : 4);
  const size_t bytes = length[0] | size_t{length[1]} << 8 | size_t{length[2]} << 16 | size_t{length[3]} << 24;
  UVIC_CHECK(bytes <= 64 << 10, name, ": an array header of ", bytes, " bytes");
  std::string text(bytes, '\0');
  read(text.data(), bytes);
  return DictReader(std::move(text), name, objects).read();
}

OwnedTensor npy_elements(const NpyHeader& header, std::span<const std::byte> data, const std::string& name) {
  UVIC_CHECK(data.size() == header.data_bytes(), name, ": its header says ", header.shape.numel(), " elements of ",
             header.item_size, " bytes, it holds ", data.size(), " bytes");
  std::vector<std::byte> swapped;
  if (header.big_endian != (std::endian::native == std::endian::big) && header.item_size > 1) {
    swapped.assign(data.begin(), data.end());
    for (size_t i = 0; i < swapped.size(); i += header.item_size)
      std::reverse(swapped.begin() + static_cast<std::ptrdiff_t>(i),
                   swapped.begin() + static_cast<std::ptrdiff_t>(i + header.item_size));
    data = swapped;
  }
  OwnedTensor out({}, header.dtype(), header.shape);
  widen(header, data.data(), out.tensor, name);
  if (!header.fortran_order || header.shape.rank() < 2) return out;
  OwnedTensor rows({}, header.dtype(), header.shape);
  reorder(out.tensor, rows.tensor);
  return rows;
}

NpyHeader take_npy_header(std::span<const std::byte>& bytes, const std::string& name, bool objects) {
  const auto read = [&](void* to, size_t n) {
    UVIC_CHECK(n <= bytes.size(), name, ": truncated NumPy array");
    std::memcpy(to, bytes.data(), n);
    bytes = bytes.subspan(n);
  };
  return read_npy_header(read, name, objects);
}

OwnedTensor read_npy(std::span<const std::byte> bytes, const std::string& name) {
  const NpyHeader header = take_npy_header(bytes, name);
  return npy_elements(header, bytes, name);
}

}  // namespace uvic
