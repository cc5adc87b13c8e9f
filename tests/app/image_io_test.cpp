#include "app/image_io.h"

#include "tests/app/image_fixtures.h"

namespace uvic {
namespace {

using namespace test;
namespace fs = std::filesystem;

int largest_difference(const Image& a, const Image& b) {
  int d = 0;
  for (size_t i = 0; i < a.rgb.size(); ++i) d = std::max(d, std::abs(int{a.rgb[i]} - int{b.rgb[i]}));
  return d;
}

double mean_difference(const Image& a, const Image& b) {
  double d = 0;
  for (size_t i = 0; i < a.rgb.size(); ++i) d += std::abs(int{a.rgb[i]} - int{b.rgb[i]});
  return d / static_cast<double>(a.rgb.size());
}

// Every file of the golden folder: the pixels within its tolerance, or an error that names the file.
TEST(DecodeTest, GoldenFiles) {
  const fs::path dir = reference_dir("eval") / "images";
  const auto images = golden_images(dir / "expected.safetensors");
  const nlohmann::json cases = golden_json(dir / "expected.json");
  ASSERT_FALSE(cases.empty());
  for (const auto& c : cases) {
    const std::string file = c["file"], expect = c["expect"];
    SCOPED_TRACE(file + ": " + c["what"].get<std::string>());
    Image got;
    std::string error;
    try {
      got = read_image(dir / file);
    } catch (const Error& e) {
      error = e.what();
    }
    if (!error.empty()) {
      EXPECT_NE(expect, "ok") << error;
      EXPECT_EQ(error.rfind((dir / file).string(), 0), 0u) << error;
      continue;
    }
    EXPECT_NE(expect, "error");
    if (expect != "ok") continue;
    // Pillow clips 16-bit gray at 255; the high byte is the sensible reading.
    const Image& want = images.contains(file + ".high_byte") ? images.at(file + ".high_byte") : images.at(file);
    ASSERT_EQ(got.height, want.height);
    ASSERT_EQ(got.width, want.width);
    if (c.contains("tolerance_mean_other_upsampling") && largest_difference(got, want) > c["tolerance"].get<int>()) {
      EXPECT_LE(mean_difference(got, want), c["tolerance_mean_other_upsampling"].get<double>());
      continue;
    }
    EXPECT_LE(largest_difference(got, want), c.value("tolerance", 0));
  }
}

// Files of the other kinds that Pillow and cameras write, read as stored and turned upright.
TEST(DecodeTest, FormatsAndOrientations) {
  const fs::path dir = fs::path(UVIC_SOURCE_DIR) / "tests/data/photos";
  const auto images = golden_images(dir / "expected.safetensors");
  const nlohmann::json cases = golden_json(dir / "expected.json");
  ASSERT_FALSE(cases.empty());
  for (const auto& c : cases) {
    const std::string file = c["file"];
    SCOPED_TRACE(file);
    const std::vector<uint8_t> bytes = read_bytes(dir / file);
    if (c.contains("error")) {
      EXPECT_NE(error_of([&] { decode_image(bytes, file); }).find(c["error"].get<std::string>()), std::string::npos);
      continue;
    }
    for (const Orientation orientation : {Orientation::stored, Orientation::upright}) {
      const Image& want = images.at(orientation == Orientation::stored ? file : file + ".upright");
      const Image got = decode_image(bytes, file, orientation);
      ASSERT_EQ(got.height, want.height);
      ASSERT_EQ(got.width, want.width);
      EXPECT_LE(largest_difference(got, want), c["tolerance"].get<int>());
    }
  }
}

std::vector<uint8_t> from_hex(const std::string& hex) {
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i < hex.size(); i += 2)
    bytes.push_back(static_cast<uint8_t>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return bytes;
}

// The golden folder has neither. Both hold 5 rows of 7 pixels (x + y, 40 y, 30 x).
TEST(DecodeTest, WebpAndBmp) {
  Image want{5, 7, {}};
  std::vector<uint8_t> bmp = from_hex(
      "424dae0000000000000036000000280000000700000005000000010018000000000078000000"
      "00000000000000000000000000000000");
  for (int y = 0; y < 5; ++y)
    for (int x = 0; x < 7; ++x) want.rgb.insert(want.rgb.end(), {uint8_t(x + y), uint8_t(40 * y), uint8_t(30 * x)});
  for (int y = 4; y >= 0; --y) {  // from the bottom, blue first, rows padded to 4 bytes
    for (int x = 0; x < 7; ++x) bmp.insert(bmp.end(), {uint8_t(30 * x), uint8_t(40 * y), uint8_t(x + y)});
    bmp.resize(bmp.size() + 3);
  }
  const std::vector<uint8_t> webp = from_hex(
      "524946462e000000574542505650384c210000002f06000100998ce87f6c22a2ff01856c23408773fe8cbfc1048c474c00c0925d0000");
  for (const std::vector<uint8_t>& file : {webp, bmp}) {
    EXPECT_EQ(decode_image(file, "x"), want);
    for (size_t size = 0; size < file.size(); ++size)
      EXPECT_THROW(decode_image({file.data(), size}, "x"), Error) << "the first " << size << " bytes";
  }
}

class ImageIoTest : public FolderTest {};

TEST_F(ImageIoTest, PngRoundTripWithParameters) {
  Image image = test_image(19, 23, 1);
  for (const std::string text : {"", "a cat\nSteps: 20, Seed: 7", "ein Kätzchen, 猫"}) {
    const fs::path path = dir_ / "x.png";
    write_png(path, image.tensor(), text);
    EXPECT_EQ(read_image(path), image);
    const auto info = inspect_png(path);
    ASSERT_TRUE(info.has_value());
    EXPECT_EQ(info->height, 19);
    EXPECT_EQ(info->width, 23);
    EXPECT_EQ(info->parameters, text);
    EXPECT_FALSE(fs::exists(path.string() + ".tmp"));
  }
}

TEST_F(ImageIoTest, APngThatIsCutOrChangedIsNotWhole) {
  Image image = test_image(8, 8, 2);
  const std::vector<uint8_t> png = encode_png(image.tensor(), "parameters of it");
  const fs::path path = dir_ / "x.png";
  const auto put = [&](const std::vector<uint8_t>& bytes) {
    write_text(path, std::string(bytes.begin(), bytes.end()));
  };
  EXPECT_FALSE(inspect_png(path).has_value());
  for (size_t size = 0; size < png.size(); ++size) {
    put({png.begin(), png.begin() + static_cast<std::ptrdiff_t>(size)});
    EXPECT_FALSE(inspect_png(path).has_value()) << "the first " << size << " bytes";
    EXPECT_THROW(read_image(path), Error) << "the first " << size << " bytes";
  }
  for (size_t at = 0; at < png.size(); ++at) {
    std::vector<uint8_t> bytes = png;
    bytes[at] ^= 0x10;
    put(bytes);
    EXPECT_FALSE(inspect_png(path).has_value()) << "byte " << at;
  }
  put(png);
  EXPECT_TRUE(inspect_png(path).has_value());
}

TEST_F(ImageIoTest, WritingErrorsNameThePath) {
  Image image = test_image(4, 4, 3);
  const fs::path absent = dir_ / "no" / "x.png";
  EXPECT_NE(error_of([&] { write_png(absent, image.tensor()); }).find(absent.string()), std::string::npos);
  if (fs::exists("/dev/full")) {  // every write there fails as on a full disk
    fs::create_symlink("/dev/full", dir_ / "full.png.tmp");
    const std::string error = error_of([&] { write_png(dir_ / "full.png", image.tensor()); });
    EXPECT_NE(error.find((dir_ / "full.png").string()), std::string::npos) << error;
    EXPECT_NE(error.find("No space left"), std::string::npos) << error;
    EXPECT_FALSE(fs::exists(dir_ / "full.png"));
  }
}

TEST_F(ImageIoTest, ReadingErrorsNameThePath) {
  EXPECT_NE(error_of([&] { read_image(dir_ / "absent.png"); }).find((dir_ / "absent.png").string()), std::string::npos);
  EXPECT_NE(error_of([&] { read_image(dir_); }).find("not a regular file"), std::string::npos);
  write_text(dir_ / "a.bin", "0123456789");
  EXPECT_EQ(read_bytes(dir_ / "a.bin", 3, 4), (std::vector<uint8_t>{'3', '4', '5', '6'}));
  EXPECT_THROW(read_bytes(dir_ / "a.bin", 3, 8), Error);
}

TEST(ImageExtensionTest, EitherCase) {
  for (const char* name : {"a.jpg", "a.JPEG", "b/a.Png", "a.webp", "a.BMP"}) EXPECT_TRUE(has_image_extension(name));
  for (const char* name : {"a.gif", "jpg", "a.jpg.txt", ".png"}) EXPECT_FALSE(has_image_extension(name)) << name;
}

TEST(GridTest, PlacesImagesRowByRow) {
  constexpr int n = 5, h = 3, w = 4;
  OwnedTensor pixels({}, DType::u8, {n, h, w, 3});
  auto* data = pixels.tensor.data<uint8_t>();
  for (int64_t i = 0; i < pixels.tensor.numel(); ++i) data[i] = static_cast<uint8_t>(1 + i / (h * w * 3));
  const Image grid = make_grid(pixels.tensor, 3, 2);
  ASSERT_EQ(grid.height, 2 + 2 * (h + 2));
  ASSERT_EQ(grid.width, 2 + 3 * (w + 2));
  for (int y = 0; y < grid.height; ++y)
    for (int x = 0; x < grid.width; ++x) {
      const int row = (y - 2) / (h + 2), column = (x - 2) / (w + 2);
      const bool inside = y >= 2 && x >= 2 && (y - 2) % (h + 2) < h && (x - 2) % (w + 2) < w && row * 3 + column < n;
      EXPECT_EQ(grid.rgb[static_cast<size_t>((y * grid.width + x) * 3)], inside ? row * 3 + column + 1 : 0);
    }
  EXPECT_EQ(make_grid(pixels.tensor).width, grid.width);  // about square: 3 columns for 5 images
  EXPECT_EQ(make_grid(pixels.tensor, 9, 0).width, n * w);
}

}  // namespace
}  // namespace uvic
