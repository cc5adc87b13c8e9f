#pragma once

#include "kernels/core/context.h"

namespace uvic {

// dst = src, element by element. src: any dtype of a file, at any alignment. dst: f32, bf16, f16, f64, i64 or i32, with
// the same number of elements (the shapes may differ) and its own memory. Host only. Floats are rounded to nearest even
// (f64 and i64 reach bf16 and f16 through float); a float that is no whole number or out of range for an integer dst
// throws.
void convert(Tensor src, Tensor dst);
// The same for a dst on ctx's device.
void convert(Context& ctx, Tensor src, Tensor dst);

// Exact value of an IEEE half, given its bits.
float half_to_float(uint16_t bits);
// Rounded to nearest even; what is too large becomes infinite.
uint16_t float_to_half(float x);

}  // namespace uvic
