#include "kernels/core/philox.h"

#include "tests/check.h"

namespace uvic::test {
namespace {

// The counter is (block, draw, stream, index), the key the seed, low word first.
Random4 philox_of(const std::array<uint32_t, 4>& counter, const std::array<uint32_t, 2>& key) {
  return philox({.seed = uint64_t{key[1]} << 32 | key[0],
                 .draw = counter[1],
                 .stream = static_cast<Stream>(counter[2]),
                 .index = counter[3]},
                counter[0]);
}

std::array<uint32_t, 4> words(const Random4& r) { return {r.v[0], r.v[1], r.v[2], r.v[3]}; }

std::array<uint32_t, 4> bits(const Normal4& n) {
  std::array<uint32_t, 4> b;
  for (size_t i = 0; i < 4; ++i) b[i] = std::bit_cast<uint32_t>(n.v[i]);
  return b;
}

// kat_vectors of the Random123 distribution, philox4x32 with 10 rounds.
TEST(Philox, KnownAnswers) {
  using Words = std::array<uint32_t, 4>;
  constexpr uint32_t ones = 0xffffffff;
  EXPECT_EQ(words(philox_of({0, 0, 0, 0}, {0, 0})), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(words(philox_of({ones, ones, ones, ones}, {ones, ones})),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(words(philox_of({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0})),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, StreamsAreNumberedForever) {
  EXPECT_EQ(uint32_t(Stream::initial_noise), 0u);
  EXPECT_EQ(uint32_t(Stream::solver_noise), 1u);
  EXPECT_EQ(uint32_t(Stream::training_noise), 2u);
  EXPECT_EQ(uint32_t(Stream::training_time), 3u);
  EXPECT_EQ(uint32_t(Stream::crop_flip), 4u);
  EXPECT_EQ(uint32_t(Stream::label_drop), 5u);
  EXPECT_EQ(uint32_t(Stream::latent_posterior), 6u);
  EXPECT_EQ(uint32_t(Stream::shuffling), 7u);
  EXPECT_EQ(uint32_t(Stream::initial_weights), 8u);
}

// One normal from each pair of words, in double.
std::array<double, 2> box_muller(uint32_t a, uint32_t b) {
  const double u = (double(a) + 0.5) * 0x1p-32, angle = 2 * M_PI * double(b) * 0x1p-32;
  const double radius = std::sqrt(-2 * std::log(u));
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

TEST(Normal, IsNearBoxMullerInDouble) {
  for (uint32_t block = 0; block < 100000; ++block) {
    const Random4 r = philox({.seed = 99}, block);
    const Normal4 n = normal(r);
    for (size_t pair = 0; pair < 2; ++pair) {
      const auto want = box_muller(r.v[2 * pair], r.v[2 * pair + 1]);
      // A few ulp, and what rounding u to f32 does to the radius sqrt(-2 ln u) where u is near 1.
      const double radius = std::hypot(want[0], want[1]), allowed = 4e-7 * radius + 0x1p-24 / radius;
      ASSERT_NEAR(n.v[2 * pair], want[0], allowed) << block;
      ASSERT_NEAR(n.v[2 * pair + 1], want[1], allowed) << block;
    }
  }
}

// These words are part of what a seed means: a run repeated with another compiler, processor or device must find them.
TEST(Normal, HasTheStoredBits) {
  using Words = std::array<uint32_t, 4>;
  EXPECT_EQ(bits(normal(philox({.seed = 0}, 0))), (Words{0x3f7dbb31, 0xbf6cb6b0, 0xbf1e1b9f, 0xbef6d1b2}));
  EXPECT_EQ(bits(normal(philox({.seed = 1234, .draw = 5, .stream = Stream::training_noise, .index = 678}, 9))),
            (Words{0xbecae005, 0x3f422f36, 0xbe4eecdb, 0x400efa3a}));
  EXPECT_EQ(bits(normal(philox({.seed = ~uint64_t{0}, .draw = 999, .stream = Stream::solver_noise}, 767))),
            (Words{0x3eb40059, 0x4002f2cc, 0xc021a3fb, 0x3fb4f43c}));
  // The ends of both words, and the borders between the quadrants of the angle.
  EXPECT_EQ(bits(normal({{0, 0, 0xffffffff, 0}})), (Words{0x40d87047, 0x00000000, 0x80000000, 0x80000000}));
  EXPECT_EQ(bits(normal({{0x80000000, 0x20000000, 0x80000000, 0x1fffffff}})),
            (Words{0x3f55224c, 0x3f55224b, 0x3f55224b, 0x3f55224c}));
  EXPECT_EQ(bits(normal({{1, 0x40000000, 12345, 0x80000000}})),
            (Words{0x80000000, 0x40d32d4c, 0xc0a1a73f, 0x80000000}));
  EXPECT_EQ(bits(normal({{0xfffffe00, 0xc0000000, 0x7fffffff, 0xffffffff}})),
            (Words{0x00000000, 0xba000000, 0x3f96b55f, 0xb0ecbb7a}));
}

TEST(Normal, ManyHaveTheStoredBits) {
  uint32_t hash = 2166136261u;  // FNV-1a over words
  for (uint32_t block = 0; block < 100000; ++block)
    for (const uint32_t word : bits(normal(philox({.seed = 2024}, block)))) hash = (hash ^ word) * 16777619u;
  EXPECT_EQ(hash, 0xd1064f95u);
}

// Moments of 400,000 numbers, within four standard errors of those of a normal.
TEST(Normal, HasTheMomentsOfANormal) {
  constexpr uint32_t kBlocks = 100000;
  constexpr double n = 4.0 * kBlocks;
  double moment[5] = {};
  for (uint32_t block = 0; block < kBlocks; ++block)
    for (const float x : normal(philox({.seed = 5}, block)).v) {
      double power = 1;
      for (double& m : moment) {
        m += power / n;
        power *= double(x);
      }
    }
  EXPECT_NEAR(moment[1], 0, 4 * std::sqrt(1 / n));
  EXPECT_NEAR(moment[2], 1, 4 * std::sqrt(2 / n));
  EXPECT_NEAR(moment[3], 0, 4 * std::sqrt(15 / n));
  EXPECT_NEAR(moment[4], 3, 4 * std::sqrt(96 / n));
}

TEST(Uniform, IsIn01WithTwentyFourBits) {
  EXPECT_EQ(uniform(0), 0.0f);
  EXPECT_EQ(uniform(0xff), 0.0f);
  EXPECT_EQ(uniform(0x100), 0x1p-24f);
  EXPECT_EQ(uniform(0x80000000), 0.5f);
  EXPECT_EQ(uniform(0xffffffff), 1 - 0x1p-24f);
}

// Every part of the key, and the block, names other numbers.
TEST(Philox, EveryPartOfTheKeyMatters) {
  const std::vector<std::pair<RandomKey, uint32_t>> all = {
      {{}, 0},           {{}, 1},
      {{.seed = 1}, 0},  {{.seed = uint64_t{1} << 32}, 0},
      {{.draw = 1}, 0},  {{.stream = Stream::solver_noise}, 0},
      {{.index = 1}, 0},
  };
  for (size_t i = 0; i < all.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      EXPECT_NE(words(philox(all[i].first, all[i].second)), words(philox(all[j].first, all[j].second)))
          << i << " " << j;
}

}  // namespace
}  // namespace uvic::test
