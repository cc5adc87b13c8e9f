// Every file that is cut short or has a bit turned gives an image of the size its header says, or one Error that names
// it; a damaged shard gives an index whose images do, or an Error.

#include "app/data/shard_index.h"
#include "app/dataset.h"
#include "tests/app/image_fixtures.h"
#include "tests/app/tar_bytes.h"

namespace uvic {
namespace {

using namespace test;
namespace fs = std::filesystem;

// Calls visit with every beginning of bytes, and with a bit of each byte turned.
template <class Bytes, class Visit>
void damage(const Bytes& bytes, const Visit& visit) {
  for (size_t size = 0; size < bytes.size(); ++size)
    visit(Bytes(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size)));
  for (size_t at = 0; at < bytes.size(); ++at) {
    Bytes changed = bytes;
    changed[at] = static_cast<typename Bytes::value_type>(changed[at] ^ (1 << (at * 5 % 8)));
    visit(changed);
  }
}

class HostileImages : public FolderTest {
 protected:
  HostileImages() { ::testing::internal::CaptureStderr(); }  // OpenCV prints what it thinks of some of them
  ~HostileImages() override { ::testing::internal::GetCapturedStderr(); }
};

TEST_F(HostileImages, DecodeOrFailNamingTheFile) {
  std::vector<fs::path> files;
  for (const fs::path& dir :
       {fs::path(UVIC_SOURCE_DIR) / "tests/data/photos", fs::path(UVIC_SOURCE_DIR) / "tests/data/eval/images"})
    for (const auto& item : fs::directory_iterator(dir))
      if (has_image_extension(item.path()) && item.file_size() < 3000) files.push_back(item.path());
  ASSERT_GT(files.size(), 60u);
  int64_t decoded = 0, refused = 0;
  for (const fs::path& file : files)
    damage(read_bytes(file), [&](const std::vector<uint8_t>& bytes) {
      try {
        const Image image = decode_image(bytes, "the file", Orientation::upright);
        EXPECT_EQ(image.rgb.size(), static_cast<size_t>(image.height) * static_cast<size_t>(image.width) * 3);
        ++decoded;
      } catch (const Error& e) {
        EXPECT_EQ(std::string(e.what()).rfind("the file: ", 0), 0u) << e.what();
        ++refused;
      }
    });
  EXPECT_GT(decoded, 1000);
  EXPECT_GT(refused, 10000);
}

TEST_F(HostileImages, ShardsAndTheirIndices) {
  const std::string png = png_text(1);
  const std::string tar = tar_entry("a.png", png) + tar_entry("a.cls", "0") + tar_entry("b.png", png) +
                          tar_entry("b.json", R"({"label": 1})") + tar_entry("b.cls", "1") + kTarEnd;
  const fs::path path = dir_ / "x.tar";
  int64_t indexed = 0, loaded = 0;
  const auto use = [&] {
    try {
      const Dataset data(data_at(path));
      ++indexed;
      for (int64_t i = 0; i < data.size(); ++i) loaded += data.load(i).rgb.size() == 192;
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(dir_.string()), std::string::npos) << e.what();
    }
  };
  damage(tar, [&](const std::string& bytes) {
    write_text(path, bytes);
    use();
  });
  EXPECT_GT(indexed, 100);
  EXPECT_GT(loaded, 100);
  write_text(path, tar);
  use();
  const std::string index =
      shard_index_text(static_cast<int64_t>(tar.size()), {{"a.png", 0, 0, 512, 100}, {"b.png", 1, 0, 2048, 100}});
  damage(index, [&](const std::string& bytes) {
    write_text(shard_index_path(path), bytes);
    use();
  });
}

}  // namespace
}  // namespace uvic
