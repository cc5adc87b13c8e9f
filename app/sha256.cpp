#include "app/sha256.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "model/io/file.h"

namespace uvic {
namespace {

// The first 32 bits of the fractional parts of the square roots of the first 8 primes, and of the cube roots of the
// first
// 64. A long double has the bits: cube roots below 7 leave 60 for the fraction.
struct Constants {
  std::array<uint32_t, 8> start;
  std::array<uint32_t, 64> round;
  Constants() {
    size_t found = 0;
    for (int n = 2; found < round.size(); ++n) {
      bool prime = true;
      for (int d = 2; d * d <= n; ++d) prime = prime && n % d != 0;
      if (!prime) continue;
      const auto fraction = [](long double x) { return static_cast<uint32_t>(std::ldexp(x - std::floor(x), 32)); };
      if (found < start.size()) start[found] = fraction(std::sqrt(static_cast<long double>(n)));
      round[found++] = fraction(std::cbrt(static_cast<long double>(n)));
    }
  }
};

void add_block(const Constants& k, const std::byte* block, std::array<uint32_t, 8>& hash) {
  std::array<uint32_t, 64> w;
  for (size_t i = 0; i < 16; ++i) {
    w[i] = 0;
    for (size_t b = 0; b < 4; ++b) w[i] = w[i] << 8 | std::to_integer<uint32_t>(block[4 * i + b]);
  }
  for (size_t i = 16; i < 64; ++i) {
    const uint32_t a = w[i - 15], b = w[i - 2];
    w[i] = w[i - 16] + (std::rotr(a, 7) ^ std::rotr(a, 18) ^ a >> 3) + w[i - 7] +
           (std::rotr(b, 17) ^ std::rotr(b, 19) ^ b >> 10);
  }
  auto [a, b, c, d, e, f, g, h] = hash;
  for (size_t i = 0; i < 64; ++i) {
    const uint32_t t1 =
        h + (std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)) + ((e & f) ^ (~e & g)) + k.round[i] + w[i];
    const uint32_t t2 = (std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
  }
  const std::array<uint32_t, 8> step{a, b, c, d, e, f, g, h};
  for (size_t i = 0; i < 8; ++i) hash[i] += step[i];
}

}  // namespace

std::string sha256(std::span<const std::byte> bytes) {
  static const Constants k;
  std::array<uint32_t, 8> hash = k.start;
  size_t at = 0;
  for (; at + 64 <= bytes.size(); at += 64) add_block(k, bytes.data() + at, hash);
  // A one, zeros, and the length in bits: in the last block, or one more where there is no room.
  std::array<std::byte, 128> tail{};
  const size_t rest = bytes.size() - at, end = rest + 9 <= 64 ? 64 : 128;
  if (rest > 0) std::memcpy(tail.data(), bytes.data() + at, rest);
  tail[rest] = std::byte{0x80};
  for (size_t i = 0; i < 8; ++i) tail[end - 1 - i] = static_cast<std::byte>(uint64_t{bytes.size()} * 8 >> (8 * i));
  for (size_t block = 0; block < end; block += 64) add_block(k, tail.data() + block, hash);
  std::string text;
  for (const uint32_t word : hash)
    for (int shift = 28; shift >= 0; shift -= 4) text += "0123456789abcdef"[word >> shift & 15];
  return text;
}

std::string sha256_of_file(const std::filesystem::path& path) { return sha256(MappedFile(path).bytes()); }

}  // namespace uvic
