// Captions to contexts: what they are, that any stop and any number of processes give the same bytes, what is refused.

#include "app/encode_text.h"

#include <csignal>
#include <map>

#include "app/data/folder_lock.h"
#include "app/data/latents.h"
#include "tests/app/latent_fixtures.h"
#include "tests/app/program.h"
#include "tests/app/text_fixtures.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;

class EncodeTextTest : public FolderTest {
 protected:
  EncodeTextTest() {
    std::string lines;
    for (int i = 0; i < 9; ++i)
      for (int k = 0; k <= i % 3; ++k)
        lines += concat("class", i % 3, "/img", i, ".jpg#", k, '\t', caption(i, k), '\n');
    write_text(dir_ / "captions.txt", lines);
  }
  static std::string caption(int image, int number) { return concat("photo ", number, " of number ", image); }
  EncodeTextRequest request(const std::string& out) {
    EncodeTextRequest r;
    r.captions = dir_ / "captions.txt";
    r.out = dir_ / out;
    r.text_encoder = tower_;
    r.threads = 1;
    r.shard_mb = 1e-6 * 3 * 2 * 12 * 8 * 4;  // three images a shard, of two captions each on average
    r.progress = Progress::Style::quiet;
    return r;
  }
  std::vector<std::string> arguments(const std::string& out) {
    return {"text", dir_ / "captions.txt", "-o", dir_ / out,   "--text-encoder",
            tower_, "--threads",           "1",  "--shard-mb", concat(request(out).shard_mb)};
  }
  static EncodeTextOutcome encode(const EncodeTextRequest& r) {
    Processes alone{World{}};
    return encode_text(r, alone);
  }
  std::map<std::string, std::string> files_in(const std::string& out) {
    std::map<std::string, std::string> files;
    for (const auto& item : fs::directory_iterator(dir_ / out)) files[item.path().filename()] = read_text(item.path());
    return files;
  }
  fs::path tower_ = write_tower(dir_ / "clip");
};

TEST_F(EncodeTextTest, TrainingReadsThemBesideLatents) {
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    EncodeTextRequest r = request(name_of(dtype));
    r.dtype = dtype;
    const EncodeTextOutcome o = encode(r);
    EXPECT_EQ(o.items, 9);
    EXPECT_EQ(o.encoded, 18);
    EXPECT_EQ(o.cut, 0);
    EXPECT_EQ(o.shards, dtype == DType::f32 ? 3 : 2);
    write_latents(r.out, {.images = 9});
    const auto source = open_latents(r.out.string());
    EXPECT_EQ(source->info().context, Shape({12, 8}));
    EXPECT_EQ(source->info().text_encoder, "clip");
    const double tolerance = dtype == DType::f32 ? 0 : dtype == DType::f16 ? 5e-4 : 4e-3;  // half a step
    EXPECT_CLOSE_MAX(values(source->empty_context()), values(embedded(tower_, {""}).tensor), tolerance);
    const OwnedTensor latent({}, DType::f32, source->info().latent), context({}, DType::f32, {12, 8});
    for (int i = 0; i < 9; ++i) {
      ASSERT_EQ(source->captions(i), 1 + i % 3);
      for (int k = 0; k <= i % 3; ++k) {
        source->read(i, false, k, latent.tensor, context.tensor);
        EXPECT_CLOSE_MAX(values(context.tensor), values(embedded(tower_, {caption(i, k)}).tensor), tolerance);
      }
    }
  }
}

TEST_F(EncodeTextTest, WhateverStoppedItTheNextCallEndsWithTheSameBytes) {
  encode(request("whole"));
  const auto want = files_in("whole");
  ASSERT_EQ(want.size(), 4u);  // three shards and the index
  EncodeTextRequest r = request("out");
  std::sig_atomic_t stop = 1;
  r.stop = &stop;
  EXPECT_TRUE(encode(r).interrupted);
  EXPECT_FALSE(fs::exists(r.out / "text.json"));
  stop = 0;
  EXPECT_FALSE(encode(r).interrupted);
  EXPECT_TRUE(files_in("out") == want);
  EncodeTextOutcome again = encode(r);
  EXPECT_EQ(again.kept, 3);
  EXPECT_EQ(again.encoded, 0);
  fs::resize_file(r.out / "text-000001.safetensors", 100);
  fs::remove(r.out / "text.json");
  again = encode(r);
  EXPECT_EQ(again.kept, 2);
  EXPECT_TRUE(files_in("out") == want);
  write_text(dir_ / "captions.txt", "another\n");
  EXPECT_NE(error_of([&] { encode(r); }).find("captions_sha256"), std::string::npos);
}

TEST_F(EncodeTextTest, ProcessesShareTheShards) {
  if (std::string(UVIC_MPIEXEC).empty()) GTEST_SKIP() << "no MPI";
  encode(request("whole"));
  const Ended done = run_program("uvic-encode", arguments("out"), {.processes = 2});
  EXPECT_EQ(done.status, 0) << done.err;
  EXPECT_NE(done.err.find("done: captions of 9 images in 3 shards, 18 encoded now, 0 of them cut"), std::string::npos)
      << done.err;
  EXPECT_TRUE(files_in("out") == files_in("whole"));
}

TEST_F(EncodeTextTest, LongCaptionsAreCutAndCounted) {
  std::string lines;
  for (int i = 0; i < 8; ++i) lines += concat(i, " one two three four five six seven eight nine ten eleven\n");
  write_text(dir_ / "captions.txt", lines);
  const Ended done = run_program("uvic-encode", arguments("out"));
  EXPECT_EQ(done.status, 0) << done.err;
  EXPECT_NE(done.err.find("loses \"ten eleven\""), std::string::npos) << done.err;
  EXPECT_NE(done.err.find("8 encoded now, 8 of them cut"), std::string::npos) << done.err;
  EXPECT_EQ(done.err.find("\"6 one"), std::string::npos) << done.err;  // a few are named
}

TEST_F(EncodeTextTest, TwoAtATimeWouldWriteTheSameFiles) {
  fs::create_directories(dir_ / "out");
  {
    const FolderLock images(dir_ / "out", "images");
    encode(request("out"));  // beside another kind it may
    const FolderLock text(dir_ / "out", "text");
    EXPECT_NE(error_of([&] { encode(request("out")); }).find("is writing into it"), std::string::npos);
  }
  EXPECT_EQ(encode(request("out")).kept, 3);
  EXPECT_FALSE(fs::exists(dir_ / "out" / "text.lock"));
}

TEST_F(EncodeTextTest, CaptionsThatAreNotUtf8AreCountedAndNamed) {
  write_text(dir_ / "captions.txt", "a dog\ncaf\xe9 au lait\n");
  const Ended done = run_program("uvic-encode", arguments("out"));
  EXPECT_EQ(done.status, 0) << done.err;
  EXPECT_NE(done.err.find("captions.txt: 1 captions are not UTF-8, the first is \"caf\xe9 au lait\""),
            std::string::npos)
      << done.err;
}

TEST_F(EncodeTextTest, UvicInfoShowsAndChecksThem) {
  EncodeTextRequest r = request("out");
  r.dtype = DType::f16;
  encode(r);
  const auto info = [&](std::vector<std::string> more) {
    more.insert(more.begin(), r.out.string());
    return run_program("uvic-info", more);
  };
  const Ended whole = info({"--check", "--json"});
  EXPECT_EQ(whole.status, 0) << whole.err;
  EXPECT_NE(whole.err.find("shards that are whole: 2 of 2"), std::string::npos) << whole.err;
  const auto j = nlohmann::json::parse(whole.out, nullptr, false);
  ASSERT_TRUE(j.is_object() && j.contains("text")) << whole.out;
  EXPECT_EQ(j["text"]["items"], 9);
  EXPECT_EQ(j["text"]["made"]["dtype"], "f16");
  EXPECT_EQ(j["text"]["made"]["text_encoder"], "clip");
  const fs::path shard = r.out / "text-000001.safetensors";
  std::string bytes = read_text(shard);
  bytes[bytes.size() / 2] = static_cast<char>(~bytes[bytes.size() / 2]);
  write_text(shard, bytes);
  EXPECT_EQ(info({}).status, 0);
  const Ended damaged = info({"--check"});
  EXPECT_EQ(damaged.status, 1);
  EXPECT_NE(damaged.err.find(concat("1 of 2 shards are damaged: ", shard.string(), ": context changed")),
            std::string::npos)
      << damaged.err;
  EXPECT_TRUE(failed_clearly(run_program("uvic-info", {dir_ / "clip", "--check"}), "uvic-info", 1,
                             {"no folder of latents or texts, which --check reads"}));
}

TEST_F(EncodeTextTest, WhatCannotBeDoneIsOneLine) {
  EncodeTextRequest r = request("a");
  r.text_encoder = dir_ / "absent";
  EXPECT_EQ(error_of([&] { encode(r); }), (dir_ / "absent").string() + ": no such file or folder");
  r = request("a");
  r.captions = dir_ / "absent.txt";
  EXPECT_EQ(error_of([&] { encode(r); }), (dir_ / "absent.txt").string() + ": no such file of captions");
  RunOptions full;
  full.file_size_limit = 700;
  EXPECT_TRUE(failed_clearly(run_program("uvic-encode", arguments("full"), full), "uvic-encode", 1,
                             {"text-000000.safetensors: cannot write"}));
  EXPECT_TRUE(failed_clearly(run_program("uvic-encode", {"text", dir_ / "captions.txt", "-o", dir_ / "x"}),
                             "uvic-encode", 2, {"--text-encoder"}));
}

}  // namespace
}  // namespace uvic::test
