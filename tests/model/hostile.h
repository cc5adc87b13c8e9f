#pragma once

// What the tests of file readers share: files made by hand, and many damaged copies of good ones.

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "kernels/core/error.h"
#include "kernels/core/tensor.h"

namespace uvic::test {

// An empty folder of this process's own, removed at the end.
class TempFolder {
 public:
  TempFolder() : path_(std::filesystem::temp_directory_path() / ("uvic_test_" + std::to_string(::getpid()))) {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  ~TempFolder() { std::filesystem::remove_all(path_); }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in) << path;
  return {std::istreambuf_iterator<char>(in), {}};
}

inline std::filesystem::path write_file(const std::filesystem::path& path, const std::string& bytes) {
  std::filesystem::remove(path);  // ext4 flushes a file that is truncated and written again: 5 ms instead of 0.05
  std::ofstream out(path, std::ios::binary);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  EXPECT_TRUE(out.flush()) << path;
  return path;
}

// The little-endian bytes of a number, as every format here stores them.
template <class T>
std::string le(T x) {
  return {reinterpret_cast<const char*>(&x), sizeof x};
}

inline std::string bytes_of(Tensor t) { return {static_cast<const char*>(t.raw()), t.bytes()}; }

// An Error that f throws must begin with the path and be one line. Returns it; empty if f threw nothing.
inline std::string refusal(const std::filesystem::path& path, const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    const std::string what = e.what();
    EXPECT_TRUE(what.starts_with(path.string() + ": ")) << what;
    EXPECT_EQ(what.find('\n'), std::string::npos) << what;
    return what;
  }
  return {};
}

// Runs load on damaged copies of good: bytes flipped, zeroed and set to 0xff, parts cut out, doubled and cut off. Each
// must load or throw an Error: any other exception fails the test, a bad access is for the sanitizers to see. Half of
// the damage falls on the first focus bytes, where the structure is. Returns how many were refused.
inline int fuzz(const std::string& good, size_t focus, int rounds, const std::filesystem::path& path,
                const std::function<void()>& load) {
  std::mt19937_64 random(20240711);
  const auto below = [&](size_t n) { return n == 0 ? 0 : static_cast<size_t>(random() % n); };
  int refused = 0;
  for (int round = 0; round < rounds; ++round) {
    std::string bad = good;
    for (size_t damages = 1 + below(3); damages > 0 && !bad.empty(); --damages) {
      const size_t at = below(below(2) ? bad.size() : std::min(focus, bad.size()));
      const size_t length = 1 + below(std::min<size_t>(12, bad.size() - at));
      switch (below(7)) {
        case 0: bad[at] = static_cast<char>(bad[at] ^ (1 << below(8))); break;
        case 1: bad[at] = static_cast<char>(random()); break;
        case 2: bad[at] = '\0'; break;
        case 3: bad[at] = '\xff'; break;
        case 4: bad.erase(at, length); break;
        case 5: bad.insert(at, bad.substr(at, length)); break;
        default: bad.resize(below(4) ? bad.size() : at);
      }
    }
    write_file(path, bad);
    refused += !refusal(path, load).empty();
  }
  return refused;
}

// Every file of a folder of malformed ones whose name ends with suffix: those named control_... must load, all others
// be refused.
inline void expect_only_controls_load(const std::filesystem::path& folder, const std::string& suffix,
                                      const std::function<void(const std::filesystem::path&)>& load) {
  int controls = 0, others = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (!name.ends_with(suffix)) continue;
    SCOPED_TRACE(name);
    const std::string why = refusal(entry.path(), [&] { load(entry.path()); });
    if (name.starts_with("control_")) {
      EXPECT_EQ(why, "");
      ++controls;
    } else {
      EXPECT_NE(why, "") << "was loaded";
      ++others;
    }
  }
  EXPECT_GT(controls, 0);
  EXPECT_GT(others, 0);
}

}  // namespace uvic::test
