// Images to latents: what they are, that any stop and any number of processes give the same bytes, and what is refused.

#include "app/encode_images.h"

#include <csignal>
#include <cstdlib>

#include "app/data/latents.h"
#include "app/dataset.h"
#include "app/resize.h"
#include "kernels/ops/pointwise.h"
#include "tests/app/latent_fixtures.h"
#include "tests/app/program.h"
#include "tests/model/autoencoder_fixtures.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;

class EncodeImagesTest : public ImageFolderTest {
 protected:
  // A KL autoencoder of three levels, so of factor 4, with generated weights.
  EncodeImagesTest() {
    write_safetensors(dir_ / "ae.safetensors", generated_tiny_b().tensors, {});
    for (const char* name : {"OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM",
                             "OMPI_MCA_rmaps_base_oversubscribe", "OMPI_MCA_mpi_yield_when_idle"})
      ::setenv(name, "1", 1);
    ::setenv("ASAN_OPTIONS", "detect_leaks=0", 0);
  }
  EncodeImagesRequest request(const fs::path& data, const std::string& out) {
    EncodeImagesRequest r;
    r.data = data_at(data);
    r.out = dir_ / out;
    r.autoencoder = dir_ / "ae.safetensors";
    r.size = 16;
    r.threads = 1;
    r.shard_mb = 1e-6 * 3 * row_bytes();  // three images a shard
    r.progress = Progress::Style::quiet;
    return r;
  }
  static EncodeOutcome encode(const EncodeImagesRequest& r) {
    Processes alone{World{}};
    return encode_images(r, alone);
  }
  double row_bytes() {
    const auto autoencoder = Autoencoder::load(dir_ / "ae.safetensors");
    return static_cast<double>(2 * autoencoder->latent_channels() * 4 * 4 * 4);
  }
  std::vector<std::string> arguments(const fs::path& data, const std::string& out) {
    return {"images", data, "-o",        dir_ / out, "--autoencoder", dir_ / "ae.safetensors",
            "--size", "16", "--threads", "1",        "--shard-mb",    concat(1e-6 * 3 * row_bytes())};
  }
  std::map<std::string, std::string> files_in(const std::string& out) {
    std::map<std::string, std::string> files;
    for (const auto& item : fs::directory_iterator(dir_ / out)) files[item.path().filename()] = read_text(item.path());
    return files;
  }
};

TEST_F(EncodeImagesTest, LatentsAreTheAutoencodersOfCroppedImages) {
  fs::path root = class_folders(2, 4);
  write_text(root / "class0" / "bad.png", "words");
  write_text(root / "class1" / "wide.png", [] {
    Image image = test_image(50, 37, 3);
    const std::vector<uint8_t> png = encode_png(image.tensor());
    return std::string(png.begin(), png.end());
  }());
  Context ctx({.threads = 1});
  const auto autoencoder = Autoencoder::load(dir_ / "ae.safetensors");
  const int64_t c = autoencoder->latent_channels();
  for (const bool means : {false, true})
    for (const char* crop : {"center", "coco"}) {
      SCOPED_TRACE(concat(crop, means));
      EncodeImagesRequest r = request(root, concat("out", crop, means));
      r.flip = true;
      r.means = means;
      r.data.crop = crop;
      r.dtype = means ? DType::bf16 : DType::f32;
      const EncodeOutcome o = encode(r);
      EXPECT_EQ(o.items, 9);
      EXPECT_EQ(o.left_out, 1);
      EXPECT_FALSE(o.interrupted);
      const auto source = open_latents(r.out.string());
      ASSERT_EQ(source->size(), 9);
      EXPECT_TRUE(source->info().flips);
      EXPECT_EQ(source->info().moments, !means);
      EXPECT_EQ(source->info().class_names, (std::vector<std::string>{"class0", "class1"}));
      EXPECT_EQ(source->info().autoencoder, "ae.safetensors");
      EXPECT_EQ(source->info().scale_factor, 0.18215);
      const Dataset data(r.data);
      const std::vector<std::string> names = TensorShards(r.out, "images").names();
      for (int64_t i = 0, row = 0; i < data.size(); ++i) {
        if (data.name(i) == "class0/bad.png") continue;
        EXPECT_EQ(names[static_cast<size_t>(row)], fs::path(data.name(i)).replace_extension());
        Image image =
            crop == std::string("coco") ? coco_center_crop(data.load(i), 16) : center_crop_arr(data.load(i), 16);
        for (const bool flipped : {false, true}) {
          if (flipped) image = flip_horizontally(image);
          const OwnedTensor x({}, DType::f32, {1, 3, 16, 16}), want({}, DType::f32, {1, 2 * c, 4, 4}),
              got({}, DType::f32, source->info().latent), stored({}, r.dtype, source->info().latent);
          pixels_to_image(ctx, image.tensor().view({1, 16, 16, 3}), x.tensor);
          autoencoder->encode(ctx, x.tensor, want.tensor);
          EXPECT_EQ(source->read(row, flipped, 0, got.tensor, {}), data.label(i));
          cast(ctx, want.tensor.view({2 * c, 4, 4}).rows(0, means ? c : 2 * c), stored.tensor);
          EXPECT_EQ(values(got.tensor), values(stored.tensor)) << data.name(i);
        }
        ++row;
      }
    }
}

TEST_F(EncodeImagesTest, WhateverStoppedItTheNextCallEndsWithTheSameBytes) {
  const fs::path root = class_folders(2, 5);
  write_text(root / "class1" / "bad.png", "words");
  encode(request(root, "whole"));
  const auto want = files_in("whole");
  ASSERT_EQ(want.size(), 5u);  // four shards and the index
  EncodeImagesRequest r = request(root, "out");
  std::sig_atomic_t stop = 1;
  r.stop = &stop;
  EXPECT_TRUE(encode(r).interrupted);
  EXPECT_FALSE(fs::exists(r.out / "images.json"));
  stop = 0;
  EXPECT_FALSE(encode(r).interrupted);
  EXPECT_TRUE(files_in("out") == want);
  EXPECT_EQ(encode(r).kept, 4);
  EXPECT_TRUE(files_in("out") == want);
  fs::resize_file(r.out / "images-000001.safetensors", 100);
  fs::remove(r.out / "images-000002.safetensors");
  fs::remove(r.out / "images.json");
  EXPECT_EQ(encode(r).kept, 2);
  EXPECT_TRUE(files_in("out") == want);
  r.size = 20;
  EXPECT_NE(error_of([&] { encode(r); }).find("(size 16, here 20; "), std::string::npos);
}

TEST_F(EncodeImagesTest, KilledItGoesOn) {
  const fs::path root = class_folders(3, 12);
  encode(request(root, "whole"));
  const fs::path out = dir_ / "out";
  fs::create_directories(out);
  int kills = 0;
  for (int round = 1; round <= 4; ++round) {
    Program program("uvic-encode", arguments(root, "out"));
    wait_until(program, out, [&] { return fs::exists(out / concat("images-00000", 2 * round, ".safetensors")); });
    program.signal(round % 2 ? SIGKILL : SIGINT);
    const int status = program.wait().status;
    EXPECT_TRUE(status == 0 || status == (round % 2 ? 128 + SIGKILL : 130)) << status;
    kills += status != 0;
  }
  EXPECT_GT(kills, 0);
  const Ended done = run_program("uvic-encode", arguments(root, "out"));
  EXPECT_EQ(done.status, 0) << done.err;
  EXPECT_NE(done.err.find("kept "), std::string::npos);
  EXPECT_TRUE(files_in("out") == files_in("whole"));
}

TEST_F(EncodeImagesTest, ProcessesShareTheShards) {
  if (std::string(UVIC_MPIEXEC).empty()) GTEST_SKIP() << "no MPI";
  const fs::path root = class_folders(2, 8);
  encode(request(root, "whole"));
  std::vector<std::string> all{"-n", "2", std::string(UVIC_BIN_DIR) + "/uvic-encode"};
  for (const std::string& a : arguments(root, "out")) all.push_back(a);
  const Ended done = run_program(UVIC_MPIEXEC, all);
  EXPECT_EQ(done.status, 0) << done.err;
  EXPECT_NE(done.err.find("done: 16 images in 6 shards"), std::string::npos) << done.err;
  EXPECT_TRUE(files_in("out") == files_in("whole"));
}

TEST_F(EncodeImagesTest, WhatCannotBeDoneIsOneLine) {
  const fs::path root = class_folders(1, 2);
  const auto fails = [&](std::vector<std::string> more, int status, const std::vector<std::string>& parts) {
    std::vector<std::string> all = arguments(root, "out");
    all.insert(all.end(), more.begin(), more.end());
    return failed_clearly(run_program("uvic-encode", all), "uvic-encode", status, parts);
  };
  EXPECT_TRUE(failed_clearly(run_program("uvic-encode", {"images", root, "-o", dir_ / "x"}), "uvic-encode", 2,
                             {"--autoencoder"}));
  EncodeImagesRequest r = request(root, "a");
  r.size = 18;
  EXPECT_EQ(error_of([&] { encode(r); }), "--size 18: must be a multiple of 4, for this autoencoder");
  r = request(root, "a");
  r.autoencoder = dir_ / "absent.pth";
  EXPECT_NE(error_of([&] { encode(r); }).find("absent.pth"), std::string::npos);
  r = request(dir_ / "nowhere", "a");
  EXPECT_NE(error_of([&] { encode(r); }).find("nowhere: no such file or folder"), std::string::npos);
  EXPECT_TRUE(fails({"--store", "f16"}, 2, {"--store"}));
  RunOptions full;
  full.file_size_limit = 700;
  EXPECT_TRUE(failed_clearly(run_program("uvic-encode", arguments(root, "full"), full), "uvic-encode", 1,
                             {"images-000000.safetensors: cannot write"}));
  EXPECT_FALSE(fs::exists(dir_ / "full" / "images-000000.safetensors"));
  write_text(dir_ / "broken" / "a" / "1.png", "x");
  EXPECT_NE(error_of([&] { encode(request(dir_ / "broken", "none")); }).find("every image is broken"),
            std::string::npos);
}

}  // namespace
}  // namespace uvic::test
