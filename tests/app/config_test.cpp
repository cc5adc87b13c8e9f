#include "app/config.h"

#include <set>

#include "tests/app/image_fixtures.h"

namespace uvic {
namespace {

using namespace test;

RunConfig parse(const std::string& yaml, const std::vector<std::string>& sets = {}) {
  return parse_config(yaml, "c.yaml", sets);
}

TEST(ConfigTest, DefaultsAreTheReleasedCifarRun) {
  const RunConfig c = parse("");
  EXPECT_EQ(c, RunConfig{});
  EXPECT_EQ(c.train.lr, 2e-4);
  EXPECT_EQ(c.train.beta1, 0.99);
  EXPECT_EQ(c.train.weight_decay, 0.03);
  EXPECT_EQ(c.train.batch_size, 128);
}

TEST(ConfigTest, ReadsEveryTypeAndPresetBeforeOverrides) {
  const RunConfig c = parse(
      "model:\n  num_classes: 11\n  null_class: true\n  preset: U-ViT-M/4\n  conv: off\n"
      "data: {path: 'x.tar:train', random_flip: no}\n"
      "train:\n  lr: 1.5e-4\n  max_steps: 70000\n  seed: 18446744073709551615\n  label_drop: 0.1\n"
      "sample:\n");
  EXPECT_EQ(c.preset, "U-ViT-M/4");
  EXPECT_EQ(c.model.embed_dim, 768);
  EXPECT_EQ(c.model.arch, "uvit");
  EXPECT_EQ(c.model.num_classes, 11);
  EXPECT_FALSE(c.model.conv);
  EXPECT_EQ(c.data.path, "x.tar:train");
  EXPECT_FALSE(c.data.random_flip);
  EXPECT_EQ(c.train.lr, 1.5e-4);
  EXPECT_EQ(c.train.max_steps, 70000);
  EXPECT_EQ(c.train.seed, 18446744073709551615u);
  EXPECT_EQ(parse("model: U-ViC-S/2\n").model, preset("U-ViC-S/2"));
}

TEST(ConfigTest, CommandLineWinsAndLists) {
  const RunConfig c = parse("train: {batch_size: 32}\nmodel: {preset: U-ViC-S/2, img_size: 64}\n",
                            {"train.batch_size=48", "train.batch_size=64", "model=U-ViC-mini/4", "data.path=a: b.tar:c",
                             "train.ema_rate=[0.9999, 0.999]", "data.classes=[cat, 'dog house']",
                             "model.attention=[softmax,cog,cog,cog,expressive,cog,cog,cog,softmax]"});
  EXPECT_EQ(c.train.batch_size, 64);
  EXPECT_EQ(c.train.ema_rate, (std::vector<double>{0.9999, 0.999}));
  EXPECT_EQ(parse("train: {ema_rate: 0.5}\n").train.ema_rate, std::vector<double>{0.5});
  EXPECT_EQ(c.model.embed_dim, 256);
  EXPECT_EQ(c.model.img_size, 64);  // the file's override of the preset stays
  EXPECT_EQ(c.data.path, "a: b.tar:c");
  EXPECT_EQ(c.data.classes, (std::vector<std::string>{"cat", "dog house"}));
  ASSERT_EQ(c.model.attention.size(), 9u);
  EXPECT_EQ(c.model.attention[4], AttentionKind::expressive);
}

struct Bad {
  const char* yaml;
  std::vector<std::string> sets;
  const char* message;
};

TEST(ConfigTest, ErrorsSayWhereWhatAndWhatWouldDo) {
  const std::vector<Bad> cases{
      {"data: {}\ntrain:\n  batchsize: 3\n", {}, "c.yaml:3: unknown key 'train.batchsize'; did you mean 'batch_size'?"},
      {"trian: {lr: 1}\n", {}, "c.yaml:1: unknown section 'trian'; did you mean 'train'?"},
      {"model:\n  batch_size: 3\n", {}, "c.yaml:2: unknown key 'model.batch_size'; did you mean 'train.batch_size'?"},
      {"", {"lr=3"}, "--set lr=3: unknown section 'lr'"},
      {"train: 7\n", {}, "c.yaml:1: 'train' is a section: its keys are batch_size, "},
      {"train: {lr: abc}\n", {}, "c.yaml:1: train.lr must be a number in (0, 1], got 'abc'"},
      {"", {"train.lr=abc"}, "--set train.lr=abc: train.lr must be a number in (0, 1], got 'abc'"},
      {"", {"train.lr=0"}, "must be a number in (0, 1], got '0'"},
      {"", {"train.lr=nan"}, "must be a number in (0, 1], got 'nan'"},
      {"", {"train.grad_clip=inf"}, "must be a number >= 0, got 'inf'"},
      {"", {"train.lr="}, "must be a number in (0, 1], got ''"},
      {"", {"train.lr"}, "--set train.lr: must have the form section.key=value"},
      {"", {"train.batch_size=1e3"}, "train.batch_size must be an integer in [1, 1048576], got '1e3'"},
      {"", {"train.batch_size=99999999999999999999"}, "train.batch_size must be an integer in [1, 1048576]"},
      {"", {"train.seed=-1"}, "train.seed must be an integer >= 0, got '-1'"},
      {"", {"train.ema_rate=1"}, "must be a number in [0, 1) or a list of up to 4 such, got '1'"},
      {"", {"train.ema_rate=[0.9, 1]"}, "a list of up to 4 such, got the list [0.9, 1]"},
      {"", {"train.ema_rate=[0.9, 0.99, 0.9]"}, "train.ema_rate has 0.9 twice"},
      {"train:\n\n  lr: [1, 2]\n", {}, "c.yaml:3: train.lr must be a number in (0, 1], got the list [1, 2]"},
      {"train: {lr: {a: 1}}\n", {}, "c.yaml:1: train.lr must be a single value or a list of them"},
      {"train:\n  lr:\n", {}, "c.yaml:2: train.lr has no value"},
      {"train:\n  lr: 1\n  lr: 1\n", {}, "c.yaml:3: key 'train.lr' is given twice, first on line 2"},
      {"train: {}\ndata: {}\ntrain: {}\n", {}, "c.yaml:3: key 'train' is given twice, first on line 1"},
      {"data: {classes: cat}\n", {}, "data.classes must be a list of names, got 'cat'"},
      {"data: {random_flip: 1}\n", {}, "data.random_flip must be true or false, got '1'"},
      {"model: {attention: [sofmax]}\n",
       {},
       "must be a list of kinds, each one of softmax, cog, expressive, got the list [sofmax]"},
      {"model: U-VIC-S/2\n", {}, "c.yaml:1: unknown model 'U-VIC-S/2'; did you mean 'U-ViC-S/2'?"},
      {"diffusion: {schedule: cosin}\n", {}, "diffusion.schedule must be one of vp, vp-cosine, linear, sd, cosine, "},
      {"- 1\n", {}, "c.yaml:1: a config is a map of sections"},
      {"a: [\n", {}, "c.yaml:2: not valid YAML"},
      {"model: {depth: 7}\n", {}, "c.yaml: model.depth must be even, got 7"},
      {"train: {label_drop: 0.1}\n", {}, "c.yaml: train.label_drop is 0.1, which needs model.null_class: true"},
      {"diffusion: {schedule: linear-ztsnr}\n", {}, "c.yaml: sample: sampler dpm++: without any signal at the start"},
      {"model: {in_chans: 4}\n", {}, "c.yaml: model.in_chans is 4: images have 3 channels; data.format: latents"},
      {"model: {clip_dim: 768, num_clip_token: 77}\n", {}, "model.num_clip_token is 77: texts come with data.format"},
      {"train: {init_score: 2}\n", {}, "c.yaml: train.init_score is 2, which needs model.qkv_bias: true"},
      {"train: {batch_size: 4, accumulate: 5}\n", {}, "c.yaml: train.accumulate 5 is more than train.batch_size 4"},
      {"eval: {fid_every: 9}\n", {}, "c.yaml: eval.fid_every is 9, which needs eval.stats"},
      {"eval: {fid_every: 9, stats: a}\nmodel: {num_clip_token: 4, clip_dim: 4}\ndata: {format: latents}\n",
       {},
       "eval.fid_every is 9, which of a text model needs eval.prompts_file"},
      {"sample: {prompts: [a cat]}\n", {}, "c.yaml: sample.prompts is set, but the model takes no text"},
      {"eval: {prompts_file: a}\n", {}, "c.yaml: eval.prompts_file is set, but the model takes no text"},
      {"sample: {cfg_scale: 2}\n", {}, "c.yaml: sample.cfg_scale is 2, which needs model.null_class: true"},
      {"data: {classes: [a, b]}\nmodel: {num_classes: 3}\n", {}, "data.classes names 2 classes, the model has 3"},
      {"data: {classes: [a, b, a]}\n", {}, "data.classes names 'a' twice"},
      {"sample: {steps: 1, order: 2}\n", {}, "sample.order 2 is more than sample.steps 1"},
  };
  for (const Bad& bad : cases) {
    SCOPED_TRACE(bad.yaml);
    const std::string error = error_of([&] { parse(bad.yaml, bad.sets); });
    EXPECT_NE(error.find(bad.message), std::string::npos) << error << "\n  wanted: " << bad.message;
    EXPECT_EQ(error.find('\n'), std::string::npos) << error;
  }
  const std::string error = error_of([] { load_config("/no/such/c.yaml"); });
  EXPECT_NE(error.find("/no/such/c.yaml: cannot open"), std::string::npos) << error;
}

// Changes every field to another value, so that a field left out of the list cannot hide.
TEST(ConfigTest, ADumpReadsBackEqual) {
  RunConfig c = parse("model: U-ViC-mini/4\n");
  EXPECT_EQ(parse(dump_config(c)), c);
  EXPECT_EQ(dump_config(parse(dump_config(c))), dump_config(c));

  RunConfig other = c;
  for (const Field& field : fields(other)) {
    if (auto* const* v = std::get_if<bool*>(&field.value)) **v = !**v;
    if (auto* const* v = std::get_if<double*>(&field.value)) **v = **v * 0.7 + 0.1 / 3;
    if (auto* const* v = std::get_if<std::vector<double>*>(&field.value)) **v = {0.5, 1.0 / 3};
    if (auto* const* v = std::get_if<int64_t*>(&field.value)) **v += 2;
    if (auto* const* v = std::get_if<uint64_t*>(&field.value)) **v = ~uint64_t{5};
    if (auto* const* v = std::get_if<int*>(&field.value)) **v *= 2;
    if (auto* const* v = std::get_if<std::string*>(&field.value))
      **v = field.choices.empty() ? "a \"b\": \\ #c" : field.choices.back();
    if (auto* const* v = std::get_if<std::vector<std::string>*>(&field.value)) **v = {"no", "7", "", "x y"};
  }
  other.model.num_classes = -1;
  other.model.null_class = false;
  other.model.clip_dim = other.model.num_clip_token = 8;  // for prompts
  other.sample.sampler = "sde-dpm++";                     // the last choice, euler-ode, has no order
  other.sample.order = 3;
  other.train.lr = 1e-5 / 3;
  other.model.attention.assign(static_cast<size_t>(other.model.blocks()), AttentionKind::expressive);
  other.preset = "U-ViT-L/2";
  const RunConfig back = parse(dump_config(other));
  RunConfig a = other, b = back;
  const auto fa = fields(a), fb = fields(b);
  EXPECT_EQ(dump_config(back), dump_config(other));
  EXPECT_EQ(back, other);
  EXPECT_EQ(fa.size(), fb.size());
}

TEST(ConfigTest, EveryFieldIsDescribedOnceAndItsDefaultIsAccepted) {
  RunConfig c;
  std::set<std::string> keys;
  const std::string description = describe_config();
  for (const Field& field : fields(c)) {
    EXPECT_TRUE(keys.insert(field.section + "." + field.name).second) << field.name;
    EXPECT_FALSE(field.help.empty()) << field.name;
    EXPECT_NE(description.find("| `" + field.name + "` |"), std::string::npos);
  }
  EXPECT_EQ(parse(dump_config(c)), c);  // ranges are checked on reading
}

TEST(ConfigTest, ShippedFilesAreValid) {
  int files = 0;
  for (const auto& item : std::filesystem::directory_iterator(std::filesystem::path(UVIC_SOURCE_DIR) / "configs")) {
    if (item.path().extension() != ".yaml") continue;
    SCOPED_TRACE(item.path());
    const RunConfig c = load_config(item.path());
    EXPECT_FALSE(c.preset.empty() && c.model == UViCConfig{});
    ++files;
  }
  EXPECT_GE(files, 3);
}

}  // namespace
}  // namespace uvic
