#include "model/io/zip.h"

#include "tests/model/zip_bytes.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;

class Zip : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!ZipFile::supported()) GTEST_SKIP() << "built without libzip";
  }

  fs::path archive(const std::vector<ZipRecord>& records) { return write_file(path_, zip_bytes(records)); }

  std::string read(const std::string& name, uint64_t max_bytes = 1 << 20) {
    const Buffer b = ZipFile(path_).read(name, max_bytes);
    return {static_cast<const char*>(b.data()), b.size()};
  }

  std::string why(const std::string& name, uint64_t max_bytes = 1 << 20) {
    return refusal(path_, [&] { read(name, max_bytes); });
  }

  TempFolder folder_;
  const fs::path path_ = folder_ / "a.zip";
};

TEST_F(Zip, ListsAndReads) {
  const std::string long_text(100'000, 'x');
  archive({{"b", "second"}, {"a/empty", ""}, {"a/packed", long_text, 8}});
  const ZipFile zip(path_);
  ASSERT_EQ(zip.entries().size(), 3u);
  EXPECT_EQ(zip.entries()[0].name, "b");
  EXPECT_EQ(zip.entries()[2].bytes, 100'000u);
  EXPECT_TRUE(zip.find("a/empty"));
  EXPECT_FALSE(zip.find("a"));
  EXPECT_EQ(read("b"), "second");
  EXPECT_EQ(read("b", 6), "second");
  EXPECT_EQ(read("a/empty"), "");
  EXPECT_EQ(read("a/packed"), long_text);
}

TEST_F(Zip, RefusesWhatDoesNotFitItsDirectory) {
  archive({{"big", "0123456789"},
           {"checksum", "0123456789", 0, -1, 1},
           {"short", "0123456789", 8, 9},
           {"long", "0123456789", 8, 100'000},
           {"huge", "0123456789", 8, 0x7fffffff},
           {"bzip2", "0123456789", 12}});
  EXPECT_NE(why("big", 9).find("10 bytes, at most 9"), std::string::npos);
  EXPECT_NE(why("checksum"), "");
  EXPECT_NE(why("short"), "");
  EXPECT_NE(why("long"), "");
  EXPECT_NE(why("huge").find("2147483647 bytes, at most"), std::string::npos);
  EXPECT_NE(why("bzip2").find("compression method 12"), std::string::npos);
  EXPECT_NE(why("absent").find("no entry \"absent\""), std::string::npos);
}

TEST_F(Zip, RefusesTwoEntriesOfOneName) {
  archive({{"a", "1"}, {"a", "2"}});
  EXPECT_NE(why("a").find("two entries are named \"a\""), std::string::npos);
}

TEST_F(Zip, RefusesWhatIsNoArchive) {
  EXPECT_NE(why("a"), "");  // no such file
  write_file(path_, "");
  EXPECT_NE(why("a"), "");
  write_file(path_, "PK\3\4 and no more");
  EXPECT_NE(why("a"), "");
}

TEST_F(Zip, DamagedCopiesLoadOrAreRefused) {
  const std::string good = zip_bytes({{"stem/data.pkl", "some text"}, {"stem/data/0", "0123456789", 8}});
  EXPECT_GT(fuzz(good, good.size(), 3000, path_,
                 [&] {
                   const ZipFile zip(path_);
                   for (const auto& e : zip.entries()) zip.read(e.name, 1 << 20);
                 }),
            1500);
}

TEST(NoZip, SaysSo) {
  if (ZipFile::supported()) GTEST_SKIP() << "built with libzip";
  const TempFolder folder;
  const std::string what = refusal(folder / "a.zip", [&] { ZipFile(folder / "a.zip"); });
  EXPECT_NE(what.find("built without libzip"), std::string::npos);
}

}  // namespace
}  // namespace uvic::test
