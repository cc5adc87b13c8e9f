// Every program: help, wrong usage, and one clear line for whatever a user can get wrong; uvic-convert and uvic-info.

#include <regex>
#include <sstream>

#include "app/loaded_model.h"
#include "model/io/safetensors.h"
#include "tests/app/program.h"
#include "tests/app/tiny_run.h"
#include "tests/golden_model.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;

const std::vector<std::string> kPrograms{"uvic-train",   "uvic-sample", "uvic-encode",
                                         "uvic-convert", "uvic-info",   "uvic-bench"};

class Programs : public ImageFolderTest {
 protected:
  fs::path model_ = write_random_model(dir_ / "model.safetensors", tiny_model(), {"cat", "dog", "eel"});
  std::string out_ = (dir_ / "out").string();

  fs::path config(const std::function<void(RunConfig&)>& change = {}) {
    RunConfig c = tiny_run(class_folders(3, 5));
    if (change) change(c);
    write_text(dir_ / "run.yaml", dump_config(c));
    return dir_ / "run.yaml";
  }
  ::testing::AssertionResult train_fails(const fs::path& yaml, const std::vector<std::string>& parts,
                                         const std::string& out) {
    return failed_clearly(run_program("uvic-train", {"-c", yaml.string(), "-o", out}), "uvic-train", 1, parts);
  }
  ::testing::AssertionResult sample_fails(std::vector<std::string> arguments, const std::vector<std::string>& parts,
                                          int status = 1) {
    arguments.insert(arguments.end(), {"--steps", "2", "-n", "2", "-o", out_});
    return failed_clearly(run_program("uvic-sample", arguments), "uvic-sample", status, parts);
  }
};

TEST_F(Programs, HelpListsOptionsWithDefaults) {
  for (const std::string& name : kPrograms) {
    const Ended help = run_program(name, {"--help"});
    EXPECT_EQ(help.status, 0);
    EXPECT_EQ(help.err, "");
    EXPECT_NE(help.out.find("Options:"), std::string::npos) << name;
    const Ended version = run_program(name, {"--version"});
    EXPECT_EQ(version.status, 0);
    EXPECT_EQ(version.out, name + " " UVIC_VERSION "\n");
  }
  const std::string sample = run_program("uvic-sample", {"-h"}).out;
  for (const char* shown :
       {"--steps .*\\b20\\b", "--sampler .*=?\\[?dpm\\+\\+", "--cfg-scale .*\\b1\\b", "--batch .*\\b16\\b"})
    EXPECT_TRUE(std::regex_search(sample, std::regex(shown))) << shown;
  const Ended keys = run_program("uvic-train", {"--help-config"});
  EXPECT_EQ(keys.status, 0);
  EXPECT_NE(keys.out.find("| `batch_size` | `128` |"), std::string::npos);
}

TEST_F(Programs, WrongUsageIsStatusTwo) {
  for (const std::string& name : kPrograms)
    EXPECT_TRUE(failed_clearly(run_program(name, {"--no-such-option"}), name, 2, {"see " + name + " --help"}));
  EXPECT_TRUE(failed_clearly(run_program("uvic-train", {}), "uvic-train", 2, {"--config"}));
  EXPECT_TRUE(failed_clearly(run_program("uvic-train", {"-c", config().string()}), "uvic-train", 2, {"--out"}));
  EXPECT_TRUE(failed_clearly(run_program("uvic-sample", {"-m", model_.string()}), "uvic-sample", 2, {"--out"}));
  EXPECT_TRUE(sample_fails({}, {"--model is required"}, 2));
  EXPECT_TRUE(sample_fails({"-m", model_.string(), "--sampler", "dpm+"}, {"--sampler", "dpm++"}, 2));
  EXPECT_TRUE(sample_fails({"-m", model_.string(), "-b", "0"}, {"--batch"}, 2));
  EXPECT_TRUE(sample_fails({"-m", model_.string(), "-s", "1", "--seeds", "1-2"}, {"--seed"}, 2));
}

TEST_F(Programs, TrainNamesWhatIsWrongWithAConfig) {
  const auto fails = [&](const std::string& yaml, const std::vector<std::string>& parts) {
    write_text(dir_ / "bad.yaml", yaml);
    return train_fails(dir_ / "bad.yaml", parts, out_);
  };
  const std::string file = (dir_ / "bad.yaml").string();
  EXPECT_TRUE(fails("train:\n  batchsize: 4\n", {file + ":2: unknown key 'train.batchsize'", "'batch_size'"}));
  EXPECT_TRUE(fails("trian:\n  lr: 1\n", {file + ":2: unknown section 'trian'", "'train'"}));
  EXPECT_TRUE(fails("train:\n  lr: fast\n", {file + ":2: ", "lr", "fast"}));
  EXPECT_TRUE(fails("train:\n  batch_size: 0\n", {file + ":2: ", "in [1, 1048576]"}));
  EXPECT_TRUE(fails("train: [\n", {file + ":"}));
  EXPECT_TRUE(fails("model: U-ViC-S/3\n", {file + ":1: unknown model 'U-ViC-S/3'", "U-ViC-S/2"}));
  EXPECT_TRUE(fails("model:\n  depth: 3\n", {file + ": model.depth must be even, got 3"}));
  EXPECT_TRUE(train_fails(dir_ / "none.yaml", {(dir_ / "none.yaml").string() + ": cannot open: No such file"}, out_));
  const Ended set = run_program("uvic-train", {"-c", config().string(), "-o", out_, "--set", "train.lrr=1"});
  EXPECT_TRUE(failed_clearly(set, "uvic-train", 1, {"--set train.lrr=1", "'lr'"}));
  EXPECT_FALSE(fs::exists(out_));
}

TEST_F(Programs, TrainNamesWhatIsWrongWithItsFolders) {
  EXPECT_TRUE(train_fails(config([&](RunConfig& c) { c.data.path = dir_ / "no-data"; }), {"no-data"}, out_));
  // Root may write anywhere but there.
  EXPECT_TRUE(train_fails(config(), {"/proc/uvic-run"}, "/proc/uvic-run"));
  write_text(dir_ / "file", "");
  EXPECT_TRUE(train_fails(config(), {(dir_ / "file/run").string(), "Not a directory"}, (dir_ / "file/run").string()));
  EXPECT_TRUE(train_fails(config([](RunConfig& c) { c.train.batch_size = 16; }),
                          {"15 images are fewer than train.batch_size 16"}, out_));
  EXPECT_TRUE(train_fails(config([](RunConfig& c) { c.model.num_classes = 11; }),
                          {"has 3 classes, but model.num_classes is 11"}, out_));
}

TEST_F(Programs, TrainSkipsBrokenImagesAndStopsAtTheShare) {
  const fs::path yaml = config([](RunConfig& c) { c.data.max_bad_share = 0.1, c.train.max_steps = 4; });
  write_text(dir_ / "set/class1/img2.png", "not a picture");
  const Ended one = run_program("uvic-train", {"-c", yaml.string(), "-o", out_});
  EXPECT_EQ(one.status, 0) << one.err;
  EXPECT_NE(one.err.find("uvic-train: skipped "), std::string::npos) << one.err;
  EXPECT_NE(one.err.find("img2.png"), std::string::npos) << one.err;
  EXPECT_EQ(metrics_of(out_).back()["bad_images"], 1);
  write_text(dir_ / "set/class2/img0.png", png_text(20).substr(0, 80));
  EXPECT_TRUE(train_fails(yaml, {"2 of 15", "class1/img2.png", "class2/img0.png"}, (dir_ / "out2").string()));
}

TEST_F(Programs, SampleNamesWhatIsWrongWithAModel) {
  const fs::path malformed = reference_dir("uvic") / "malformed";
  int files = 0;
  for (const auto& entry : fs::directory_iterator(malformed)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("control_")) continue;
    EXPECT_TRUE(sample_fails({"-m", entry.path().string()}, {entry.path().string() + ": "})) << name;
    ++files;
  }
  EXPECT_GT(files, 0);
  fs::create_directory(dir_ / "empty");
  EXPECT_TRUE(sample_fails({"-m", (dir_ / "none").string()}, {(dir_ / "none").string() + ": no such file or folder"}));
  EXPECT_TRUE(
      sample_fails({"-m", (dir_ / "empty").string()}, {"neither a model, nor a checkpoint, nor a run with one"}));
  EXPECT_TRUE(sample_fails({"-m", (malformed / "control_valid.pth").string()}, {"not the weights of a U-ViT"}));

  const SafetensorsFile good(model_);
  std::vector<NamedTensor> tensors;
  for (const std::string& name : good.names()) tensors.push_back({name, good.tensor(name)});
  const Tensor norm = good.tensor("norm.weight");
  for (NamedTensor& t : tensors)
    if (t.name == "norm.weight") t.tensor = norm.view({2, norm.numel() / 2});
  write_safetensors(dir_ / "shape.safetensors", tensors, good.metadata());
  EXPECT_TRUE(sample_fails({"-m", (dir_ / "shape.safetensors").string()},
                           {"tensor 'norm.weight' is [2, 8], this model needs [16]"}));
}

TEST_F(Programs, SampleNamesWhatIsWrongWithARequest) {
  const std::string m = model_.string();
  EXPECT_TRUE(sample_fails({"-m", m, "--class", "dgo"}, {"unknown class 'dgo'", "'dog'"}));
  EXPECT_TRUE(sample_fails({"-m", m, "--class", "3"}, {"--class 3: this model has 3 classes, 0 to 2"}));
  EXPECT_TRUE(sample_fails({"-m", m, "--context", m}, {"--context: this model takes no text"}));
  EXPECT_TRUE(sample_fails({"-m", m, "--device", "cuda"}, {"device 'cuda' cannot be used", "--device cpu"}));
  EXPECT_TRUE(sample_fails({"-m", m, "--device", "tpu"}, {"unknown device 'tpu'", "cpu"}));
  EXPECT_TRUE(sample_fails({"-m", m, "--dtype", "f16"}, {"unknown dtype 'f16'", "bf16"}));
  EXPECT_TRUE(sample_fails({"-m", m, "--spacing", "karas"}, {"karas", "karras"}));
  EXPECT_TRUE(sample_fails({"-m", m, "--cfg-scale", "-1"}, {"cfg-scale"}));
  EXPECT_TRUE(sample_fails({"-m", m, "--init-noise", m}, {"one, x_T, is needed"}));
  out_ = "/proc/uvic-out";
  EXPECT_TRUE(sample_fails({"-m", m}, {"/proc/uvic-out"}));
}

TEST_F(Programs, SampleSaysWhatASolverOrGuidanceCannotDo) {
  const std::vector<std::pair<std::vector<std::string>, std::vector<std::string>>> wrong = {
      {{"--order", "3"}, {"order 3 needs at least that many steps, got 2"}},
      {{"--eta", "0.5"}, {"sampler dpm++: takes no eta", "ddim does"}},
      {{"--churn", "8"}, {"takes no churn; heun does"}},
      {{"--cfg-rescale", "0.7"}, {"a cfg-scale of 1 is none"}},
      {{"--cfg-scale", "2", "--cfg-interval", "5", "1"}, {"cfg-interval must be two rising noise levels, got 5 and 1"}},
      {{"--negative-class", "cat"}, {"--negative-class cat is the unconditional side of --cfg-scale"}},
      {{"--cfg-scale", "2", "--negative-class", "cut"}, {"cut", "cat"}},
      {{"--guide-model", "none.safetensors"}, {"none.safetensors"}},
      {{"--variance", "large"}, {"takes no variance; ddpm does"}},
      {{"--bh1"}, {"takes neither bh1 nor eps_form; unipc does"}},
      {{"--final-sigma", "min"}, {"final_sigma min is for ddim"}},
      {{"--mask", "m.png"}, {"--mask says what to paint anew of --init-image, which is missing"}},
      {{"--init-image", "none.png"}, {"none.png"}},
  };
  for (const auto& [options, parts] : wrong) {
    std::vector<std::string> all{"-m", model_.string()};
    all.insert(all.end(), options.begin(), options.end());
    EXPECT_TRUE(sample_fails(all, parts)) << options[0];
  }
  EXPECT_TRUE(sample_fails({"-m", model_.string(), "--interpolate", "1"}, {"--interpolate"}, 2));
  EXPECT_TRUE(sample_fails({"-m", model_.string(), "--interpolate", "4", "--seeds", "1,2,3", "--class", "cat"},
                           {"--interpolate goes between two --seeds, here are 3"}));
}

// The error of every solver against the same solver's kind with many steps falls as steps are added.
TEST_F(Programs, BenchComparesSolvers) {
  const Ended p = run_program("uvic-bench", {"solvers", "--file", model_.string(), "--images", "2", "--threads", "1"});
  ASSERT_EQ(p.status, 0) << p.err;
  std::map<std::string, std::map<int, double>> distance;
  std::istringstream lines(p.out);
  for (std::string line; std::getline(lines, line);) {
    const auto j = nlohmann::json::parse(line);
    distance[j["solver"]][j["evaluations"]] = j["distance"];
  }
  EXPECT_EQ(distance.size(), 10u);
  for (const auto& [solver, of_steps] : distance) EXPECT_LT(of_steps.at(100), 0.5 * of_steps.at(5)) << solver;
  EXPECT_TRUE(failed_clearly(run_program("uvic-bench", {"solvers"}), "uvic-bench", 2, {"--file is required"}));
  EXPECT_TRUE(failed_clearly(run_program("uvic-bench", {"solvers", "--file", "none"}), "uvic-bench", 1, {"none"}));
}

TEST_F(Programs, ConvertReadsEveryReleasedForm) {
  const fs::path folder = reference_dir("uvic");
  const SafetensorsFile golden(folder / "uvic_class_depth2.safetensors");
  for (const char* name : {"uvic_tiny", "uvic_tiny_legacy", "uvic_tiny_half", "uvic_tiny_nested"}) {
    SCOPED_TRACE(name);
    const fs::path in = folder / "checkpoints" / (std::string(name) + ".pth"), out = dir_ / "converted.safetensors";
    const Ended convert = run_program("uvic-convert", {in.string(), out.string(), "--arch", "uvic", "--num-heads", "1",
                                                       "--class-names", "a,b,c,d,e,f,g,h,i,j"});
    ASSERT_EQ(convert.status, 0) << convert.err;
    EXPECT_NE(convert.err.find(in.string() + " -> " + out.string()), std::string::npos);
    const SafetensorsFile got(out);
    const bool half = std::string(name).ends_with("half");
    for (const std::string& tensor : got.names()) {
      const auto a = values(got.tensor(tensor)), b = values(golden.tensor("param/" + tensor));
      for (size_t i = 0; i < b.size(); ++i) ASSERT_NEAR(a[i], b[i], half ? std::abs(b[i]) / 2048 + 3e-8 : 0) << tensor;
    }
    const Ended info = run_program("uvic-info", {out.string(), "--json", "--tensors"});
    const auto j = nlohmann::json::parse(info.out, nullptr, false);
    ASSERT_TRUE(j.is_object()) << info.out << info.err;
    EXPECT_EQ(j["config"]["arch"], "uvic");
    EXPECT_EQ(j["config"]["num_heads"], 1);
    EXPECT_EQ(j["config_inferred"], false);
    EXPECT_EQ(j["tensors"].size(), got.names().size());
    EXPECT_EQ(j["parameters"], std::stoll(golden.metadata().at("numel")));
    EXPECT_NE(run_program("uvic-info", {out.string()}).out.find("class_names"), std::string::npos);
    const Ended sample = run_program(
        "uvic-sample", {"-m", out.string(), "-n", "2", "--steps", "2", "--class", "j", "-o", (dir_ / name).string()});
    EXPECT_EQ(sample.status, 0) << sample.err;
    if (half) continue;
    // The network of the converted file is the released one.
    Context ctx;
    const LoadedModel model = load_model(ctx, out, DType::f32);
    const OwnedTensor x = copy(golden, "in/x", DType::f32), t = copy(golden, "in/t", DType::f32);
    const OwnedTensor y = copy(golden, "in/y", DType::i32);
    Tensor result = ctx.like(x.tensor);
    model.net->forward(ctx, x.tensor, t.tensor, {y.tensor, {}}, result);
    EXPECT_LE(relative_max(values(result), values(copy(golden, "out", DType::f64).tensor)), 1e-5);
  }
}

TEST_F(Programs, ConvertAndInfoRefuseClearly) {
  const std::string in = (reference_dir("uvic") / "checkpoints" / "uvic_tiny.pth").string(),
                    out = (dir_ / "c.safetensors").string();
  const auto fails = [&](const std::string& name, const std::vector<std::string>& arguments,
                         const std::vector<std::string>& parts,
                         int status = 1) { return failed_clearly(run_program(name, arguments), name, status, parts); };
  EXPECT_TRUE(
      fails("uvic-convert", {in, out, "--class-names", "a,b"}, {"--class-names gives 2 names, the model has 10"}));
  EXPECT_TRUE(fails("uvic-convert", {in, out, "--schedule", "cosin"}, {"cosin", "cosine"}));
  EXPECT_TRUE(fails("uvic-convert", {in, out, "--prediction", "noise"}, {"unknown prediction 'noise'"}));
  EXPECT_TRUE(fails("uvic-convert", {in, out, "--arch", "vit"}, {"--arch"}, 2));
  EXPECT_TRUE(fails("uvic-convert", {in, "/proc/c.safetensors"}, {"/proc/c.safetensors: cannot write"}));
  EXPECT_TRUE(fails("uvic-convert", {(dir_ / "none").string(), out}, {"no such file or folder"}));
  EXPECT_TRUE(fails("uvic-info", {(dir_ / "none").string()}, {"no such file or folder"}));
  EXPECT_FALSE(fs::exists(out));
}

}  // namespace
}  // namespace uvic::test
