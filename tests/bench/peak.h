#pragma once

#include "kernels/core/context.h"

namespace uvic {

// What this machine gives at best, measured in the same run as what is compared with it (each on first use, some 0.1
// s), with the threads of ctx. A busy machine lowers both.

// Operations a second (a multiply-add is two) of a loop of multiply-adds on registers: AMX tiles for bf16 where ctx has
// them, else f32 vectors as wide as the instruction set's.
double peak_flops(const Context& ctx, DType dtype);

// Bytes a second, read and written, of the faster of two loops over a piece of memory of this size, each thread its own
// part: one reads, one writes back what it reads. The speed of the cache that holds it, or of memory.
double peak_bandwidth(const Context& ctx, size_t bytes);

}  // namespace uvic
