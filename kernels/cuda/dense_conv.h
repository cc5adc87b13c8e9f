#pragma once

#include "kernels/core/context.h"

namespace uvic::cuda {

// A convolution as libraries know it: of whole tensors, with no padding.
struct DenseConv {
  Tensor x;        // [B, H, W, C]
  Tensor filters;  // [M, kh, kw, C]; dtype of x, f32 or bf16. C and M are multiples of 16
  int64_t stride = 1;

  Shape y() const {  // [B, h, w, M]
    const auto steps = [this](int dim) { return (x.dim(dim) - filters.dim(dim)) / stride + 1; };
    return {x.dim(0), steps(1), steps(2), filters.dim(0)};
  }
};

// The result, from ctx.arena(): f32 or, where x is bf16 and cuDNN does it, bf16. Sums in f32 (no TF32); the same bits
// on every run.
Tensor dense_conv(Context& ctx, const DenseConv& c);

// The same by cuDNN, in x's dtype. Empty if it has no deterministic way for these sizes, or was left out of the build.
Tensor cudnn_conv(Context& ctx, const DenseConv& c);

}  // namespace uvic::cuda
