// Attention against PyTorch: every attention_*.safetensors of the reference folder, every kind that its metadata names.

#include <nlohmann/json.hpp>

#include "kernels/ops/attention.h"
#include "model/io/safetensors.h"
#include "tests/check.h"

namespace uvic::test {
namespace {

using nlohmann::json;

// The file's tensors are [B, H, L, D], ours [B, L, (3,) H, D].
struct Layout {
  int64_t B, H, L, D;

  int64_t numel() const { return B * H * L * D; }
  // Calls f(place in the file, token b L + l, h D + d).
  template <class F>
  void each(const F& f) const {
    for (int64_t b = 0, n = 0; b < B; ++b)
      for (int64_t h = 0; h < H; ++h)
        for (int64_t l = 0; l < L; ++l)
          for (int64_t d = 0; d < D; ++d, ++n) f(n, b * L + l, h * D + d);
  }
  // Part of parts interleaved matrices, in the file's order.
  std::vector<double> part(Tensor t, int64_t index, int64_t parts) const {
    std::vector<double> x(static_cast<size_t>(numel()));
    each([&](int64_t n, int64_t token, int64_t column) {
      x[static_cast<size_t>(n)] = at(t, (token * parts + index) * H * D + column);
    });
    return x;
  }
  OwnedTensor interleave(DType dtype, const Shape& shape, const std::vector<std::vector<double>>& parts) const {
    std::vector<double> x(static_cast<size_t>(shape.numel()));
    const auto count = static_cast<int64_t>(parts.size());
    for (int64_t i = 0; i < count; ++i)
      each([&](int64_t n, int64_t token, int64_t column) {
        x[static_cast<size_t>((token * count + i) * H * D + column)] =
            parts[static_cast<size_t>(i)][static_cast<size_t>(n)];
      });
    return tensor_of(dtype, shape, x);
  }
};

AttentionKind kind_of(const std::string& name) {
  if (name.starts_with("expressive")) return AttentionKind::expressive;
  EXPECT_TRUE(name == "softmax" || name == "cog") << name;
  return name == "cog" ? AttentionKind::cog : AttentionKind::softmax;
}

class AttentionGoldenTest : public ::testing::TestWithParam<Where> {
 protected:
  void expect_near(const std::vector<double>& got, const SafetensorsFile& file, const std::string& name,
                   double f32_limit) {
    if (!file.contains(name)) return;
    SCOPED_TRACE(name);
    const std::vector<double> want = values(file.tensor(name));
    ++compared_;
    if (GetParam().dtype == DType::f32) {
      EXPECT_CLOSE_MAX(got, want, f32_limit);
    } else {
      EXPECT_CLOSE_MAX(got, want, 2e-2);
      EXPECT_CLOSE_L2(got, want, 1e-2);
    }
  }

  void check_kind(const SafetensorsFile& file, const std::string& name, double scale, double largest_score) {
    SCOPED_TRACE(file.path().filename().string() + " " + name);
    const auto number = [&](const char* key) { return std::stoll(file.metadata().at(key)); };
    const Layout layout{number("B"), number("H"), number("L"), number("D")};
    const auto [B, H, L, D] = layout;
    const DType dtype = GetParam().dtype;
    const auto input = [&](const char* tensor) { return values(file.tensor(tensor)); };
    const OwnedTensor qkv = layout.interleave(dtype, {B, L, 3, H, D}, {input("q"), input("k"), input("v")});
    const OwnedTensor grad_o = layout.interleave(dtype, {B, L, H, D}, {input("do")});
    const OwnedTensor o(host(), dtype, {B, L, H, D}), dqkv(host(), dtype, {B, L, 3, H, D}),
        stat(host(), DType::f32, {B, H, L});
    const AttentionArgs args{.qkv = qkv.tensor,
                             .kind = kind_of(name),
                             .scale = static_cast<float>(scale),
                             .causal = file.metadata().at("causal") == "true"};
    Context ctx = context(GetParam());
    attention_forward(ctx, args, o.tensor, stat.tensor);
    attention_backward(ctx, args, o.tensor, stat.tensor, grad_o.tensor, dqkv.tensor);
    // Float32 PyTorch itself is 4e-6 away where scores are large: a score of 270 has an ulp of 3e-5.
    const double limit = largest_score > 100 ? 3e-5 : 1e-5;
    expect_near(layout.part(o.tensor, 0, 1), file, name + "/out", limit);
    expect_near(layout.part(dqkv.tensor, 0, 3), file, name + "/dq", limit);
    expect_near(layout.part(dqkv.tensor, 1, 3), file, name + "/dk", limit);
    expect_near(layout.part(dqkv.tensor, 2, 3), file, name + "/dv", limit);
  }

  int compared_ = 0;
};
INSTANTIATE_TEST_SUITE_P(Everywhere, AttentionGoldenTest, ::testing::ValuesIn(everywhere_and_gpu()), where_name);

TEST_P(AttentionGoldenTest, MatchesPyTorch) {
  for (const auto& path : golden_files(reference_dir("uvic"), "attention_", ".safetensors")) {
    const SafetensorsFile file(path);
    const json kinds = json::parse(file.metadata().at("kinds")), scores = json::parse(file.metadata().at("abs_score"));
    for (const auto& [name, kind] : kinds.items())
      check_kind(file, name, kind.at("scale").get<double>(), scores.at(name).at("max").get<double>());
    EXPECT_GT(std::exchange(compared_, 0), 0) << path << " holds no result";
  }
}

}  // namespace
}  // namespace uvic::test
