// Checkpoints: saved equals loaded, damage is noticed, a failing save leaves what was there.

#include "model/checkpoint.h"

#include <sys/resource.h>

#include <csignal>

#include "model/uvic.h"
#include "tests/golden_model.h"
#include "tests/model/hostile.h"

namespace uvic::test {
namespace {

namespace fs = std::filesystem;

constexpr Role kSaved[] = {Role::master, Role::ema, Role::m, Role::v};

UViCConfig tiny() {
  UViCConfig c;
  c.img_size = 8;
  c.embed_dim = 16;
  c.depth = 2;
  c.num_heads = 1;
  c.mlp_ratio = 1;
  return c;
}

struct Trained {
  Context ctx;
  ParamStore store;
  UViC net{store, tiny()};
  ModelInfo info{.config = tiny(), .train_config = "seed: 5 # caf\xe9"};
  TrainState state{.step = 0, .seed = 5, .samples = 0, .loss_sum = 0.1, .loss_steps = 3};

  explicit Trained(const Where& where = {}) : ctx({.device = where.device}), store(where.device) {
    store.allocate_for_training(where.dtype);
  }
  // Every role different, and different at every step.
  fs::path save(const fs::path& run, int64_t step) {
    for (const Role role : kSaved) {
      const uint64_t seed = static_cast<uint64_t>(step) * 10 + static_cast<uint64_t>(role);
      for (size_t id = 0; id < store.params().size(); ++id)
        assign(store.view(role, static_cast<int>(id)),
               values(random_tensor(DType::f32, store.params()[id].shape, seed).tensor));
    }
    state.step = info.step = step;
    state.samples = step * 7;
    return save_checkpoint(ctx, run, store, info, state);
  }
};

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

void flip_byte(const fs::path& path, size_t at) {
  std::string bytes = read_file(path);
  bytes[at] = static_cast<char>(~bytes[at]);
  write_file(path, bytes);
}

class CheckpointEverywhere : public ::testing::TestWithParam<Where> {};
INSTANTIATE_TEST_SUITE_P(Everywhere, CheckpointEverywhere, ::testing::ValuesIn(everywhere_and_gpu()), where_name);

TEST_P(CheckpointEverywhere, SavedIsLoaded) {
  const Where& where = GetParam();
  const TempFolder run;
  Trained a(where), b(where);
  const fs::path folder = a.save(run.path(), 12);
  EXPECT_EQ(folder, run / "step-00000012");
  EXPECT_EQ(names_in(run.path()), std::vector<std::string>{"step-00000012"});
  EXPECT_EQ(names_in(folder), (std::vector<std::string>{"model.safetensors", "state.json", "state.safetensors"}));
  const TrainState state = load_checkpoint(b.ctx, folder, b.store);
  EXPECT_EQ(state.step, 12);
  EXPECT_EQ(state.seed, 5u);
  EXPECT_EQ(state.samples, 84);
  EXPECT_EQ(state.loss_sum, 0.1);
  EXPECT_EQ(state.loss_steps, 3);
  for (const Role role : kSaved) EXPECT_EQ(values(b.store.flat(role)), values(a.store.flat(role))) << name_of(role);
  a.store.use(a.ctx, Role::master);
  EXPECT_EQ(values(b.store.flat(Role::working)), values(a.store.flat(Role::working)));
  // The model beside it is the averaged one, and stands on its own.
  ParamStore model(where.device);
  const Weights weights = read_weights(folder / "model.safetensors");
  const UViC net(model, model_info(weights).config);
  model.allocate_for_inference(DType::f32);
  load_weights(b.ctx, weights, model, Role::working);
  EXPECT_EQ(values(model.flat(Role::working)), values(a.store.flat(Role::ema)));
  EXPECT_EQ(model_info(weights).step, 12);
}

TEST(Checkpoint, SavingAgainReplacesTheFolder) {
  const TempFolder run;
  Trained a, b;
  a.save(run.path(), 3);
  a.state.seed = 6;
  const fs::path folder = a.save(run.path(), 3);
  EXPECT_EQ(names_in(run.path()), std::vector<std::string>{"step-00000003"});
  EXPECT_EQ(load_checkpoint(b.ctx, folder, b.store).seed, 6u);
}

TEST(Checkpoint, AnyDamageIsNoticed) {
  const TempFolder run;
  Trained a;
  const fs::path folder = a.save(run.path(), 4);
  for (const std::string& name : names_in(folder)) {
    const std::string good = read_file(folder / name);
    // Every byte of the small file, and about a hundred of the large ones.
    for (size_t at = 0; at < good.size(); at += name == "state.json" ? 1 : good.size() / 100) {
      flip_byte(folder / name, at);
      const std::string what = refusal(folder / name, [&] { verify_checkpoint(folder); });
      EXPECT_FALSE(what.empty()) << name << ": byte " << at << " was flipped and not missed";
      flip_byte(folder / name, at);
    }
    write_file(folder / name, good.substr(0, good.size() / 2));
    EXPECT_NE(refusal(folder / name, [&] { verify_checkpoint(folder); }), "");
    write_file(folder / name, good + " {");
    EXPECT_NE(refusal(folder / name, [&] { verify_checkpoint(folder); }), "");
    fs::remove(folder / name);
    EXPECT_NE(refusal(folder / name, [&] { load_checkpoint(a.ctx, folder, a.store); }), "");
    write_file(folder / name, good);
    EXPECT_NO_THROW(verify_checkpoint(folder));
  }
}

TEST(Checkpoint, NewestSkipsWhatIsNotWholeAndSaysWhy) {
  const TempFolder run;
  Trained a;
  for (const int step : {5, 10, 15}) a.save(run.path(), step);
  fs::create_directory(run / "step-00000020");
  flip_byte(run / "step-00000015/state.safetensors", 1000);
  std::vector<std::string> refused;
  const auto newest = newest_checkpoint(run.path(), [&](const fs::path& folder, const std::string& why) {
    refused.push_back(folder.filename().string() + " " + why);
  });
  EXPECT_EQ(newest, run / "step-00000010");
  ASSERT_EQ(refused.size(), 2u);
  EXPECT_NE(refused[0].find("state.json: No such file"), std::string::npos) << refused[0];
  EXPECT_NE(refused[1].find("state.safetensors: checksum differs"), std::string::npos) << refused[1];
  EXPECT_FALSE(newest_checkpoint(run / "nothing", [](const fs::path&, const std::string&) {}));
}

TEST(Checkpoint, NamesOfCheckpoints) {
  EXPECT_EQ(checkpoint_step("run/step-00000012"), 12);
  EXPECT_EQ(checkpoint_step("run/step-123456789"), 123456789);
  for (const char* other : {"step-12", "step-0000001x", "step-", "samples", ".tmp-step-00000001", "step-00000001.bak"})
    EXPECT_FALSE(checkpoint_step(other)) << other;
  const TempFolder run;
  for (const char* name : {"step-00000002", "step-00000010", "step-100000000", "step-1", "other"})
    fs::create_directory(run / name);
  write_file(run / "step-00000077", "a file");
  EXPECT_EQ(list_checkpoints(run.path()),
            (std::vector<fs::path>{run / "step-100000000", run / "step-00000010", run / "step-00000002"}));
}

TEST(Checkpoint, PruneKeepsTheNewestAndRemovesLeftovers) {
  const TempFolder run;
  for (const char* name : {"step-00000001", "step-00000002", "step-00000003", "step-00000004", ".tmp-step-00000005",
                           ".tmp-old-step-00000000", "samples"}) {
    fs::create_directory(run / name);
    write_file(run.path() / name / "x", "x");
  }
  prune_checkpoints(run.path(), 0, 0, 3);
  EXPECT_EQ(names_in(run.path()),
            (std::vector<std::string>{"samples", "step-00000001", "step-00000002", "step-00000003", "step-00000004"}));
  // Step 4 is later than the run's own 3 (it was resumed before a damaged one, say): it must not push 3 out.
  prune_checkpoints(run.path(), 1, 0, 3);
  EXPECT_EQ(names_in(run.path()), (std::vector<std::string>{"samples", "step-00000003", "step-00000004"}));
}

TEST(Checkpoint, PruneKeepsEveryMth) {
  const TempFolder run;
  for (int step = 1; step <= 9; ++step) fs::create_directory(run.path() / concat("step-0000000", step));
  prune_checkpoints(run.path(), 2, 3, 9);
  EXPECT_EQ(names_in(run.path()),
            (std::vector<std::string>{"step-00000003", "step-00000006", "step-00000008", "step-00000009"}));
}

// No file of this process may grow beyond bytes, as on a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    getrlimit(RLIMIT_FSIZE, &before_);
    handler_ = std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_{};
  void (*handler_)(int);
};

TEST(Checkpoint, AFailingSaveLeavesEverythingAsItWas) {
  const TempFolder run;
  Trained a, b;
  a.save(run.path(), 1);
  const fs::path folder = a.save(run.path(), 2);
  const auto master = values(a.store.flat(Role::master));
  const auto whole = fs::file_size(folder / "state.safetensors"), model = fs::file_size(folder / "model.safetensors");
  for (const uintmax_t limit : {uintmax_t{0}, uintmax_t{100}, model / 2, model, whole / 2, whole - 1}) {
    for (const int step : {2, 3}) {
      std::string what;
      {
        const FileSizeLimit full(limit);
        what = error_of([&] { a.save(run.path(), step); });
      }
      EXPECT_NE(what.find("could not be saved"), std::string::npos) << what;
      EXPECT_NE(what.find(std::generic_category().message(EFBIG)), std::string::npos) << what;
      EXPECT_EQ(names_in(run.path()), (std::vector<std::string>{"step-00000001", "step-00000002"})) << limit;
      EXPECT_NO_THROW(load_checkpoint(b.ctx, folder, b.store));
      EXPECT_EQ(values(b.store.flat(Role::master)), master) << limit;
    }
  }
  a.save(run.path(), 3);
  EXPECT_EQ(names_in(run.path()).size(), 3u);
  write_file(run / "file", "");
  EXPECT_NE(error_of([&] { a.save(run / "file", 4); }).find("could not be saved"), std::string::npos);
}

TEST(Checkpoint, OfAnotherModelIsRefused) {
  const TempFolder run;
  Trained a;
  const fs::path folder = a.save(run.path(), 1);
  UViCConfig config = tiny();
  config.embed_dim = 32;
  ParamStore store({});
  const UViC net(store, config);
  store.allocate_for_training(DType::f32);
  const std::string what = error_of([&] { load_checkpoint(a.ctx, folder, store); });
  EXPECT_NE(what.find("master/pos_embed is [1, 17, 16], this model needs [1, 17, 32]"), std::string::npos) << what;
}

}  // namespace
}  // namespace uvic::test
