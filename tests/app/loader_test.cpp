#include <algorithm>
#include <cstring>
#include <set>

#include "app/dataset.h"
#include "app/resize.h"
#include "tests/app/image_fixtures.h"
#include "tests/app/tar_bytes.h"

namespace uvic {
namespace {

using namespace test;

class LoaderTest : public ImageFolderTest {
 protected:
  // 0.tar, 1.tar, ... of so many images with labels; image i of shard s is test_image of seed 20 s + i, or broken.
  std::filesystem::path tar_shards(int shards, int images, const std::set<std::pair<int, int>>& broken = {}) {
    for (int s = 0; s < shards; ++s) {
      std::string tar;
      for (int i = 0; i < images; ++i) {
        const std::string key = concat(s, "-", i);
        tar += tar_entry(key + ".png", broken.contains({s, i}) ? "broken" : png_text(20 * s + i)) +
               tar_entry(key + ".cls", std::to_string((s + i) % 3));
      }
      write_text(dir_ / "shards" / (std::to_string(s) + ".tar"), tar + kTarEnd);
    }
    return dir_ / "shards";
  }
};

TEST(EpochOrderTest, APermutationThatDependsOnSeedAndEpochAlone) {
  for (const int64_t n : {1, 2, 3, 10, 1000}) {
    std::vector<uint32_t> order = epoch_order(5, 3, n);
    EXPECT_EQ(order, epoch_order(5, 3, n));
    if (n >= 10) {
      EXPECT_NE(order, epoch_order(5, 4, n));
      EXPECT_NE(order, epoch_order(6, 3, n));
    }
    std::sort(order.begin(), order.end());
    for (int64_t i = 0; i < n; ++i) EXPECT_EQ(order[static_cast<size_t>(i)], i);
  }
}

TEST(EpochOrderTest, EveryPlaceIsEquallyLikely) {
  // 6000 epochs of 4 images: each of the 24 orders has probability 1/24; chi-square with 23 degrees is above 59 once in
  // 50000 seeds.
  std::map<std::vector<uint32_t>, int> count;
  for (int epoch = 0; epoch < 6000; ++epoch) ++count[epoch_order(1, epoch, 4)];
  ASSERT_EQ(count.size(), 24u);
  double chi = 0;
  for (const auto& [order, n] : count) chi += (n - 250.0) * (n - 250.0) / 250.0;
  EXPECT_LT(chi, 59);
}

TEST(ShardOrderTest, APermutationReadFrontToBackInsideItsWindow) {
  const std::vector<std::vector<uint32_t>> shards{{4, 0, 1}, {}, {2, 5, 3, 9}, {7, 8, 6}};
  std::set<std::vector<uint32_t>> orders;
  for (const int64_t window : {1, 3, 10, 50})
    for (int64_t epoch = 0; epoch < 50; ++epoch) {
      const EpochOrder order = shard_order(5, epoch, shards, window);
      EXPECT_EQ(order.images, shard_order(5, epoch, shards, window).images);
      orders.insert(order.images);
      std::vector<uint32_t> read;
      for (size_t p = 0; p < 10; ++p) {
        EXPECT_LT(static_cast<int64_t>(p), order.reading.at(p) + window);
        read.push_back(order.images.at(order.reading[p]));
      }
      for (auto at = read.begin(); at != read.end();) {  // the shards one by one, each as it lies
        const auto whole = std::find_if(shards.begin(), shards.end(), [&](const auto& s) {
          return !s.empty() && s[0] == *at && std::equal(s.begin(), s.end(), at);
        });
        ASSERT_NE(whole, shards.end());
        at += static_cast<std::ptrdiff_t>(whole->size());
      }
      EXPECT_EQ(std::set<uint32_t>(read.begin(), read.end()).size(), 10u);
      EXPECT_TRUE(window > 1 || order.images == read);
    }
  EXPECT_GT(orders.size(), 100u);  // window 1 has 6 orders; 10 and 50 are the same
}

struct Row {
  int32_t label;
  std::vector<uint8_t> pixels;
  bool operator==(const Row&) const = default;
};
std::string key(const std::vector<uint8_t>& rgb) { return {rgb.begin(), rgb.end()}; }

std::vector<Row> take(const Dataset& data, const DataConfig& config, LoaderOptions options, int batches) {
  BatchLoader loader(data, config, options);
  std::vector<Row> rows;
  for (int k = 0; k < batches; ++k) {
    const Batch batch = loader.next();
    EXPECT_EQ(batch.first_sample, (options.start_step + k) * options.batch_size);
    EXPECT_EQ(batch.pixels.tensor.shape(), (Shape{options.batch_size, options.image_size, options.image_size, 3}));
    const auto* p = batch.pixels.tensor.data<uint8_t>();
    const int64_t bytes = batch.pixels.tensor.numel() / options.batch_size;
    for (int64_t r = 0; r < options.batch_size; ++r)
      rows.push_back({batch.labels[static_cast<size_t>(r)], {p + r * bytes, p + (r + 1) * bytes}});
  }
  EXPECT_GE(loader.wait_seconds(), 0);
  return rows;
}

TEST_F(LoaderTest, RowsDoNotDependOnThreadsBatchSizeCacheOrResuming) {
  const Dataset data(data_at(class_folders(3, 5)));
  for (const std::string crop : {"center", "random"}) {
    DataConfig config = data_at("");
    config.crop = crop;
    const LoaderOptions options{.batch_size = 4, .image_size = 8, .seed = 7};
    const std::vector<Row> want = take(data, config, options, 12);  // 48 rows: more than three epochs
    for (const int workers : {1, 5}) {
      for (const int cache_mb : {0, 1}) {
        config.workers = workers;
        config.cache_mb = cache_mb;
        EXPECT_EQ(take(data, config, options, 12), want);
        EXPECT_EQ(take(data, config, {.batch_size = 12, .image_size = 8, .seed = 7}, 4), want);
        EXPECT_EQ(take(data, config, {.batch_size = 4, .image_size = 8, .seed = 7, .start_step = 5}, 7),
                  std::vector<Row>(want.begin() + 20, want.end()));
      }
    }
    EXPECT_NE(take(data, config, {.batch_size = 4, .image_size = 8, .seed = 8}, 12), want);
  }
}

TEST_F(LoaderTest, ShareOfEveryBatchAndShiftedSamples) {
  const Dataset data(data_at(class_folders(3, 5)));
  const DataConfig config = data_at("");
  const std::vector<Row> want = take(data, config, {.batch_size = 5, .image_size = 8, .seed = 7}, 8);
  const auto row = [&](const Batch& batch, int64_t r) {
    const auto* p = batch.pixels.tensor.data<uint8_t>();
    return Row{batch.labels[static_cast<size_t>(r)], {p + r * 192, p + (r + 1) * 192}};
  };
  BatchLoader some(data, config, {.batch_size = 5, .image_size = 8, .seed = 7, .start_step = 2, .rows = {1, 4}});
  // After 7 samples in two steps: steps of 3 samples from there.
  BatchLoader shifted(data, config, {.batch_size = 3, .image_size = 8, .seed = 7, .start_step = 2, .sample_shift = 1});
  for (int64_t step = 2; step < 8; ++step) {
    const Batch three = some.next(), next = shifted.next();
    EXPECT_EQ(three.first_sample, 5 * step + 1);
    EXPECT_EQ(next.first_sample, 3 * step + 1);
    ASSERT_EQ(three.pixels.tensor.shape(), (Shape{3, 8, 8, 3}));
    for (int64_t r = 0; r < 3; ++r) {
      EXPECT_EQ(row(three, r), want[static_cast<size_t>(5 * step + 1 + r)]);
      EXPECT_EQ(row(next, r), want[static_cast<size_t>(3 * step + 1 + r)]);
    }
  }
  EXPECT_NE(error_of([&] {
              BatchLoader l(data, config, {.batch_size = 5, .image_size = 8, .rows = {3, 6}});
            }).find("rows [3, 6) of a batch of 5"),
            std::string::npos);
}

TEST_F(LoaderTest, ProcessesShareTheRowsOfEachStep) {
  const std::filesystem::path shards = tar_shards(4, 6);
  for (const std::string& path : {class_folders(3, 5).string(), shards.string()}) {
    DataConfig config = data_at(path);
    config.reading = path == shards ? "sequential" : "auto";
    const Dataset data(config);
    const std::vector<Row> want = take(data, config, {.batch_size = 6, .image_size = 8, .seed = 7, .start_step = 2}, 9);
    for (const int size : {2, 3, 4})
      for (int rank = 0; rank < size; ++rank) {
        const Rows rows = Rows{0, 6}.part(rank, size);
        BatchLoader loader(data, config, {.batch_size = 6, .image_size = 8, .seed = 7, .start_step = 2, .rows = rows});
        for (int64_t k = 0; k < 9; ++k) {
          const Batch batch = loader.next();
          const int64_t first = k * 6 + rows.begin;
          EXPECT_EQ(batch.first_sample, 12 + first);
          ASSERT_EQ(batch.pixels.tensor.shape(), (Shape{rows.count(), 8, 8, 3}));
          for (int64_t r = 0; r < rows.count(); ++r) {
            const Row& row = want[static_cast<size_t>(first + r)];
            EXPECT_EQ(batch.labels[static_cast<size_t>(r)], row.label);
            EXPECT_EQ(std::memcmp(batch.pixels.tensor.data<uint8_t>() + r * 192, row.pixels.data(), 192), 0);
          }
        }
      }
  }
}

TEST_F(LoaderTest, ShardsReadFromFrontToBackContinueExactly) {
  DataConfig config = data_at(tar_shards(5, 7));
  config.reading = "sequential";
  config.crop = "random";
  for (const int window : {1, 4, 35, 1000}) {
    config.shuffle_buffer = window;
    const Dataset data(config);
    ASSERT_TRUE(data.sequential());
    config.workers = 1;
    const LoaderOptions options{.batch_size = 4, .image_size = 8, .seed = 7};
    const std::vector<Row> want = take(data, config, options, 24);  // 96 rows of 35 images
    config.workers = 5;
    EXPECT_EQ(take(data, config, options, 24), want);
    for (int64_t step = 1; step < 22; step += 3)
      EXPECT_EQ(take(data, config, {.batch_size = 4, .image_size = 8, .seed = 7, .start_step = step}, 3),
                std::vector<Row>(want.begin() + step * 4, want.begin() + step * 4 + 12));
    // Every epoch holds every image once: its colour tells which it is, however it is cropped.
    config.crop = "center";
    config.random_flip = false;
    const std::vector<Row> rows = take(data, config, {.batch_size = 5, .image_size = 8, .seed = 7}, 14);
    for (size_t epoch = 0; epoch < 2; ++epoch) {
      std::set<std::string> seen;
      for (size_t r = 0; r < 35; ++r) seen.insert(key(rows[epoch * 35 + r].pixels));
      EXPECT_EQ(seen.size(), 35u);
    }
    config.crop = "random";
    config.random_flip = true;
  }
}

TEST_F(LoaderTest, BrokenImagesOfShardsReadFromFrontToBack) {
  DataConfig config = data_at(tar_shards(4, 5, {{1, 2}, {1, 3}, {3, 4}}));
  config.reading = "sequential";
  config.shuffle_buffer = 6;
  config.max_bad_share = 0.15;
  const Dataset data(config);
  const LoaderOptions options{.batch_size = 10, .image_size = 8};
  const std::vector<Row> want = take(data, config, options, 6);
  config.workers = 4;
  EXPECT_EQ(take(data, config, options, 6), want);
  BatchLoader loader(data, config, options);
  for (int k = 0; k < 2; ++k) loader.next();
  EXPECT_EQ(loader.bad_images(), 3);
  EXPECT_NE(loader.bad_examples().at(0).find("1.tar"), std::string::npos) << loader.bad_examples().at(0);
  config.max_bad_share = 0.1;
  BatchLoader strict(data, config, options);
  EXPECT_NE(error_of([&] {
              for (int k = 0; k < 2; ++k) strict.next();
            }).find("3 of 20 images are broken"),
            std::string::npos);
}

TEST_F(LoaderTest, AShardThatDisappearsStopsTheRunWithItsName) {
  DataConfig config = data_at(tar_shards(2, 5));
  config.reading = "sequential";
  const Dataset data(config);
  std::filesystem::remove(dir_ / "shards" / "1.tar");
  BatchLoader loader(data, config, {.batch_size = 10, .image_size = 8});
  const std::string error = error_of([&] { loader.next(); });
  EXPECT_NE(error.find("1.tar: cannot open: No such file"), std::string::npos) << error;
}

TEST_F(LoaderTest, EveryEpochHoldsEveryImageOnceFlippedOrNot) {
  const Dataset data(data_at(class_folders(2, 5)));
  std::map<std::string, int32_t> plain, mirrored;
  for (int64_t i = 0; i < data.size(); ++i) {
    plain[key(data.load(i).rgb)] = data.label(i);
    mirrored[key(flip_horizontally(data.load(i)).rgb)] = data.label(i);
  }
  DataConfig config = data_at("");
  for (const bool flip : {false, true}) {
    config.random_flip = flip;
    const std::vector<Row> rows = take(data, config, {.batch_size = 10, .image_size = 8, .seed = 3}, 20);
    int flips = 0;
    for (size_t epoch = 0; epoch < 20; ++epoch) {
      std::set<std::string> seen;
      for (size_t r = epoch * 10; r < epoch * 10 + 10; ++r) {
        const bool flipped = !plain.contains(key(rows[r].pixels));
        flips += flipped;
        const auto& where = flipped ? mirrored : plain;
        ASSERT_TRUE(where.contains(key(rows[r].pixels)));
        EXPECT_EQ(rows[r].label, where.at(key(rows[r].pixels)));
        seen.insert(key(flipped ? flip_horizontally({8, 8, rows[r].pixels}).rgb : rows[r].pixels));
      }
      EXPECT_EQ(seen.size(), 10u);
    }
    if (flip)
      EXPECT_NEAR(flips, 100, 35);  // five standard deviations
    else
      EXPECT_EQ(flips, 0);
  }
}

TEST_F(LoaderTest, BrokenImagesAreReplacedUpToTheAllowedShare) {
  const std::filesystem::path root = class_folders(2, 5);
  write_text(root / "class0" / "img4.png", png_text(4).substr(0, 60));
  write_text(root / "class1" / "img0.png", "");  // images 4 and 5: the replacement of both is image 6
  const Dataset data(data_at(root));
  DataConfig config = data_at("");
  config.random_flip = false;
  config.max_bad_share = 0.2;
  const LoaderOptions options{.batch_size = 10, .image_size = 8};
  for (const int cache_mb : {0, 1}) {
    config.cache_mb = cache_mb;
    const std::vector<Row> rows = take(data, config, options, 2);
    EXPECT_EQ(std::count(rows.begin(), rows.end(), (Row{1, test_image(8, 8, 11).rgb})), 6);
    EXPECT_EQ(std::count_if(rows.begin(), rows.end(), [](const Row& r) { return r.label == 0; }), 8);
    BatchLoader loader(data, config, options);
    loader.next();
    EXPECT_EQ(loader.bad_images(), 2);
    EXPECT_NE(loader.bad_examples().at(0).find("img4.png"), std::string::npos);
  }
  config.max_bad_share = 0.1;
  BatchLoader loader(data, config, options);
  const std::string error = error_of([&] { loader.next(); });
  EXPECT_NE(error.find("2 of 10 images are broken"), std::string::npos) << error;
  EXPECT_NE(error.find("img4.png"), std::string::npos) << error;
  EXPECT_NE(error.find("img0.png"), std::string::npos) << error;
  EXPECT_EQ(error_of([&] { loader.next(); }), error);  // and it does not hang on a second call
}

TEST_F(LoaderTest, CropsOfTheOtherReferenceLoaders) {
  const Dataset data(data_at(class_folders(1, 4)));
  DataConfig config = data_at("");
  config.random_flip = false;
  config.crop = "coco";
  std::multiset<std::string> got, want;
  for (const Row& row : take(data, config, {.batch_size = 4, .image_size = 5}, 1)) got.insert(key(row.pixels));
  for (int64_t i = 0; i < 4; ++i) want.insert(key(coco_center_crop(data.load(i), 5).rgb));
  EXPECT_TRUE(got == want);

  config.crop = "celeba";
  BatchLoader loader(data, config, {.batch_size = 4, .image_size = 5});
  const std::string error = error_of([&] { loader.next(); });
  EXPECT_NE(error.find("class0/img"), std::string::npos) << error;
  EXPECT_NE(error.find("celeba_crop: an aligned CelebA image has 178 x 218 pixels, got 8 x 8"), std::string::npos);
}

TEST_F(LoaderTest, ADataSetSmallerThanABatchIsRefused) {
  const Dataset data(data_at(class_folders(1, 3)));
  const std::string few = error_of([&] { BatchLoader l(data, data_at(""), {.batch_size = 4, .image_size = 8}); });
  EXPECT_NE(few.find("3 images are fewer than train.batch_size 4"), std::string::npos) << few;
}

TEST_F(LoaderTest, ALoaderMayBeDroppedAtAnyTime) {
  const Dataset data(data_at(class_folders(2, 5)));
  for (int taken = 0; taken < 4; ++taken) {
    DataConfig config = data_at("");
    config.workers = 4;
    take(data, config, {.batch_size = 2, .image_size = 8}, taken);
    config = data_at(tar_shards(3, 40));
    config.reading = "sequential";
    config.shuffle_buffer = 2;
    const Dataset shards(config);
    take(shards, config, {.batch_size = 2, .image_size = 8}, taken);
  }
}

}  // namespace
}  // namespace uvic
