// What write_safetensors promises when it fails: the old file, or nothing, and an Error that says why.

#include <signal.h>
#include <sys/resource.h>

#include <cstring>

#include "model/io/safetensors.h"
#include "tests/check.h"
#include "tests/model/hostile.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;

TEST(WriteSafetensors, RefusesNamesThatTheFormatCannotHold) {
  const TempFolder folder;
  const fs::path path = folder / "w.safetensors";
  const OwnedTensor t = tensor_of(DType::f32, {1}, {1});
  EXPECT_NE(refusal(path, [&] { write_safetensors(path, {{"a", t.tensor}, {"a", t.tensor}}, {}); }), "");
  EXPECT_NE(refusal(path, [&] { write_safetensors(path, {{"__metadata__", t.tensor}}, {}); }), "");
  EXPECT_NE(refusal(path, [&] { write_safetensors(path, {{"a\xff", t.tensor}}, {}); }), "");
  EXPECT_NE(refusal(path, [&] { write_safetensors(path, {{"a", Tensor(nullptr, DType::f32, {1})}}, {}); }), "");
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

// The size limit of a process stands in for a full disk: the write fails half-way with an errno.
TEST(WriteSafetensors, AFailedWriteKeepsTheOldFile) {
  const TempFolder folder;
  const fs::path path = folder / "w.safetensors";
  const OwnedTensor small = tensor_of(DType::f32, {1}, {1}), large({}, DType::f32, {1 << 16});
  write_safetensors(path, {{"a", small.tensor}}, {});
  const std::string before = read_file(path);

  rlimit old{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
  const rlimit tight{1 << 12, old.rlim_max};
  const auto handler = ::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &tight), 0);
  const std::string what = refusal(path, [&] { write_safetensors(path, {{"a", large.tensor}}, {}); });
  ::setrlimit(RLIMIT_FSIZE, &old);
  ::signal(SIGXFSZ, handler);

  EXPECT_NE(what.find(std::strerror(EFBIG)), std::string::npos) << what;
  EXPECT_EQ(read_file(path), before);
  EXPECT_FALSE(fs::exists(folder / "w.safetensors.tmp"));
}

TEST(WriteSafetensors, AFailedOpenOrRenameLeavesNothingBehind) {
  const TempFolder folder;
  const OwnedTensor t = tensor_of(DType::f32, {1}, {1});
  const fs::path nowhere = folder / "no/such/folder.safetensors";
  EXPECT_NE(refusal(nowhere,
                    [&] {
                      write_safetensors(nowhere, {{"a", t.tensor}}, {});
                    })
                .find(std::strerror(ENOENT)),
            std::string::npos);
  fs::create_directories(folder / "taken/by/a/folder");
  const fs::path taken = folder / "taken";
  EXPECT_NE(refusal(taken,
                    [&] {
                      write_safetensors(taken, {{"a", t.tensor}}, {});
                    })
                .find("something other than a file has this name"),
            std::string::npos);
  EXPECT_FALSE(fs::exists(folder / "taken.tmp"));
}

}  // namespace
}  // namespace uvic::test
