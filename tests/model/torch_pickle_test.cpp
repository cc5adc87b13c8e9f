// PyTorch's files: the golden checkpoints hold what they should, and nothing hostile is believed.

#include "model/io/torch_pickle.h"

#include <nlohmann/json.hpp>

#include "model/io/zip.h"
#include "tests/check.h"
#include "tests/model/hostile.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

fs::path checkpoints() { return reference_dir("uvic") / "checkpoints"; }

bool is_zip(const fs::path& path) { return read_file(path).starts_with("PK"); }

std::vector<double> doubles(Tensor t) {
  OwnedTensor d({}, DType::f64, t.shape());
  convert(t, d.tensor);
  return values(d.tensor);
}

double rounded_to_half(double x) {
  if (x == 0) return x;
  const double ulp = std::ldexp(1, std::max(std::ilogb(x), -14) - 10);
  return std::nearbyint(x / ulp) * ulp;
}

// Reads every byte of every tensor, so that a bad pointer is met here.
size_t touch(const TorchValue& v) {
  size_t sum = 0;
  if (const auto* t = v.as<Tensor>())
    for (const char c : bytes_of(*t)) sum += static_cast<unsigned char>(c);
  if (const auto* list = v.as<TorchValue::List>())
    for (const TorchValue* item : list->items) sum += touch(*item);
  if (const auto* dict = v.as<TorchValue::Dict>())
    for (const auto& item : dict->items) sum += touch(*item.second);
  return sum;
}

class TorchGolden : public ::testing::Test {
 protected:
  static bool readable(const fs::path& path) { return ZipFile::supported() || !is_zip(path); }
};

TEST_F(TorchGolden, OnlyTheControlsOfTheMalformedFilesLoad) {
  if (!ZipFile::supported()) GTEST_SKIP() << "built without libzip";
  expect_only_controls_load(reference_dir("uvic") / "malformed", ".pth",
                            [](const fs::path& p) { touch(TorchFile(p).root()); });
}

TEST_F(TorchGolden, ControlsHoldTheSameInBothFormats) {
  if (!ZipFile::supported()) GTEST_SKIP() << "built without libzip";
  const fs::path folder = reference_dir("uvic") / "malformed";
  int pairs = 0;
  for (const fs::path& path : golden_files(folder, "control_", ".pth")) {
    const fs::path twin = fs::path(path).replace_extension(".safetensors");
    if (!fs::exists(twin)) continue;
    ++pairs;
    const SafetensorsFile want(twin);
    const TorchFile file(path);
    const auto got = state_dict(file.root());
    EXPECT_EQ(got.size(), want.names().size());
    for (const NamedTensor& t : got) {
      EXPECT_EQ(t.tensor.shape(), want.tensor(t.name).shape()) << t.name;
      EXPECT_EQ(doubles(t.tensor), doubles(want.tensor(t.name))) << t.name;
    }
  }
  EXPECT_GT(pairs, 0);
}

TEST_F(TorchGolden, ViewsBecomeContiguous) {
  const SafetensorsFile want(checkpoints() / "views_expected.safetensors");
  for (const fs::path& path : golden_files(checkpoints(), "views", ".pth")) {
    if (!readable(path)) continue;
    SCOPED_TRACE(path);
    const TorchFile file(path);
    const auto got = state_dict(file.root());
    EXPECT_EQ(got.size(), want.names().size());
    std::vector<DType> dtypes;
    for (const NamedTensor& t : got) {
      EXPECT_EQ(t.tensor.shape(), want.tensor(t.name).shape()) << t.name;
      EXPECT_EQ(doubles(t.tensor), doubles(want.tensor(t.name))) << t.name;
      EXPECT_FALSE(t.tensor.empty()) << t.name;
      dtypes.push_back(t.tensor.dtype());
    }
    for (const DType d :
         {DType::f64, DType::f32, DType::f16, DType::bf16, DType::i64, DType::i32, DType::u8, DType::boolean})
      EXPECT_TRUE(std::find(dtypes.begin(), dtypes.end(), d) != dtypes.end()) << d;
  }
}

TEST_F(TorchGolden, ModelsEqualTheSafetensorsFile) {
  const SafetensorsFile want(reference_dir("uvic") / "uvic_class_depth2.safetensors");
  const json order = json::parse(want.metadata().at("param_order"));
  for (const fs::path& path : golden_files(checkpoints(), "uvic_tiny", ".pth")) {
    if (!readable(path)) continue;
    SCOPED_TRACE(path);
    const bool half = path.stem().string().ends_with("_half");
    const TorchFile file(path);
    const auto got = state_dict(file.root());
    ASSERT_EQ(got.size(), order.size());
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(got[i].name, order[i]);
      const Tensor truth = want.tensor("param/" + got[i].name);
      EXPECT_EQ(got[i].tensor.dtype(), half ? DType::f16 : DType::f32);
      EXPECT_EQ(got[i].tensor.shape(), truth.shape()) << got[i].name;
      std::vector<double> values = doubles(truth);
      if (half) std::transform(values.begin(), values.end(), values.begin(), rounded_to_half);
      EXPECT_EQ(doubles(got[i].tensor), values) << got[i].name;
    }
    if (path.stem().string().ends_with("_nested")) {
      const TorchValue* step = file.root().find("step");
      ASSERT_TRUE(step && step->as<int64_t>());
      EXPECT_EQ(*step->as<int64_t>(), 5);
    }
  }
}

// Rows of expected/*: first element, last element, sum and norm of each tensor.
void expect_summary(Tensor t, const float* row, const std::string& name) {
  const std::vector<double> x = doubles(t);
  double sum = 0, squares = 0;
  for (const double v : x) {
    sum += v;
    squares += v * v;
  }
  EXPECT_EQ(x.front(), row[0]) << name;
  EXPECT_EQ(x.back(), row[1]) << name;
  EXPECT_NEAR(sum, row[2], 1e-6 * std::sqrt(squares * static_cast<double>(x.size()))) << name;
  EXPECT_NEAR(std::sqrt(squares), row[3], 1e-6 * row[3]) << name;
}

TEST_F(TorchGolden, TrainingStateHoldsWhatTheTrainerSaved) {
  if (!ZipFile::supported()) GTEST_SKIP() << "built without libzip";
  const fs::path folder = checkpoints() / "1000.ckpt";
  const SafetensorsFile resume(checkpoints() / "resume.safetensors");
  const json order = json::parse(resume.metadata().at("param_order"));
  const auto row = [&](const char* what, size_t i) { return resume.tensor(what).data<float>() + 4 * i; };

  EXPECT_EQ(TorchFile(folder / "step.pth").root().number(), 1000);
  const TorchFile schedule(folder / "lr_scheduler.pth");
  ASSERT_TRUE(schedule.root().find("last_epoch"));
  EXPECT_EQ(schedule.root().find("last_epoch")->number(), 1000);
  EXPECT_EQ(schedule.root().find("_step_count")->number(), 1001);

  for (const auto& [name, expected] : {std::pair{"nnet.pth", "expected/nnet"}, {"nnet_ema.pth", "expected/nnet_ema"}}) {
    const TorchFile file(folder / name);
    const auto tensors = state_dict(file.root());
    ASSERT_EQ(tensors.size(), order.size());
    for (size_t i = 0; i < tensors.size(); ++i) {
      EXPECT_EQ(tensors[i].name, order[i]);
      expect_summary(tensors[i].tensor, row(expected, i), tensors[i].name);
    }
  }

  const TorchFile optimizer(folder / "optimizer.pth");
  const TorchValue* state = optimizer.root().find("state");
  ASSERT_TRUE(state && state->as<TorchValue::Dict>());
  EXPECT_EQ(state->as<TorchValue::Dict>()->items.size(), order.size());
  for (size_t i = 0; i < order.size(); ++i) {
    const TorchValue* moments = state->find(static_cast<int64_t>(i));
    ASSERT_TRUE(moments) << i;
    EXPECT_EQ(moments->find("step")->number(), 1000);
    for (const char* name : {"exp_avg", "exp_avg_sq"})
      expect_summary(*moments->find(name)->as<Tensor>(), row(("expected/" + std::string(name)).c_str(), i), order[i]);
  }
  ASSERT_TRUE(optimizer.root().find("param_groups"));
  EXPECT_EQ(optimizer.root().find("param_groups")->as<TorchValue::List>()->items.size(), 1u);
  EXPECT_NE(error_of([&] { state_dict(optimizer.root()); }).find("not a state dict"), std::string::npos);
}

TEST_F(TorchGolden, DamagedCopiesLoadOrAreRefused) {
  const TempFolder folder;
  const fs::path path = folder / "f.pth";
  int files = 0;
  const auto damage = [&](const fs::path& good, size_t focus, int rounds) {
    if (!readable(good)) return;
    ++files;
    const int refused = fuzz(read_file(good), focus, rounds, path, [&] {
      const TorchFile file(path);
      touch(file.root());
    });
    EXPECT_GT(refused, rounds / 3) << good;
  };
  for (const auto& p : golden_files(reference_dir("uvic") / "malformed", "control_", ".pth")) damage(p, 2000, 3000);
  for (const auto& p : golden_files(checkpoints(), "views", ".pth")) damage(p, 1900, 3000);
  EXPECT_GT(files, 0);
}

}  // namespace
}  // namespace uvic::test
