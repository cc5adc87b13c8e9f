#pragma once

#include <cstdint>

#include "kernels/core/tensor.h"

namespace uvic {

enum class Role : uint8_t;

// Elements: 64 bytes in bf16, so that every parameter, and every part, starts on a cache line.
constexpr int64_t kFlatAlign = 32;

// Elements [begin, end) of a flat role.
struct FlatPart {
  int64_t begin = 0, end = 0;

  int64_t count() const { return end - begin; }
  FlatPart overlap(FlatPart other) const;  // where there is none: of no elements
};
// Part index of count equal ones, multiples of kFlatAlign, that together cover size elements; the last ones may reach
// beyond it, or begin there.
FlatPart part_of(int64_t size, int index, int count);

// The processes that divide a ParamStore's state, a part each, as the store sees them. Either all of them make the same
// calls in the same order, or the first alone does, while the others answer.
class StoreParts {
 public:
  virtual ~StoreParts() = default;
  virtual int index() const = 0;  // of this process's part
  virtual int count() const = 0;

  // weights: flat, count() equal parts: each becomes everywhere what it is in its process, in the order of the
  // Context's work. role: whose they are.
  virtual void gather(Tensor weights, Role role) = 0;
  // values, flat f32 on the host: role's elements from begin on. fetch, in the first process alone, overwrites those
  // that the others keep with what they are there; send makes the others' be what they are in values, and does nothing
  // where all processes call it: they have them.
  virtual void fetch(Role role, int64_t begin, Tensor values) = 0;
  virtual void send(Role role, int64_t begin, Tensor values) = 0;
};

}  // namespace uvic
