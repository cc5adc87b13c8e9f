// What attention promises beside its numbers: threads, memory, and errors that name what is wrong.

#include "tests/kernels/attention_case.h"

namespace uvic::test {
namespace {

class AttentionContractTest : public ::testing::TestWithParam<Where> {};
INSTANTIATE_TEST_SUITE_P(Everywhere, AttentionContractTest, ::testing::ValuesIn(everywhere_and_gpu()), where_name);

TEST_P(AttentionContractTest, ThreadsDoNotChangeABit) {
  for (const AttentionKind kind : kKinds)
    for (const int64_t B : {1, 3}) {  // one head, whose rows are shared out, and more heads than threads
      const AttentionData data({B, 150, 1, 40, kind, own_scale(kind, 40), false}, GetParam().dtype, 6);
      std::vector<AttentionResult> got;
      for (const int threads : {1, 2, 5}) {
        Context ctx({.device = GetParam().device, .threads = threads, .isa = GetParam().isa});
        got.push_back(run(ctx, data));
      }
      for (const AttentionResult& other : got) {
        EXPECT_EQ(other.o, got[0].o);
        EXPECT_EQ(other.stat, got[0].stat);
        EXPECT_EQ(other.dqkv, got[0].dqkv);
      }
    }
}

TEST_P(AttentionContractTest, MemoryIsLinearInL) {
  const auto peak = [&](int64_t L) {
    Context ctx = context(GetParam());
    const DType dtype = GetParam().dtype;
    const OwnedTensor qkv(host(), dtype, {2, L, 3, 1, 8}), dqkv(host(), dtype, {2, L, 3, 1, 8});
    const OwnedTensor o(host(), dtype, {2, L, 1, 8}), grad_o(host(), dtype, {2, L, 1, 8}),
        stat(host(), DType::f32, {2, 1, L});
    const AttentionArgs args{.qkv = qkv.tensor, .kind = AttentionKind::cog};
    attention_forward(ctx, args, o.tensor, stat.tensor);
    attention_backward(ctx, args, o.tensor, stat.tensor, grad_o.tensor, dqkv.tensor);
    return static_cast<double>(ctx.arena().peak());
  };
  // A CPU's scratch has a part that does not grow. A GPU's has none, and an emulated one takes minutes for long rows.
  const int64_t L = GetParam().device.kind == DeviceKind::cuda ? 65 : 1025;
  const double once = peak(L), matrix = static_cast<double>(L * L);
  EXPECT_LT(peak(4 * L), 5 * once);
  EXPECT_LT(once, 2 * 4.0 * matrix);  // two threads: less than their two score matrices
}

TEST(AttentionArguments, AreChecked) {
  Context ctx({.threads = 1});
  const OwnedTensor qkv(host(), DType::f32, {2, 5, 3, 2, 8}), dqkv(host(), DType::f32, {2, 5, 3, 2, 8});
  const OwnedTensor o(host(), DType::f32, {2, 5, 2, 8}), stat(host(), DType::f32, {2, 2, 5});
  const auto forward = [&](AttentionArgs a, Tensor out, Tensor statistics = {}) {
    return error_of([&] { attention_forward(ctx, a, out, statistics); });
  };
  const AttentionArgs good{.qkv = qkv.tensor};
  EXPECT_EQ(forward({.qkv = qkv.tensor.view({2, 5, 3, 16})}, o.tensor),
            "attention_forward: qkv is [2, 5, 3, 16], wanted rank 5");
  EXPECT_EQ(forward({.qkv = qkv.tensor.view({2, 3, 5, 2, 8})}, o.tensor),
            "attention_forward: qkv is [2, 3, 5, 2, 8], wanted [B, L, 3, H, D]");
  EXPECT_EQ(forward(good, o.tensor.view({2, 2, 5, 8})),
            "attention_forward: o is f32 [2, 2, 5, 8], wanted f32 [2, 5, 2, 8]");
  EXPECT_EQ(forward(good, o.tensor, stat.tensor.view({2, 5, 2})),
            "attention_forward: stat is f32 [2, 5, 2], wanted f32 [2, 2, 5]");
  EXPECT_EQ(forward({.qkv = qkv.tensor, .scale = -1}, o.tensor),
            "attention_forward: scale is -1, wanted 0 (the kind's own) or more");
  EXPECT_EQ(forward({.qkv = Tensor(qkv.tensor.raw(), DType::f32, {0, 5, 3, 2, 8})}, o.tensor),
            "attention_forward: qkv [0, 5, 3, 2, 8] has no elements");
  const OwnedTensor wide(host(), DType::f32, {1, 1, 3, 1, 129}), integers(host(), DType::i32, {1, 1, 3, 1, 4});
  EXPECT_EQ(forward({.qkv = wide.tensor}, o.tensor),
            "attention_forward: head width D is 129 in qkv [1, 1, 3, 1, 129], wanted 1 to 128");
  EXPECT_EQ(forward({.qkv = integers.tensor}, o.tensor), "attention_forward: qkv is i32, wanted f32 or bf16");

  const auto backward = [&](Tensor statistics, Tensor grad_o, Tensor gradient) {
    return error_of([&] { attention_backward(ctx, good, o.tensor, statistics, grad_o, gradient); });
  };
  EXPECT_EQ(backward({}, o.tensor, dqkv.tensor), "attention_backward: stat is empty, wanted f32 [2, 2, 5]");
  EXPECT_EQ(backward(stat.tensor, {}, dqkv.tensor), "attention_backward: grad_o is empty, wanted f32 [2, 5, 2, 8]");
  EXPECT_EQ(backward(stat.tensor, o.tensor, qkv.tensor), "attention_backward: dqkv aliases qkv");
}

}  // namespace
}  // namespace uvic::test
