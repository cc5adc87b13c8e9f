#include "kernels/ops/tokens.h"

#include "kernels/ops/check.h"

namespace uvic {
namespace cpu {
void patchify(Context& ctx, Tensor image, int patch, Tensor patches);
void patchify_backward(Context& ctx, Tensor dpatches, int patch, Tensor dimage);
void unpatchify(Context& ctx, Tensor tokens, int patch, Tensor image);
void unpatchify_backward(Context& ctx, Tensor dimage, int patch, Tensor dtokens);
void timestep_embedding(Context& ctx, Tensor t, Tensor out);
void embedding_forward(Context& ctx, Tensor table, Tensor index, Tensor out);
void embedding_backward(Context& ctx, Tensor index, Tensor dout, Tensor dtable);
void place_tokens(Context& ctx, Tensor src, Tensor pos, int64_t first, Tensor x);
void take_tokens(Context& ctx, Tensor dx, int64_t first, Tensor dsrc);
void position_backward(Context& ctx, Tensor dx, Tensor dpos);
}  // namespace cpu
namespace cuda {
void patchify(Context& ctx, Tensor image, int patch, Tensor patches);
void patchify_backward(Context& ctx, Tensor dpatches, int patch, Tensor dimage);
void unpatchify(Context& ctx, Tensor tokens, int patch, Tensor image);
void unpatchify_backward(Context& ctx, Tensor dimage, int patch, Tensor dtokens);
void timestep_embedding(Context& ctx, Tensor t, Tensor out);
void embedding_forward(Context& ctx, Tensor table, Tensor index, Tensor out);
void embedding_backward(Context& ctx, Tensor index, Tensor dout, Tensor dtable);
void place_tokens(Context& ctx, Tensor src, Tensor pos, int64_t first, Tensor x);
void take_tokens(Context& ctx, Tensor dx, int64_t first, Tensor dsrc);
void position_backward(Context& ctx, Tensor dx, Tensor dpos);
}  // namespace cuda

namespace {

constexpr std::initializer_list<DType> kWorking = {DType::f32, DType::bf16};

// image [B, C, h, w] must divide into patches. Returns their number.
int64_t patches_of(const char* op, const char* name, const Tensor& image, int patch) {
  check_rank(op, name, image, 4);
  check_dtype(op, name, image, kWorking);
  UVIC_CHECK(patch > 0 && image.dim(2) % patch == 0 && image.dim(3) % patch == 0, op, ": ", name, " ", image.shape(),
             " does not divide into patches of ", patch);
  return (image.dim(2) / patch) * (image.dim(3) / patch);
}

void check_patchify(const char* op, const char* image_name, const Tensor& image, int patch, const char* patches_name,
                    const Tensor& patches) {
  const int64_t n = patches_of(op, image_name, image, patch);
  check_dtype(op, image_name, image, {DType::f32});
  check_dtype(op, patches_name, patches, kWorking);
  check(op, patches_name, patches, patches.dtype(), {image.dim(0), n, image.dim(1) * patch * patch});
}

void check_unpatchify(const char* op, const char* image_name, const Tensor& image, int patch, const char* tokens_name,
                      const Tensor& tokens) {
  const int64_t n = patches_of(op, image_name, image, patch);
  check_rank(op, tokens_name, tokens, 3);
  check_dtype(op, tokens_name, tokens, kWorking);
  UVIC_CHECK(tokens.dim(1) >= n, op, ": ", tokens_name, " ", tokens.shape(), " has fewer tokens than ", image_name, " ",
             image.shape(), " has patches, ", n);
  check(op, tokens_name, tokens, tokens.dtype(), {image.dim(0), tokens.dim(1), image.dim(1) * patch * patch});
}

// src [B, n, d] is a part of x [B, L, d].
void check_part(const char* op, const char* src_name, const Tensor& src, int64_t first, const char* x_name,
                const Tensor& x) {
  check_rank(op, x_name, x, 3);
  check_rank(op, src_name, src, 3);
  check_dtype(op, x_name, x, kWorking);
  check(op, src_name, src, x.dtype(), {x.dim(0), src.dim(1), x.dim(2)});
  UVIC_CHECK(first >= 0 && first + src.dim(1) <= x.dim(1), op, ": tokens [", first, ", ", first + src.dim(1),
             ") lie outside ", x_name, " ", x.shape());
}

}  // namespace

void patchify(Context& ctx, Tensor image, int patch, Tensor patches) {
  check_patchify("patchify", "image", image, patch, "patches", patches);
  on_cpu(ctx) ? cpu::patchify(ctx, image, patch, patches) : cuda::patchify(ctx, image, patch, patches);
}

void patchify_backward(Context& ctx, Tensor dpatches, int patch, Tensor dimage) {
  check_patchify("patchify_backward", "dimage", dimage, patch, "dpatches", dpatches);
  on_cpu(ctx) ? cpu::patchify_backward(ctx, dpatches, patch, dimage)
              : cuda::patchify_backward(ctx, dpatches, patch, dimage);
}

void unpatchify(Context& ctx, Tensor tokens, int patch, Tensor image) {
  check_unpatchify("unpatchify", "image", image, patch, "tokens", tokens);
  on_cpu(ctx) ? cpu::unpatchify(ctx, tokens, patch, image) : cuda::unpatchify(ctx, tokens, patch, image);
}

void unpatchify_backward(Context& ctx, Tensor dimage, int patch, Tensor dtokens) {
  check_unpatchify("unpatchify_backward", "dimage", dimage, patch, "dtokens", dtokens);
  on_cpu(ctx) ? cpu::unpatchify_backward(ctx, dimage, patch, dtokens)
              : cuda::unpatchify_backward(ctx, dimage, patch, dtokens);
}

void timestep_embedding(Context& ctx, Tensor t, Tensor out) {
  constexpr const char* op = "timestep_embedding";
  check_rank(op, "t", t, 1);
  check_rank(op, "out", out, 2);
  check(op, "t", t, DType::f32, {out.dim(0)});
  check_dtype(op, "out", out, kWorking);
  UVIC_CHECK(out.dim(1) >= 2, op, ": out is ", out.shape(), ", wanted a width of 2 or more");
  on_cpu(ctx) ? cpu::timestep_embedding(ctx, t, out) : cuda::timestep_embedding(ctx, t, out);
}

void embedding_forward(Context& ctx, Tensor table, Tensor index, Tensor out) {
  constexpr const char* op = "embedding_forward";
  check_rank(op, "table", table, 2);
  check_rank(op, "index", index, 1);
  check_dtype(op, "table", table, kWorking);
  check_dtype(op, "index", index, {DType::i32});
  check(op, "out", out, table.dtype(), {index.dim(0), table.dim(1)});
  on_cpu(ctx) ? cpu::embedding_forward(ctx, table, index, out) : cuda::embedding_forward(ctx, table, index, out);
}

void embedding_backward(Context& ctx, Tensor index, Tensor dout, Tensor dtable) {
  constexpr const char* op = "embedding_backward";
  check_rank(op, "index", index, 1);
  check_rank(op, "dtable", dtable, 2);
  check_dtype(op, "index", index, {DType::i32});
  check_dtype(op, "dtable", dtable, {DType::f32});
  check_dtype(op, "dout", dout, kWorking);
  check(op, "dout", dout, dout.dtype(), {index.dim(0), dtable.dim(1)});
  on_cpu(ctx) ? cpu::embedding_backward(ctx, index, dout, dtable) : cuda::embedding_backward(ctx, index, dout, dtable);
}

void place_tokens(Context& ctx, Tensor src, Tensor pos, int64_t first, Tensor x) {
  constexpr const char* op = "place_tokens";
  check_part(op, "src", src, first, "x", x);
  check(op, "pos", pos, x.dtype(), {x.dim(1), x.dim(2)});
  on_cpu(ctx) ? cpu::place_tokens(ctx, src, pos, first, x) : cuda::place_tokens(ctx, src, pos, first, x);
}

void take_tokens(Context& ctx, Tensor dx, int64_t first, Tensor dsrc) {
  check_part("take_tokens", "dsrc", dsrc, first, "dx", dx);
  on_cpu(ctx) ? cpu::take_tokens(ctx, dx, first, dsrc) : cuda::take_tokens(ctx, dx, first, dsrc);
}

void position_backward(Context& ctx, Tensor dx, Tensor dpos) {
  constexpr const char* op = "position_backward";
  check_rank(op, "dx", dx, 3);
  check_dtype(op, "dx", dx, kWorking);
  check(op, "dpos", dpos, DType::f32, {dx.dim(1), dx.dim(2)});
  on_cpu(ctx) ? cpu::position_backward(ctx, dx, dpos) : cuda::position_backward(ctx, dx, dpos);
}

}  // namespace uvic
