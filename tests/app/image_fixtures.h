#pragma once

// What the tests in this folder share: golden images, drawn images, and a folder of their own for files they write.

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "app/config.h"
#include "app/image_io.h"
#include "tests/check.h"

namespace uvic::test {

// The U8 [h, w, 3] tensors of a safetensors file. (Not SafetensorsFile: such a file also holds U16, which we do not
// read.)
inline std::map<std::string, Image> golden_images(const std::filesystem::path& path) {
  const std::vector<uint8_t> bytes = read_bytes(path);
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  const auto header = nlohmann::json::parse(bytes.begin() + 8, bytes.begin() + 8 + static_cast<std::ptrdiff_t>(length));
  std::map<std::string, Image> images;
  for (const auto& [name, info] : header.items()) {
    if (name == "__metadata__" || info["dtype"] != "U8" || info["shape"].size() != 3) continue;
    const auto begin =
        bytes.begin() + static_cast<std::ptrdiff_t>(8 + length + info["data_offsets"][0].get<uint64_t>());
    const auto end = bytes.begin() + static_cast<std::ptrdiff_t>(8 + length + info["data_offsets"][1].get<uint64_t>());
    images[name] = {info["shape"][0], info["shape"][1], {begin, end}};
  }
  return images;
}

inline nlohmann::json golden_json(const std::filesystem::path& path) {
  return nlohmann::json::parse(std::ifstream(path));
}

// Smooth, and different for every seed.
inline Image test_image(int height, int width, int seed) {
  Image image{height, width, {}};
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      for (int c = 0; c < 3; ++c)
        image.rgb.push_back(static_cast<uint8_t>((seed * 37 + x * (c + 3) + y * (5 - c)) % 256));
  return image;
}

inline void write_text(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

inline std::string read_text(const std::filesystem::path& path) {
  const std::vector<uint8_t> bytes = read_bytes(path);
  return {bytes.begin(), bytes.end()};
}

class FolderTest : public ::testing::Test {
 protected:
  FolderTest() {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    std::string name = concat("uvic-", info->test_suite_name(), "-", info->name(), "-", ::getpid());
    std::replace(name.begin(), name.end(), '/', '-');  // of parameterised tests
    dir_ = std::filesystem::temp_directory_path() / name;
    std::filesystem::create_directories(dir_);
  }
  ~FolderTest() override { std::filesystem::remove_all(dir_); }
  std::filesystem::path dir_;
};

// test_image as the bytes of a PNG file.
inline std::string png_text(int seed) {
  Image image = test_image(8, 8, seed);
  const std::vector<uint8_t> png = encode_png(image.tensor());
  return {png.begin(), png.end()};
}

inline DataConfig data_at(const std::filesystem::path& path) {
  DataConfig c;
  c.path = path.string();
  c.workers = 2;
  return c;
}

class ImageFolderTest : public FolderTest {
 protected:
  // classes x per_class images of 8 x 8; image (c, i) is test_image of seed 10 c + i.
  std::filesystem::path class_folders(int classes, int per_class) {
    for (int c = 0; c < classes; ++c)
      for (int i = 0; i < per_class; ++i)
        write_text(dir_ / "set" / ("class" + std::to_string(c)) / ("img" + std::to_string(i) + ".png"),
                   png_text(10 * c + i));
    return dir_ / "set";
  }
};

}  // namespace uvic::test
