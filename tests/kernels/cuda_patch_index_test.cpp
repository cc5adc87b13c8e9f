// The index arithmetic of kernels/cuda/tokens.cu, on the host, against the CPU's ops.

#include "kernels/cuda/patch_index.h"

#include "kernels/ops/tokens.h"
#include "tests/check.h"

namespace uvic::test {
namespace {

// What f [elements of tokens] says of where they lie, and where the op takes an image that counts its pixels.
void expect_same(const cuda::PatchIndex& index, Tensor tokens) {
  const std::vector<double> pixel = values(tokens);
  for (int64_t i = 0; i < tokens.numel(); ++i) {
    const int64_t at = index.in_image(i);
    ASSERT_EQ(static_cast<double>(at < 0 ? 0 : at + 1), pixel[static_cast<size_t>(i)]) << "element " << i;
  }
}

OwnedTensor counting(Shape shape) {
  std::vector<double> v(static_cast<size_t>(shape.numel()));
  for (size_t i = 0; i < v.size(); ++i) v[i] = static_cast<double>(i + 1);
  return tensor_of(DType::f32, shape, v);
}

TEST(CudaPatchIndex, IsThatOfTheOps) {
  struct Size {
    int64_t B, C, h, w, p, extra;
  };
  for (const Size& s :
       {Size{2, 3, 8, 8, 2, 1}, {1, 1, 4, 6, 1, 0}, {2, 3, 2, 4, 1, 1}, {2, 4, 6, 9, 3, 2}, {3, 1, 4, 4, 4, 5}}) {
    Context ctx;
    const int64_t n = (s.h / s.p) * (s.w / s.p), width = s.p * s.p * s.C;
    const OwnedTensor image = counting({s.B, s.C, s.h, s.w});
    const OwnedTensor patches(host(), DType::f32, {s.B, n, width}),
        tokens(host(), DType::f32, {s.B, n + s.extra, width});
    patchify(ctx, image.tensor, static_cast<int>(s.p), patches.tensor);
    unpatchify_backward(ctx, image.tensor, static_cast<int>(s.p), tokens.tensor);
    expect_same(cuda::channel_slowest(s.C, s.h, s.w, s.p), patches.tensor);
    expect_same(cuda::channel_fastest(s.C, s.h, s.w, s.p, n + s.extra), tokens.tensor);
  }
}

}  // namespace
}  // namespace uvic::test
