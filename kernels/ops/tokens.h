#pragma once

#include "kernels/core/context.h"

namespace uvic {

// Images are [B, C, h, w] f32; tokens are [B, L, d] f32 or bf16. p is the patch's side; n = (h/p)(w/p) patches in
// row-major order.

// Overwrites patches [B, n, C*p*p], channel slowest inside a patch: the order of a convolution's weight [d, C, p, p].
void patchify(Context& ctx, Tensor image, int patch, Tensor patches);
// The transpose: overwrites dimage [B, C, h, w] f32.
void patchify_backward(Context& ctx, Tensor dpatches, int patch, Tensor dimage);

// Overwrites image [B, C, h, w] (f32 or bf16) from tokens [B, L, p*p*C], channel FASTEST inside a patch (the released
// order differs from patchify's). The first L - n tokens (time, label, context) are dropped.
void unpatchify(Context& ctx, Tensor tokens, int patch, Tensor image);
// Overwrites dtokens [B, L, p*p*C], zero for the dropped tokens.
void unpatchify_backward(Context& ctx, Tensor dimage, int patch, Tensor dtokens);

// Overwrites out [B, d]: [cos, sin] of t exp(-ln(10000) i / (d/2)), i < d/2, one zero appended when d is odd; computed
// in f32 as the released code does. t [B] f32.
void timestep_embedding(Context& ctx, Tensor t, Tensor out);

// Overwrites out [B, d] with rows of table [K, d], index [B] i32. An index out of range is an Error; on a GPU, whose
// numbers the host does not wait for here, it gives a row of NaN, and nothing in backward.
void embedding_forward(Context& ctx, Tensor table, Tensor index, Tensor out);
// Adds dout [B, d] to the rows of dtable [K, d] f32; repeated indices add up.
void embedding_backward(Context& ctx, Tensor index, Tensor dout, Tensor dtable);

// x[:, first : first + n] = src + pos[first : first + n]: src [B, n, d], pos [L, d], x [B, L, d]. Overwrites that part.
void place_tokens(Context& ctx, Tensor src, Tensor pos, int64_t first, Tensor x);
// Overwrites dsrc [B, n, d] with dx[:, first : first + n]. (dpos is position_backward's.)
void take_tokens(Context& ctx, Tensor dx, int64_t first, Tensor dsrc);
// dpos [L, d] f32 += sum over B of dx [B, L, d].
void position_backward(Context& ctx, Tensor dx, Tensor dpos);

}  // namespace uvic
