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
  char kind = 'f';       // b, i, u, f or O, as in dtype.kind
  size_t item_size = 4;  // bytes of an element in the file
  bool big_endian = false, fortran_order = false;

  // The narrowest of ours that holds every value: f2 is f16, b1 boolean, i1, i2 and u2 are i32, u4 and u8 are i64.
  DType dtype() const;
  uint64_t data_bytes() const { return static_cast<uint64_t>(shape.numel()) * item_size; }
};

// Reads versions 1 to 3 by calls of read(to, bytes), which throws where the file ends, and leaves it at the elements.
// Arrays of text, of records and of complex numbers are refused, and those of objects unless they are wanted: their
// kind is O.
NpyHeader read_npy_header(const std::function<void(void* to, size_t bytes)>& read, const std::string& name,
                          bool objects = false);
// The same from the front of bytes, which are left at the elements.
NpyHeader take_npy_header(std::span<const std::byte>& bytes, const std::string& name, bool objects = false);

// The elements of a whole array, as they lie in the file, in row-major order and header.dtype(). Throws if there are
// more or fewer than the header says, or an integer does not fit.
OwnedTensor npy_elements(const NpyHeader& header, std::span<const std::byte> data, const std::string& name);

// Both: a file's bytes.
OwnedTensor read_npy(std::span<const std::byte> bytes, const std::string& name);

// Sets the header's kind, item_size and big_endian from a dtype as NumPy writes it ("<f4"); false: none that is read.
bool set_dtype(NpyHeader& header, const std::string& descr);

}  // namespace uvic
