#include "app/companion_files.h"

#include <fstream>

#include "tests/check.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;

class CompanionFilesTest : public ::testing::Test {
 protected:
  CompanionFilesTest() {
    fs::remove_all(folder);
    fs::create_directories(folder / "run" / "step-00000010");
    touch("run/step-00000010/model.safetensors");
  }
  ~CompanionFilesTest() override { fs::remove_all(folder); }

  void touch(const fs::path& name) const { std::ofstream(folder / name) << 'x'; }
  CompanionSearch search(const fs::path& model) const {
    return {"autoencoder", "--autoencoder", {}, folder / model, {}, {"ae.pth", "vae/"}};
  }
  const fs::path folder = fs::path(::testing::TempDir()) / "uvic_companions";
};

TEST_F(CompanionFilesTest, FindsWhatLiesBesideTheModel) {
  for (const char* model : {"run/step-00000010/model.safetensors", "run/step-00000010", "run/step-00000010/"}) {
    SCOPED_TRACE(model);
    touch("run/ae.pth");
    EXPECT_EQ(find_companion(search(model)), folder / "run" / "ae.pth");
    touch("run/step-00000010/ae.pth");
    EXPECT_EQ(find_companion(search(model)), folder / "run" / "step-00000010" / "ae.pth");
    fs::remove(folder / "run" / "step-00000010" / "ae.pth");
  }
}

TEST_F(CompanionFilesTest, AFolderIsWantedWhereTheNameEndsInASlash) {
  touch("run/vae");
  EXPECT_NE(error_of([&] { find_companion(search("run")); }).find("is missing"), std::string::npos);
  fs::remove(folder / "run" / "vae");
  fs::create_directories(folder / "run" / "vae");
  EXPECT_EQ(find_companion(search("run")), folder / "run" / "vae/");
}

TEST_F(CompanionFilesTest, TheOptionComesFirstThenTheRecordedPath) {
  touch("run/ae.pth");
  touch("run/other.pth");
  touch("third.pth");
  CompanionSearch s = search("run");
  s.recorded = "other.pth";
  EXPECT_EQ(find_companion(s), folder / "run" / "other.pth");
  s.recorded = (folder / "third.pth").string();
  EXPECT_EQ(find_companion(s), folder / "third.pth");
  s.recorded = "gone.pth";
  EXPECT_EQ(find_companion(s), folder / "run" / "ae.pth");
  s.given = folder / "third.pth";
  EXPECT_EQ(find_companion(s), folder / "third.pth");
  s.given = folder / "fourth.pth";
  EXPECT_EQ(error_of([&] { find_companion(s); }),
            "--autoencoder " + (folder / "fourth.pth").string() + ": no such file or folder");
}

TEST_F(CompanionFilesTest, SaysWhereItLooked) {
  CompanionSearch s = search("run/step-00000010/model.safetensors");
  s.recorded = "x/ae.pth";
  const std::string step = (folder / "run" / "step-00000010").string(), run = (folder / "run").string();
  try {
    find_companion(s);
    FAIL() << "no Error was thrown";
  } catch (const Error& e) {
    EXPECT_EQ(e.what(), s.model.string() + ": its autoencoder is missing; looked for " + step + "/x/ae.pth, " + run +
                            "/x/ae.pth, x/ae.pth; in " + step + " and " + run + " for ae.pth, vae/");
    EXPECT_EQ(e.hint(), "give it with --autoencoder");
  }
}

}  // namespace
}  // namespace uvic::test
