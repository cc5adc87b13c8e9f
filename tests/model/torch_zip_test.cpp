// Archives made by hand around a good pickle: what newer PyTorch adds is tolerated, what does not fit is refused.

#include "model/io/torch_pickle.h"
#include "model/io/zip.h"
#include "tests/check.h"
#include "tests/model/pickle_bytes.h"
#include "tests/model/zip_bytes.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;

class TorchZip : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!ZipFile::supported()) GTEST_SKIP() << "built without libzip";
  }

  std::string why(const std::vector<ZipRecord>& records) {
    write_file(path_, zip_bytes(records));
    return refusal(path_, [&] { TorchFile{path_}; });
  }

  TempFolder folder_;
  const fs::path path_ = folder_ / "z.pth";
  const std::string object_ = kProto + tensor(storage("0", 2), 0, {2}, {1}) + ".";
  const std::string data_ = le(1.5f) + le(2.5f);
};

TEST_F(TorchZip, ToleratesWhatNewerVersionsAdd) {
  write_file(path_, zip_bytes({{"any stem/data.pkl", object_},
                               {"any stem/.format_version", "1"},
                               {"any stem/byteorder", "little"},
                               {"any stem/data/0", data_, 8},
                               {"any stem/data/1", "of no tensor"},
                               {"any stem/.data/serialization_id", "1234"},
                               {"any stem/code/data.pkl", "deeper"}}));
  const TorchFile file(path_);
  EXPECT_EQ(values(*file.root().as<Tensor>()), (std::vector<double>{1.5, 2.5}));
}

TEST_F(TorchZip, RefusesArchivesThatDoNotFit) {
  EXPECT_NE(why({{"a/data.pkl", object_}, {"a/data/0", data_}, {"a/byteorder", "big"}}).find("\"big\""),
            std::string::npos);
  EXPECT_NE(why({{"a/data.pkl", object_}, {"a/data/0", data_}, {"b/data.pkl", object_}}).find("two pickles"),
            std::string::npos);
  EXPECT_NE(why({{"a/data/0", data_}}).find("without a data.pkl"), std::string::npos);
  EXPECT_NE(why({{"a/data.pkl", object_}}).find("is missing"), std::string::npos);
  EXPECT_NE(why({{"a/data.pkl", object_}, {"a/data/0", data_ + "x"}}).find("has 9 bytes"), std::string::npos);
  EXPECT_NE(why({{"a/data.pkl", object_}, {"a/data/0", data_, 0, -1, 1}}), "");
  EXPECT_NE(why({{"a/data.pkl", object_, 0, -1, 1}, {"a/data/0", data_}}), "");
  EXPECT_NE(why({{"a/data.pkl", object_ + "x"}, {"a/data/0", data_}}).find("1 bytes after the pickle"),
            std::string::npos);
  // A bomb: 8 MB of pickle in 8 KB of file.
  const std::string bomb = kProto + "(" + std::string(8 << 20, 'N') + "t.";
  EXPECT_NE(why({{"a/data.pkl", bomb, 8}}).find("at most"), std::string::npos);
}

}  // namespace
}  // namespace uvic::test
