#include "kernels/ops/attention.h"

#include <algorithm>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd/attention.h"

namespace uvic::cpu {
namespace {

// The pass for these arguments. Tiles serve bf16 alone.
template <class Table>
typename Table::Pass* pass_for(const Table& table, const AttentionArgs& a) {
  const auto kind = static_cast<size_t>(a.kind);
  return a.qkv.dtype() == DType::bf16 ? table.bf16[kind] : table.f32[kind];
}
bool on_tiles(const Context& ctx, const AttentionArgs& a) {
  return ctx.isa() == Isa::amx && a.qkv.dtype() == DType::bf16;
}

// Addresses of heads: head n is head n % H of image n / H.
struct Heads {
  int64_t B, L, H, D;
  size_t element;
  explicit Heads(const Tensor& qkv)
      : B(qkv.dim(0)), L(qkv.dim(1)), H(qkv.dim(3)), D(qkv.dim(4)), element(size_of(qkv.dtype())) {}

  int64_t count() const { return B * H; }
  void* in_qkv(const Tensor& t, int64_t n, int64_t part) const {
    return static_cast<char*>(t.raw()) + static_cast<size_t>((n / H * L * 3 + part) * H + n % H) * row_bytes();
  }
  void* in_o(const Tensor& t, int64_t n) const {
    return static_cast<char*>(t.raw()) + static_cast<size_t>(n / H * L * H + n % H) * row_bytes();
  }
  size_t row_bytes() const { return static_cast<size_t>(D) * element; }

  AttentionHead at(int64_t n, const AttentionArgs& a, const Tensor& o, const Tensor& stat) const {
    return {.L = L,
            .D = D,
            .qkv_stride = 3 * H * D,
            .o_stride = H * D,
            .scale = a.scale,
            .causal = a.causal,
            .q = in_qkv(a.qkv, n, 0),
            .k = in_qkv(a.qkv, n, 1),
            .v = in_qkv(a.qkv, n, 2),
            .o = in_o(o, n),
            .stat = stat.empty() ? nullptr : stat.data<float>() + n * L};
  }
};

// One piece of scratch for each of workers, and the distance between them.
struct Scratch {
  char* memory;
  int64_t bytes;
  Scratch(Context& ctx, int64_t workers, int64_t each)
      : memory(static_cast<char*>(ctx.arena().allocate(static_cast<size_t>(workers * ((each + 63) / 64 * 64))))),
        bytes((each + 63) / 64 * 64) {}
  void* of(int64_t worker) const { return memory + worker * bytes; }
};

}  // namespace

// A task is a head, or a part of its rows where there are fewer heads than threads: every part packs the head's keys
// and values again, which is a small price beside an idle core. A row's result does not depend on the cut.
void attention_forward(Context& ctx, const AttentionArgs& a, Tensor o, Tensor stat) {
  const Heads heads(a.qkv);
  const AttentionForward& kernels =
      on_tiles(ctx, a) ? amx::attention_forward : pick(ctx, avx2::attention_forward, avx512::attention_forward);
  AttentionForward::Pass* const pass = pass_for(kernels, a);
  const int64_t blocks = (heads.L + kernels.block_rows - 1) / kernels.block_rows;
  const int64_t parts = std::min(blocks, (ctx.threads() + heads.count() - 1) / heads.count());
  const int64_t tasks = heads.count() * parts, workers = std::min<int64_t>(ctx.threads(), tasks);
  const auto scope = ctx.scope("attention_forward");
  const Scratch scratch(ctx, workers, kernels.bytes(heads.L, heads.D));
  parallel_for(ctx, workers, 1, [&](int64_t worker, int64_t) {
    for (int64_t task = tasks * worker / workers; task < tasks * (worker + 1) / workers; ++task) {
      const int64_t n = task / parts, part = task % parts;
      const int64_t begin = blocks * part / parts * kernels.block_rows;
      const int64_t end = std::min(heads.L, blocks * (part + 1) / parts * kernels.block_rows);
      pass(heads.at(n, a, o, stat), begin, end, scratch.of(worker));
    }
  });
}

// A task is a whole head: gradients of its keys and values are sums over all its rows, taken in one order.
void attention_backward(Context& ctx, const AttentionArgs& a, Tensor o, Tensor stat, Tensor grad_o, Tensor dqkv) {
  const Heads heads(a.qkv);
  const AttentionBackward& kernels =
      on_tiles(ctx, a) ? amx::attention_backward : pick(ctx, avx2::attention_backward, avx512::attention_backward);
  AttentionBackward::Pass* const pass = pass_for(kernels, a);
  const int64_t tasks = heads.count(), workers = std::min<int64_t>(ctx.threads(), tasks);
  const auto scope = ctx.scope("attention_backward");
  const Scratch scratch(ctx, workers, kernels.bytes(heads.L, heads.D));
  parallel_for(ctx, workers, 1, [&](int64_t worker, int64_t) {
    for (int64_t n = tasks * worker / workers; n < tasks * (worker + 1) / workers; ++n) {
      AttentionHead head = heads.at(n, a, o, stat);
      head.grad_o = heads.in_o(grad_o, n);
      head.dq = heads.in_qkv(dqkv, n, 0);
      head.dk = heads.in_qkv(dqkv, n, 1);
      head.dv = heads.in_qkv(dqkv, n, 2);
      pass(head, scratch.of(worker));
    }
  });
}

}  // namespace uvic::cpu
