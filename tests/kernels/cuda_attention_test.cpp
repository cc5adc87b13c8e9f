// The loops of kernels/cuda/attention_passes.h, the very code that a GPU runs, on a block played by the host.

#include "kernels/cuda/attention_passes.h"
#include "tests/kernels/attention_case.h"
#include "tests/kernels/host_block.h"

namespace uvic::test {
namespace {

// Shared memory starts as NaN: what a tile does not fill, and is multiplied all the same, shows.
template <int kSize>
std::vector<bf16> shared_memory() {
  return std::vector<bf16>(kSize, bf16{0x7fc0});
}

struct Pass {
  const AttentionData& data;
  OwnedTensor o, stat, dqkv;
  std::vector<float> delta;

  explicit Pass(const AttentionData& d) : data(d) {
    const auto nan = [](DType dtype, Shape shape) {
      return tensor_of(dtype, shape, std::vector<double>(static_cast<size_t>(shape.numel()), std::nan("")));
    };
    const AttentionCase& c = data.c;
    o = nan(DType::bf16, data.grad_o.tensor.shape());
    stat = nan(DType::f32, {c.B, c.H, c.L});
    dqkv = nan(DType::bf16, data.qkv.tensor.shape());
    delta.assign(static_cast<size_t>(c.B * c.H * c.L), 0);
  }

  bf16* in_qkv(Tensor t, int64_t n, int64_t part) const {
    return t.data<bf16>() + reference::qkv_at(data.c, n / data.c.H, 0, part, n % data.c.H);
  }
  bf16* in_o(Tensor t, int64_t n) const {
    return t.data<bf16>() + reference::o_at(data.c, n / data.c.H, 0, n % data.c.H);
  }

  template <class Score, int kD>
  AttentionResult run() {
    const AttentionCase& c = data.c;
    const int64_t qkv_row = 3 * c.H * c.D, o_row = c.H * c.D;
    const cuda::AttentionSize size{c.L, c.D, static_cast<float>(c.scale), c.causal, c.D % 8 == 0};
    const auto in = [&](const bf16* at, int64_t stride) { return cuda::HeadRows<const bf16>{at, stride}; };
    const auto out = [&](bf16* at, int64_t stride) { return cuda::HeadRows<bf16>{at, stride}; };
    for (int64_t n = 0; n < c.B * c.H; ++n) {
      const Tensor& x = data.qkv.tensor;
      const auto q = in(in_qkv(x, n, 0), qkv_row), k = in(in_qkv(x, n, 1), qkv_row), v = in(in_qkv(x, n, 2), qkv_row);
      float* row_stat = stat.tensor.data<float>() + n * c.L;
      const cuda::ForwardHead forward{q, k, v, out(in_o(o.tensor, n), o_row), row_stat};
      for (int64_t first = 0; first < c.L; first += cuda::kOwn) {
        HostBlock block;
        auto shared = shared_memory<cuda::kForwardShared<kD>>();
        cuda::forward_block<Score, kD>(block, size, forward, first, shared.data());
      }
      for (int64_t l = 0; l < c.L; ++l)
        for (int64_t d = 0; d < c.D; ++d)
          delta[static_cast<size_t>(n * c.L + l)] +=
              to_float(in_o(o.tensor, n)[l * o_row + d]) * to_float(in_o(data.grad_o.tensor, n)[l * o_row + d]);
      const cuda::BackwardHead backward{q,
                                        k,
                                        v,
                                        in(in_o(data.grad_o.tensor, n), o_row),
                                        row_stat,
                                        delta.data() + n * c.L,
                                        out(in_qkv(dqkv.tensor, n, 0), qkv_row),
                                        out(in_qkv(dqkv.tensor, n, 1), qkv_row),
                                        out(in_qkv(dqkv.tensor, n, 2), qkv_row)};
      for (int64_t first = 0; first < c.L; first += cuda::kOwn) {
        HostBlock block;
        auto shared = shared_memory<cuda::kBackwardShared<kD>>();
        cuda::row_gradient_block<Score, kD>(block, size, backward, first, shared.data());
        shared = shared_memory<cuda::kBackwardShared<kD>>();
        cuda::key_gradient_block<Score, kD>(block, size, backward, first, shared.data());
      }
    }
    return {values(o.tensor), values(stat.tensor), values(dqkv.tensor)};
  }
};

template <int kD>
AttentionResult run_width(const AttentionData& data) {
  Pass pass(data);
  switch (data.c.kind) {
    case AttentionKind::softmax: return pass.run<SoftmaxScore, kD>();
    case AttentionKind::cog: return pass.run<CogScore, kD>();
    case AttentionKind::expressive: return pass.run<ExpressiveScore, kD>();
  }
  return {};
}

template <int kD>
void expect_matches(int64_t B, int64_t L, int64_t H, int64_t D, bool causal = false) {
  for (const AttentionKind kind : kKinds) {
    SCOPED_TRACE(concat(name_of(kind), " B ", B, " L ", L, " H ", H, " D ", D, causal ? " causal" : ""));
    const AttentionData data({B, L, H, D, kind, own_scale(kind, D), causal}, DType::bf16,
                             static_cast<uint64_t>(1000 * L + D));
    expect_close(data, run_width<kD>(data), 0);
  }
}

TEST(CudaAttentionOnHost, ShapesOfTheModels) {
  expect_matches<64>(1, 257, 2, 64);
  expect_matches<80>(1, 130, 1, 72);
  expect_matches<32>(2, 66, 2, 32);
}

TEST(CudaAttentionOnHost, EveryWidthAndRaggedTails) {
  expect_matches<32>(2, 1, 2, 1);
  expect_matches<32>(1, 2, 3, 7);
  expect_matches<64>(1, 17, 2, 33);
  expect_matches<80>(1, 33, 1, 80);
  expect_matches<96>(1, 65, 2, 96);
  expect_matches<128>(1, 31, 1, 127);
  expect_matches<128>(1, 97, 1, 128);
}

TEST(CudaAttentionOnHost, Causal) {
  expect_matches<64>(1, 33, 2, 64, true);
  expect_matches<64>(1, 97, 1, 40, true);
  expect_matches<32>(1, 130, 1, 16, true);
}

// A score of 0 has no weight under cog and expressive attention, whatever the zero's sign.
TEST(CudaAttentionOnHost, ZeroRows) {
  for (const AttentionKind kind : kKinds) {
    SCOPED_TRACE(name_of(kind));
    AttentionData data({1, 40, 2, 24, kind, own_scale(kind, 24), false}, DType::bf16, 5);
    std::vector<double> x = values(data.qkv.tensor);
    const auto clear = [&](int64_t row, int64_t part, int64_t h, double zero) {
      const auto at = x.begin() + reference::qkv_at(data.c, 0, row, part, h);
      std::fill(at, at + data.c.D, zero);
    };
    for (const int64_t row : {0, 7, 39}) clear(row, 0, 0, row == 7 ? -0.0 : 0.0);
    for (const int64_t row : {0, 3, 16, 17}) clear(row, 1, row % 2, 0.0);
    assign(data.qkv.tensor, x);
    data.compute();
    const AttentionResult got = run_width<32>(data);
    expect_close(data, got, 0);
    if (kind == AttentionKind::softmax) continue;
    for (int64_t d = 0; d < data.c.D; ++d) {
      EXPECT_EQ(got.o[static_cast<size_t>(reference::o_at(data.c, 0, 7, 0) + d)], 0);
      EXPECT_EQ(got.dqkv[static_cast<size_t>(reference::qkv_at(data.c, 0, 7, 0, 0) + d)], 0);
    }
  }
}

TEST(CudaAttentionOnHost, HugeInputsGiveNumbers) {
  for (const AttentionKind kind : kKinds)
    for (const double size : {1e8, 1e3, 1e-18}) {
      const AttentionData data({1, 37, 1, 20, kind, own_scale(kind, 20), false}, DType::bf16, 9, size);
      const AttentionResult got = run_width<32>(data);
      for (const auto* all : {&got.o, &got.stat, &got.dqkv})
        for (const double x : *all) ASSERT_TRUE(std::isfinite(x)) << name_of(kind) << " " << size;
    }
}

}  // namespace
}  // namespace uvic::test
