// Latents and texts as training data: shards of uvic-encode, U-ViT's features, and the batches made of them.

#include "app/data/latents.h"

#include <set>

#include "app/dataset.h"
#include "tests/app/latent_fixtures.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;

class LatentsTest : public FolderTest {
 protected:
  struct Read {
    int32_t label;
    std::vector<double> latent, context;
  };
  static Read read(const LatentSource& source, int64_t i, bool flipped = false, int64_t caption = 0) {
    const OwnedTensor latent({}, DType::f32, source.info().latent);
    OwnedTensor context;
    if (source.info().context.rank() > 0) context = OwnedTensor({}, DType::f32, source.info().context);
    const int32_t label = source.read(i, flipped, caption, latent.tensor, context.tensor);
    return {label, values(latent.tensor), context.tensor ? values(context.tensor) : std::vector<double>{}};
  }
  std::string refusal(const fs::path& path) {
    return error_of([&] { open_latents(path.string()); });
  }
  // U-ViT's golden features as a folder: class features, or moments with two captions each.
  fs::path features(bool text) {
    const fs::path from = reference_dir("eval") / "npy", to = dir_ / (text ? "coco/train" : "imagenet");
    fs::create_directories(to);
    const char* by_protocol[] = {"imagenet_feature.npy", "imagenet_feature_p2.npy", "imagenet_feature_p4.npy"};
    for (int i = 0; i < 12; ++i) {
      fs::copy_file(from / (text ? "coco_moments.npy" : by_protocol[i % 3]), to / concat(i, ".npy"));
      for (int k = 0; text && k < 2; ++k) fs::copy_file(from / "coco_context.npy", to / concat(i, '_', k, ".npy"));
    }
    if (text) fs::copy_file(from / "coco_context.npy", dir_ / "coco" / "empty_context.npy");
    write_text(to / "notes.txt", "not a feature");
    return to;
  }
  int folders_ = 0;
};

TEST_F(LatentsTest, ShardsGiveWhatWasWritten) {
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const bool means : {false, true}) {
      SCOPED_TRACE(concat(name_of(dtype), means));
      const fs::path out = dir_ / concat("out", name_of(dtype), means);
      const MadeLatents m{.means = means, .flips = true, .dtype = dtype};
      write_latents(out, m, {{"autoencoder", "ae.pth"}, {"scale_factor", 0.5}});
      const auto source = open_latents(out.string());
      const LatentInfo& info = source->info();
      EXPECT_EQ(source->size(), 12);
      EXPECT_EQ(info.latent, m.latent);
      EXPECT_EQ(info.moments, !means);
      EXPECT_EQ(info.channels(), means ? 4 : 2);
      EXPECT_TRUE(info.flips && info.labels && !info.tiny);
      EXPECT_EQ(info.class_names, (std::vector<std::string>{"class0", "class1", "class2"}));
      EXPECT_EQ(info.autoencoder, "ae.pth");
      EXPECT_EQ(info.scale_factor, 0.5);
      EXPECT_EQ(source->captions(3), 0);
      for (int64_t i = 0; i < 12; ++i)
        for (const bool flipped : {false, true}) {
          const Read got = read(*source, i, flipped);
          EXPECT_EQ(got.label, i % 3);
          EXPECT_EQ(got.latent, values(made_latent(m, i, flipped).tensor));
        }
    }
}

TEST_F(LatentsTest, TextsAreJoinedByNameOrByPlace) {
  const MadeLatents m{.images = 6, .classes = 0};
  MadeTexts texts{.names = {"img5.jpg", "img1.jpg", "img9.jpg", "img0.png", "img3", "img2.JPEG", "img4.jpg"},
                  .dtype = DType::bf16};
  const std::vector<int64_t> text_of{3, 1, 5, 4, 6, 0};
  write_latents(dir_ / "named", m);
  write_texts(dir_ / "named", texts);
  const auto named = open_latents((dir_ / "named").string());
  EXPECT_EQ(named->info().context, Shape({5, 6}));
  EXPECT_EQ(named->info().text_encoder, "tower.safetensors");
  EXPECT_EQ(values(named->empty_context()), values(made_context(texts, -1, 0).tensor));
  texts.names.assign(6, "");
  write_latents(dir_ / "placed", m);
  write_texts(dir_ / "placed", texts);
  const auto placed = open_latents((dir_ / "placed").string());
  for (int64_t i = 0; i < 6; ++i) {
    const int64_t t = text_of[static_cast<size_t>(i)];
    ASSERT_EQ(named->captions(i), texts.captions(t));
    ASSERT_EQ(placed->captions(i), texts.captions(i));
    for (int64_t k = 0; k < texts.captions(t); ++k)
      EXPECT_EQ(read(*named, i, false, k).context, values(made_context(texts, t, k).tensor));
    for (int64_t k = 0; k < texts.captions(i); ++k)
      EXPECT_EQ(read(*placed, i, false, k).context, values(made_context(texts, i, k).tensor));
    EXPECT_EQ(read(*named, i).latent, values(made_latent(m, i, false).tensor));
    EXPECT_EQ(read(*named, i).label, -1);
  }
  texts.names = {"img0", "img2", "img3", "other"};
  write_latents(dir_ / "fewer", m);
  write_texts(dir_ / "fewer", texts);
  EXPECT_NE(refusal(dir_ / "fewer").find("3 of 6 images have no captions, the first is \"img1\""), std::string::npos);
  texts.names.assign(5, "");
  write_latents(dir_ / "five", m);
  write_texts(dir_ / "five", texts);
  EXPECT_NE(refusal(dir_ / "five").find("texts of 5 images, latents of 6"), std::string::npos);
}

// Shards that are whole files, but not of what the index is for.
TEST_F(LatentsTest, TensorsThatDoNotFitAreRefusedByName) {
  const auto refused = [&](const std::string& kind, const std::vector<NamedTensor>& tensors) {
    const fs::path out = dir_ / concat("out", ++folders_);
    write_latents(out, {.images = 2, .classes = 0, .shard = 2});
    if (kind == "images") fs::remove_all(out);
    TensorShardWriter writer(out, {.kind = kind, .items = 2, .items_a_shard = 2, .class_names = {"a"}});
    writer.write(0, {.names = {"img0", "img1"}, .tensors = tensors});
    writer.finish();
    return refusal(out);
  };
  const auto f32 = [](const Shape& shape) { return random_tensor(DType::f32, shape, 1); };
  const OwnedTensor three = f32({3, 4, 8, 8}), two = f32({2, 4, 8, 8}), odd = f32({2, 5, 8, 8}), flat = f32({2, 4}),
                    context = f32({3, 5, 6}), empty = f32({5, 6}), wide = f32({5, 7}), flat3 = f32({3});
  int32_t labels[] = {0, 1}, negative[] = {-1, 0};
  const auto of = [](auto* data, DType dtype, int64_t n) { return Tensor(data, dtype, {n}); };
  const std::string images = "images-000000.safetensors: ", text = "text-000000.safetensors: ";
  EXPECT_NE(refused("images", {{"moments", three.tensor}}).find(images + "tensor \"moments\" is f32 [3, 4, 8, 8]"),
            std::string::npos);
  EXPECT_NE(refused("images", {{"moments", flat.tensor}}).find(images), std::string::npos);
  EXPECT_NE(refused("images", {{"x", two.tensor}}).find(images + "no tensor \"means\""), std::string::npos);
  EXPECT_NE(refused("images", {{"moments", odd.tensor}}).find("moments of 5 channels"), std::string::npos);
  EXPECT_NE(refused("images", {{"moments", two.tensor}, {"labels", of(labels, DType::i32, 2)}})
                .find(images + "labels from 0 to 1 of 1 classes"),
            std::string::npos);
  EXPECT_NE(refused("images", {{"moments", two.tensor}, {"labels", of(negative, DType::i32, 2)}}).find("from -1 to 0"),
            std::string::npos);
  EXPECT_NE(refused("images", {{"moments", two.tensor}, {"labels", of(labels, DType::i32, 1)}}).find("labels i32 [1]"),
            std::string::npos);
  EXPECT_NE(refused("images", {{"moments", two.tensor}, {"labels", f32({2}).tensor}}).find(images + "labels f32 [2]"),
            std::string::npos);
  int64_t good[] = {0, 1, 3}, none[] = {0, 3, 3}, past[] = {0, 1, 4};
  for (int64_t* begin : {none, past})
    EXPECT_NE(
        refused("text",
                {{"context", context.tensor}, {"begin", of(begin, DType::i64, 3)}, {"empty_context", empty.tensor}})
            .find(text + "begin does not divide the captions among the images"),
        std::string::npos);
  EXPECT_NE(refused("text",
                    {{"context", context.tensor}, {"begin", of(good, DType::i64, 2)}, {"empty_context", empty.tensor}})
                .find(text + "begin i64 [2]"),
            std::string::npos);
  EXPECT_NE(refused("text", {{"context", context.tensor}, {"begin", flat3.tensor}, {"empty_context", empty.tensor}})
                .find(text + "begin f32 [3]"),
            std::string::npos);
  EXPECT_NE(
      refused("text", {{"context", context.tensor}, {"begin", of(good, DType::i64, 3)}, {"empty_context", wide.tensor}})
          .find("empty_context is [5, 7]"),
      std::string::npos);
  EXPECT_NE(refusal(dir_ / "absent").find("no such folder"), std::string::npos);
  EXPECT_NE(refusal(dir_).find("neither latents of uvic-encode (images.json) nor U-ViT's features"), std::string::npos);
}

TEST_F(LatentsTest, FeaturesOfUViTAreReadAsTheyAre) {
  const SafetensorsFile expected(reference_dir("eval") / "npy" / "expected.safetensors");
  const auto classes = open_latents(features(false).string());
  ASSERT_EQ(classes->size(), 12);
  EXPECT_EQ(classes->info().latent, Shape({8, 4, 4}));
  EXPECT_TRUE(classes->info().moments && classes->info().labels && !classes->info().flips);
  for (int64_t i = 0; i < 12; ++i) {
    const Read got = read(*classes, i);
    EXPECT_EQ(got.latent, values(expected.tensor("imagenet_feature.npy/moments")));
    EXPECT_EQ(got.label, at(expected.tensor("imagenet_feature.npy/label"), 0));
  }
  const auto text = open_latents(features(true).string());
  ASSERT_EQ(text->size(), 12);
  EXPECT_FALSE(text->info().labels);
  EXPECT_EQ(text->info().context, Shape({77, 6}));
  EXPECT_EQ(text->captions(7), 2);
  EXPECT_EQ(values(text->empty_context()), values(expected.tensor("coco_context.npy")));
  EXPECT_EQ(read(*text, 3, false, 1).latent, values(expected.tensor("coco_moments.npy")));
  EXPECT_EQ(read(*text, 3, false, 1).context, values(expected.tensor("coco_context.npy")));

  const fs::path coco = dir_ / "coco" / "train";
  fs::remove(dir_ / "coco" / "empty_context.npy");
  EXPECT_NE(refusal(coco).find("empty_context.npy: is missing, and so is "), std::string::npos);
  fs::rename(coco / "4_0.npy", coco / "40_0.npy");
  fs::remove(coco / "4_1.npy");
  EXPECT_NE(refusal(coco).find("4.npy has no 4_0.npy"), std::string::npos);
  fs::copy_file(reference_dir("eval") / "npy" / "bad_pickle_global.npy", dir_ / "imagenet" / "0.npy",
                fs::copy_options::overwrite_existing);
  EXPECT_NE(refusal(dir_ / "imagenet").find("0.npy: pickle: global \"builtins eval\" is not allowed"),
            std::string::npos);
}

TEST_F(LatentsTest, BatchesFollowTheEpochsOrderWhateverTheThreads) {
  const MadeLatents m{.flips = true};
  write_latents(dir_ / "out", m);
  const auto source = open_latents((dir_ / "out").string());
  for (const bool choose : {false, true}) {
    DataConfig config = latents_at(dir_ / "out");
    config.random_flip = choose;
    const int64_t samples = choose ? 12 : 24;
    std::set<std::vector<double>> seen;
    int flipped = 0;
    for (const int workers : {1, 4}) {
      config.workers = workers;
      BatchLoader loader(*source, config, {.batch_size = 4, .seed = 9, .start_step = 2});
      for (int64_t step = 2; step < 2 + 2 * samples / 4; ++step) {
        const Batch batch = loader.next();
        EXPECT_EQ(batch.first_sample, 4 * step);
        for (int64_t row = 0; row < 4; ++row) {
          const int64_t g = 4 * step + row;
          const uint32_t at = epoch_order(9, g / samples, samples)[static_cast<size_t>(g % samples)];
          const int64_t image = choose ? at : at / 2;
          const std::vector<double> got = values(batch.latents.tensor.rows(row, row + 1));
          const bool mirrored = got == values(made_latent(m, image, true).tensor);
          EXPECT_TRUE(mirrored || got == values(made_latent(m, image, false).tensor));
          EXPECT_TRUE(choose || mirrored == (at % 2 == 1));
          EXPECT_EQ(batch.labels[static_cast<size_t>(row)], image % 3);
          seen.insert(got);
          flipped += mirrored;
        }
      }
    }
    EXPECT_TRUE(choose || seen.size() == 24) << "each image and its mirror image";
    EXPECT_NEAR(flipped, 2 * samples, samples);  // of four epochs' samples
  }
  DataConfig config = latents_at(dir_ / "plain");
  config.random_flip = true;
  write_latents(dir_ / "plain", {});
  const auto plain = open_latents((dir_ / "plain").string());
  EXPECT_NE(error_of([&] { BatchLoader(*plain, config, {.batch_size = 4}); }).find("data.random_flip is true"),
            std::string::npos);
  EXPECT_NE(error_of([&] { BatchLoader(*source, config, {.batch_size = 13}); }).find("12 images are fewer"),
            std::string::npos);
}

TEST_F(LatentsTest, EveryCaptionHasItsTurn) {
  const MadeTexts texts{.names = std::vector<std::string>(12)};
  write_latents(dir_ / "out", {.classes = 0});
  write_texts(dir_ / "out", texts);
  const auto source = open_latents((dir_ / "out").string());
  BatchLoader loader(*source, latents_at(dir_ / "out"), {.batch_size = 12, .seed = 3});
  std::map<std::pair<int64_t, int64_t>, int> count;
  constexpr int kEpochs = 300;
  for (int epoch = 0; epoch < kEpochs; ++epoch) {
    const Batch batch = loader.next();
    for (int64_t row = 0; row < 12; ++row) {
      const uint32_t i = epoch_order(3, epoch, 12)[static_cast<size_t>(row)];
      for (int64_t k = 0; k < texts.captions(i); ++k)
        count[{i, k}] += values(batch.context.tensor.rows(row, row + 1)) == values(made_context(texts, i, k).tensor);
    }
  }
  ASSERT_EQ(count.size(), 24u);
  for (const auto& [which, n] : count) {
    const double p = 1.0 / static_cast<double>(texts.captions(which.first));
    EXPECT_NEAR(n, kEpochs * p, 5 * std::sqrt(kEpochs * p * (1 - p))) << which.first << ' ' << which.second;
  }
}

TEST_F(LatentsTest, ABrokenFeatureIsReplacedAndCounted) {
  const fs::path folder = features(false);
  write_text(folder / "5.npy", "words");
  const auto source = open_latents(folder.string());
  DataConfig config = latents_at(folder);
  config.max_bad_share = 0.1;
  BatchLoader loader(*source, config, {.batch_size = 12});
  EXPECT_EQ(loader.next().labels.size(), 12u);
  EXPECT_EQ(loader.bad_images(), 1);
  EXPECT_NE(loader.bad_examples().at(0).find("5.npy: truncated NumPy array"), std::string::npos)
      << loader.bad_examples().at(0);
  config.max_bad_share = 0;
  BatchLoader strict(*source, config, {.batch_size = 12});
  EXPECT_NE(error_of([&] { strict.next(); }).find("5.npy"), std::string::npos);
}

// Whatever made it: one such latent would end the run some steps later, without a name.
TEST_F(LatentsTest, ANumberThatIsNotFiniteIsABrokenLatent) {
  const MadeLatents m{.images = 12, .shard = 12};
  write_latents(dir_ / "out", m);
  const fs::path shard = dir_ / "out" / "images-000000.safetensors";
  std::string bytes = read_text(shard);
  const OwnedTensor latent = made_latent(m, 7, false);
  const size_t at = bytes.find(std::string(static_cast<const char*>(latent.tensor.raw()), latent.tensor.bytes()));
  ASSERT_NE(at, std::string::npos);
  const float nan = std::nanf("");
  std::memcpy(&bytes[at + 40], &nan, sizeof nan);
  write_text(shard, bytes);
  const auto source = open_latents((dir_ / "out").string());
  DataConfig config = latents_at(dir_ / "out");
  config.max_bad_share = 0.1;
  BatchLoader loader(*source, config, {.batch_size = 12});
  loader.next();
  ASSERT_EQ(loader.bad_images(), 1);
  EXPECT_EQ(loader.bad_examples().at(0), shard.string() + ", image 7: a number is not finite");
}

}  // namespace
}  // namespace uvic::test
