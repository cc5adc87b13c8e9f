#include "app/dataset.h"

#include <sys/stat.h>

#include "app/data/tar.h"
#include "tests/app/image_fixtures.h"
#include "tests/app/tar_bytes.h"

namespace uvic {
namespace {

using namespace test;
namespace fs = std::filesystem;

class DatasetTest : public ImageFolderTest {};

TEST_F(DatasetTest, FoldersAnyDepthEitherCaseSorted) {
  const fs::path root = dir_ / "set";
  write_text(root / "dog" / "b.PNG", png_text(1));
  write_text(root / "dog" / "deep" / "er" / "a.png", png_text(2));
  write_text(root / "cat" / "z.png", png_text(3));
  write_text(root / "cat" / "notes.txt", "not an image");
  write_text(root / "cat" / ".hidden.png", png_text(4));
  write_text(root / ".cache" / "x.png", png_text(4));
  fs::create_directory_symlink(root, root / "dog" / "circle");
  const Dataset data(data_at(root));
  EXPECT_EQ(data.class_names(), (std::vector<std::string>{"cat", "dog"}));
  std::vector<std::string> names;
  for (int64_t i = 0; i < data.size(); ++i) names.push_back(data.name(i) + " " + std::to_string(data.label(i)));
  EXPECT_EQ(names, (std::vector<std::string>{"cat/z.png 0", "dog/b.PNG 1", "dog/deep/er/a.png 1"}));
  EXPECT_EQ(data.load(0), test_image(8, 8, 3));

  DataConfig chosen = data_at(root);
  chosen.classes = {"dog"};
  EXPECT_EQ(Dataset(chosen).size(), 2);
  EXPECT_EQ(Dataset(chosen).label(0), 0);
  chosen.classes = {"dgo"};
  EXPECT_NE(error_of([&] { Dataset d(chosen); }).find("did you mean 'dog'?"), std::string::npos);
}

TEST_F(DatasetTest, ImagesInTheRootHaveNoClasses) {
  write_text(dir_ / "set" / "a.png", png_text(1));
  write_text(dir_ / "set" / "sub" / "b.png", png_text(2));
  const Dataset data(data_at(dir_ / "set"));
  EXPECT_EQ(data.size(), 2);
  EXPECT_EQ(data.classes(), 0);
  EXPECT_EQ(data.label(0), -1);
}

TEST_F(DatasetTest, TarSubtreesLongNamesAndShards) {
  const std::string long_name = "root/train/cat/" + std::string(150, 'n') + ".png";
  const std::string pax = " path=" + long_name + "\n";
  const std::string record = std::to_string(pax.size() + 3) + pax;
  write_text(dir_ / "x.tar", tar_entry("root/train/", "", '5') + tar_entry("root/train/dog/1.png", png_text(1)) +
                                 tar_entry("pax", record, 'x') + tar_entry("short", png_text(2)) +
                                 tar_entry("././@LongLink", "root/test/dog/" + std::string(200, 'g') + ".png", 'L') +
                                 tar_entry("short", png_text(3)) + tar_entry("root/train/readme.txt", "text") +
                                 kTarEnd);
  const Dataset train(data_at(dir_ / "x.tar:root/train"));
  EXPECT_EQ(train.class_names(), (std::vector<std::string>{"cat", "dog"}));
  ASSERT_EQ(train.size(), 2);
  EXPECT_EQ(train.load(0), test_image(8, 8, 2));
  EXPECT_EQ(train.load(1), test_image(8, 8, 1));
  // Without a subtree the one folder around everything is not a class.
  EXPECT_EQ(Dataset(data_at(dir_ / "x.tar")).class_names(), (std::vector<std::string>{"test", "train"}));

  write_text(dir_ / "shards" / "b.tar", tar_entry("dog/2.png", png_text(5)) + kTarEnd);
  write_text(dir_ / "shards" / "a.tar",
             tar_entry("ant/2.png", png_text(6)) + tar_entry("dog/2.png", png_text(7)) + kTarEnd);
  for (const std::string& path : {(dir_ / "shards").string(), (dir_ / "shards" / "*.tar").string()}) {
    const Dataset data(data_at(path));
    ASSERT_EQ(data.size(), 3) << path;
    EXPECT_EQ(data.load(0), test_image(8, 8, 6));
    EXPECT_EQ(data.load(1), test_image(8, 8, 7));
    EXPECT_EQ(data.load(2), test_image(8, 8, 5));
  }
}

TEST_F(DatasetTest, WebDatasetPairs) {
  write_text(dir_ / "w.tar", tar_entry("0001.png", png_text(1)) + tar_entry("0001.cls", "2\n") +
                                 tar_entry("0000.cls", "0") + tar_entry("0000.seg.png", png_text(2)) + kTarEnd);
  const Dataset data(data_at(dir_ / "w.tar"));
  ASSERT_EQ(data.size(), 2);
  EXPECT_EQ(data.label(0), 0);
  EXPECT_EQ(data.label(1), 2);
  EXPECT_EQ(data.classes(), 3);
  write_text(dir_ / "w.tar", tar_entry("0001.png", png_text(1)) + tar_entry("0002.cls", "2\n") + kTarEnd);
  EXPECT_NE(error_of([&] { Dataset d(data_at(dir_ / "w.tar")); }).find("0001.png has no label"), std::string::npos);
}

TEST_F(DatasetTest, WebDatasetSamplesOfSeveralFiles) {
  write_text(dir_ / "w.tar", tar_entry("a/1.depth.png", png_text(1)) + tar_entry("a/1.png", png_text(2)) +
                                 tar_entry("a/1.json", R"({"label": 1, "caption": "x"})") +
                                 tar_entry("b.2/1.png", png_text(3)) + tar_entry("b.2/1.json", R"({"label": 0})") +
                                 tar_entry("b.2/readme.json", "[1, 2") + kTarEnd);
  const Dataset data(data_at(dir_ / "w.tar"));
  ASSERT_EQ(data.size(), 2);
  EXPECT_EQ(data.load(0), test_image(8, 8, 3));
  EXPECT_EQ(data.load(1), test_image(8, 8, 2));
  EXPECT_EQ(data.label(1), 1);
}

TEST_F(DatasetTest, NamesOfSeveralShards) {
  for (int i = 8; i < 12; ++i) {
    const std::string number = concat(i < 10 ? "0" : "", i);
    write_text(dir_ / concat("t-", number, ".tar"), tar_entry("c/" + number + ".png", png_text(i)) + kTarEnd);
  }
  const auto names = [&](const std::string& path) {
    const Dataset data(data_at(path));
    std::string all;
    for (int64_t i = 0; i < data.size(); ++i) all += data.name(i) + " ";
    return all;
  };
  const std::string at = dir_.string() + "/";
  EXPECT_EQ(names(at + "t-{08..10}.tar"), "c/08.png c/09.png c/10.png ");
  EXPECT_EQ(names(at + "t-{08,11}.tar"), "c/08.png c/11.png ");
  EXPECT_EQ(names(at + "t-11.tar::" + at + "t-0?.tar"), "c/08.png c/09.png c/11.png ");
  fs::create_directories(dir_ / "e1");
  fs::create_directories(dir_ / "e2");
  EXPECT_NE(error_of([&] { names(at + "e1::" + at + "e2"); }).find("set data.format"), std::string::npos);
  const std::string absent = error_of([&] { names(at + "t-{10..12}.tar"); });
  EXPECT_EQ(absent, at + "t-12.tar: no such file or folder");
}

TEST_F(DatasetTest, ADamagedShardIsLeftOutIfTheRestIsEnough) {
  const std::string whole = tar_entry("a/1.png", png_text(1)) + tar_entry("a/2.png", png_text(2)) + kTarEnd;
  for (int i = 0; i < 9; ++i) write_text(dir_ / concat("t", i, ".tar"), whole);
  write_text(dir_ / "t9.tar", whole.substr(0, 1600));  // cut between two images
  DataConfig config = data_at(dir_);
  config.max_bad_share = 0.1;
  const Dataset data(config);
  EXPECT_EQ(data.size(), 18);
  ASSERT_EQ(data.lost_shards().size(), 1u);
  EXPECT_NE(data.lost_shards()[0].find("t9.tar: truncated"), std::string::npos);
  config.max_bad_share = 0.01;
  const std::string error = error_of([&] { Dataset d(config); });
  EXPECT_NE(error.find("damaged shards hold 0.0"), std::string::npos) << error;
  EXPECT_NE(error.find("t9.tar: truncated"), std::string::npos) << error;
  EXPECT_EQ(error_of([&] { Dataset d(data_at(dir_ / "t9.tar")); }).find((dir_ / "t9.tar").string() + ": truncated"),
            0u);
}

TEST_F(DatasetTest, DamagedTarFilesAreRefused) {
  const std::string whole = tar_entry("a/1.png", png_text(1)) + tar_entry("a/2.png", png_text(2)) + kTarEnd;
  const fs::path path = dir_ / "x.tar";
  const auto error = [&](const std::string& bytes) {
    write_text(path, bytes);
    return error_of([&] { read_tar_index(path); });
  };
  write_text(path, whole);
  EXPECT_EQ(read_tar_index(path).size(), 2u);
  EXPECT_NE(error("\x1f\x8b" + whole).find("not an uncompressed tar file"), std::string::npos);
  EXPECT_NE(error(whole.substr(0, 600)).find("truncated"), std::string::npos);
  EXPECT_NE(error(whole.substr(0, 100)).find("not an uncompressed tar file"), std::string::npos);
  std::string bad = whole;
  bad[bad.find("a/2.png")] = 'b';
  EXPECT_NE(error(bad).find("damaged"), std::string::npos);
  std::string huge = tar_header("a/1.png", 0, '0');
  huge.replace(124, 12, "777777777777");  // 64 GiB: the checksum is made right again below
  huge.replace(148, 8, "        ");
  unsigned sum = 0;
  for (const char c : huge) sum += static_cast<unsigned char>(c);
  char field[16];
  std::snprintf(field, sizeof field, "%06o", sum);
  huge.replace(148, 7, std::string(field, 7));
  EXPECT_NE(error(huge + kTarEnd).find("truncated"), std::string::npos);
}

// Phones store what the sensor sees and how they were held.
TEST_F(DatasetTest, PhotosAreTurnedUpright) {
  const fs::path photos = fs::path(UVIC_SOURCE_DIR) / "tests/data/photos";
  write_text(dir_ / "set" / "a.jpg", read_text(photos / "exif_6.jpg"));
  DataConfig config = data_at(dir_ / "set");
  EXPECT_EQ(Dataset(config).load(0), decode_image(read_bytes(photos / "exif_6.jpg"), "", Orientation::upright));
  EXPECT_EQ(Dataset(config).load(0).width, 12);
  config.exif_orientation = false;
  EXPECT_EQ(Dataset(config).load(0).width, 20);
}

TEST_F(DatasetTest, OddThingsInAFolder) {
  const fs::path root = dir_ / "set";
  write_text(root / "a" / "x.jpg" / "inside.png", png_text(1));  // a folder named like an image
  fs::create_symlink("nowhere.png", root / "a" / "dangling.png");
  fs::create_symlink("loop.png", root / "a" / "loop.png");
  write_text(root / "a" / "empty.png", "");
  write_text(root / "a" / "words.jpg", "these are words");
  const Dataset data(data_at(root));
  ASSERT_EQ(data.size(), 3);
  EXPECT_EQ(error_of([&] { data.load(0); }), (root / "a" / "empty.png").string() + ": empty file");
  EXPECT_NE(error_of([&] { data.load(1); }).find("words.jpg: not a JPEG, PNG, WebP or BMP image"), std::string::npos);
  EXPECT_EQ(data.load(2), test_image(8, 8, 1));
}

TEST_F(DatasetTest, CifarBinary) {
  for (const int file : {2, 1}) {
    std::string bytes;
    for (int i = 0; i < 3; ++i) {
      bytes += static_cast<char>(file + i);
      for (int c = 0; c < 3; ++c) bytes += std::string(1024, static_cast<char>(file * 50 + i * 10 + c));
    }
    write_text(dir_ / ("data_batch_" + std::to_string(file) + ".bin"), bytes);
  }
  write_text(dir_ / "test_batch.bin", std::string(3073, '\1'));
  const Dataset data(data_at(dir_));
  ASSERT_EQ(data.size(), 6);
  EXPECT_EQ(data.class_names()[3], "cat");
  EXPECT_EQ(data.label(4), 3);
  const Image image = data.load(4);
  EXPECT_EQ(image.height, 32);
  EXPECT_EQ(std::vector<uint8_t>(image.rgb.begin() + 300, image.rgb.begin() + 303),
            (std::vector<uint8_t>{110, 111, 112}));
  EXPECT_EQ(Dataset(data_at(dir_ / "test_batch.bin")).size(), 1);
  write_text(dir_ / "test_batch.bin", std::string(3074, '\1'));
  EXPECT_NE(error_of([&] { Dataset d(data_at(dir_ / "test_batch.bin")); }).find("not a multiple of 3073"),
            std::string::npos);
}

TEST_F(DatasetTest, ANamedPipeIsRefusedWithoutWaitingForItsWriter) {
  for (const char* name : {"pipe.jpg", "pipe.tar"}) ASSERT_EQ(::mkfifo((dir_ / name).c_str(), 0600), 0);
  write_text(dir_ / "list.txt", "pipe.jpg\n");
  const Dataset data(data_at(dir_ / "list.txt"));
  EXPECT_EQ(error_of([&] { data.load(0); }), (dir_ / "pipe.jpg").string() + ": not a regular file");
  EXPECT_EQ(error_of([&] { Dataset d(data_at(dir_ / "pipe.tar")); }),
            (dir_ / "pipe.tar").string() + ": not a regular file");
}

TEST_F(DatasetTest, ALabelInJsonThatIsNoClassNumberIsRefused) {
  for (const char* label : {"-1", "4294967296"}) {
    write_text(dir_ / "x.tar",
               tar_entry("a.png", png_text(1)) + tar_entry("a.json", concat(R"({"label": )", label, "}")) + kTarEnd);
    EXPECT_EQ(error_of([&] { Dataset d(data_at(dir_ / "x.tar")); }),
              concat((dir_ / "x.tar").string(), ": a.json: a label must be an integer >= 0, got \"", label, "\""));
  }
}

TEST_F(DatasetTest, ListFile) {
  class_folders(1, 2);
  write_text(dir_ / "l.txt", "set/class0/img1.png\t1\r\n\nset/class0/img0.png\t0\n");
  const Dataset data(data_at(dir_ / "l.txt"));
  EXPECT_EQ(data.classes(), 2);
  EXPECT_EQ(data.load(0), test_image(8, 8, 0));
  write_text(dir_ / "l.txt", "set/class0/img1.png\tx\n");
  EXPECT_NE(error_of([&] { Dataset d(data_at(dir_ / "l.txt")); }).find("l.txt:1: a label must be an integer"),
            std::string::npos);
}

TEST_F(DatasetTest, ErrorsNameThePath) {
  const auto error = [&](const fs::path& path) { return error_of([&] { Dataset d(data_at(path)); }); };
  EXPECT_EQ(error("").find("data.path is not set"), 0u);
  EXPECT_EQ(error(dir_ / "absent"), (dir_ / "absent").string() + ": no such file or folder");
  EXPECT_EQ(error(dir_), dir_.string() + ": no images found (format folder)");
  EXPECT_EQ(error(dir_ / "*.tar"), (dir_ / "*.tar").string() + ": no file matches");
}

}  // namespace
}  // namespace uvic
