// The time token against the released code: both its f32 values and the exact ones.

#include "kernels/ops/tokens.h"
#include "tests/golden_model.h"

namespace uvic::test {
namespace {

// The released code takes sines in f32 of arguments up to 1000, which are themselves rounded by up to 3e-5, and one ulp
// of a frequency is worth 6e-5 there.
constexpr double kTolerance = 1e-4;

class GoldenTimesteps : public ::testing::TestWithParam<Where> {};
INSTANTIATE_TEST_SUITE_P(Everywhere, GoldenTimesteps, ::testing::ValuesIn(everywhere_and_gpu({DType::f32})),
                         where_name);

TEST_P(GoldenTimesteps, MatchTheReleasedCode) {
  const SafetensorsFile file(reference_dir("uvic") / "timestep_embedding.safetensors");
  const OwnedTensor t = copy(file, "t", DType::f32);
  Context ctx = context(GetParam());
  int compared = 0;
  for (const std::string& name : file.names()) {
    if (!name.starts_with("dim")) continue;
    const OwnedTensor want = copy(file, name, DType::f64);
    const Tensor got = ctx.empty(DType::f32, want.tensor.shape());
    timestep_embedding(ctx, t.tensor, got);
    const auto a = values(got), b = values(want.tensor);
    for (size_t i = 0; i < b.size(); ++i) ASSERT_NEAR(a[i], b[i], kTolerance) << name << " element " << i;
    ++compared;
  }
  EXPECT_GT(compared, 0);
}

}  // namespace
}  // namespace uvic::test
