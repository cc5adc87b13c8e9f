#pragma once

#include "kernels/ops/attention.h"

namespace uvic::cuda {

// Attention of f32 inputs, in f32 throughout: the reference mode, without matrix units. Contracts of ops/attention.h.
void plain_attention_forward(Context& ctx, const AttentionArgs& a, Tensor o, Tensor stat);
void plain_attention_backward(Context& ctx, const AttentionArgs& a, Tensor o, Tensor stat, Tensor grad_o, Tensor dqkv);

}  // namespace uvic::cuda
