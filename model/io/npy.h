#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>

#include "kernels/core/memory.h"

namespace uvic {

// NumPy's .npy: magic, version, a Python dict of dtype, order and shape, then the elements. Everything is checked; what
// is wrong throws an Error that starts with name.

struct NpyHeader {
  Shape shape;
  char kind = 'f';       // b, i, u or f, as in dtype.kind
  size_t item_size = 4;  // bytes of an element in the file
  bool big_endian = false, fortran_order = false;

  // The narrowest of ours that holds every value: f2 is f16, b1 boolean, i1, i2 and u2 are i32, u4 and u8 are i64.
  DType dtype() const;
  uint64_t data_bytes() const { return static_cast<uint64_t>(shape.numel()) * item_size; }
};

// Reads versions 1 to 3 by calls of read(to, bytes), which throws where the file ends, and leaves it at the elements.
// Arrays of objects, of text, of records and of complex numbers are refused.
NpyHeader read_npy_header(const std::function<void(void* to, size_t bytes)>& read, const std::string& name);

// The elements of a whole array, as they lie in the file, in row-major order and header.dtype(). Throws if there are
// more or fewer than the header says, or an integer does not fit.
OwnedTensor npy_elements(const NpyHeader& header, std::span<const std::byte> data, const std::string& name);

// Both: a file's bytes.
OwnedTensor read_npy(std::span<const std::byte> bytes, const std::string& name);

}  // namespace uvic
