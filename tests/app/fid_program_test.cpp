// uvic-fid as a process, and as several.

#include <chrono>
#include <csignal>
#include <set>
#include <thread>

#include "model/checkpoint.h"
#include "tests/app/fid_fixtures.h"
#include "tests/app/program.h"
#include "tests/app/tiny_run.h"

namespace uvic::test {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

std::string golden_npz(const char* name) { return (reference_dir("eval") / "npz" / name).string(); }

TEST(FidProgram, StatisticsNeedNoNetwork) {
  const json want = golden_json(reference_dir("eval") / "npz" / "expected.json")["file_pairs"];
  const Ended p = run_program(
      "uvic-fid", {"calc", golden_npz("stats_a.npz"), golden_npz("stats_b_compressed.npz"), "--json", "-q"});
  ASSERT_EQ(p.status, 0) << p.err;
  const json got = json::parse(p.out);
  const double fid = want["stats_a.npz vs stats_b_compressed.npz"]["fid"];
  EXPECT_NEAR(got["metrics"]["fid"], fid, 1e-9 * fid);
  EXPECT_EQ(got["protocol"], nullptr);
  EXPECT_NE(p.err.find("does not say with which protocol"), std::string::npos);

  const Ended adm = run_program(
      "uvic-fid", {"calc", golden_npz("adm_ref.npz"), golden_npz("adm_ref_compressed.npz"), "--metrics", "fid,sfid"});
  ASSERT_EQ(adm.status, 0) << adm.err;
  EXPECT_NE(adm.out.find("\nsfid           0.000000\n"), std::string::npos) << adm.out;
}

TEST(FidProgram, BrokenStatisticsAreOneClearLine) {
  const std::pair<const char*, const char*> cases[] = {{"bad_truncated.npz", "cannot open as a zip archive"},
                                                       {"bad_crc.npz", "entry \"mu.npy\": "},
                                                       {"bad_no_sigma.npz", "it has no array sigma"},
                                                       {"bad_shape.npz", "mu is [16] and sigma is [16, 15]"},
                                                       {"bad_nan.npz", "sigma holds a number that is not finite"},
                                                       {"bad_header_lies.npz", "says 9 elements"}};
  for (const auto& [file, message] : cases)
    EXPECT_TRUE(failed_clearly(run_program("uvic-fid", {"calc", golden_npz(file), golden_npz("stats_a.npz")}),
                               "uvic-fid", 1, {file, message}));
}

TEST(FidProgram, WrongUsageAndMissingNetwork) {
  EXPECT_EQ(run_program("uvic-fid", {}).status, 2);
  EXPECT_EQ(run_program("uvic-fid", {"calc", "a"}).status, 2);
  EXPECT_EQ(run_program("uvic-fid", {"calc", "a", "b", "--metrics", "fud"}).status, 2);
  EXPECT_EQ(run_program("uvic-fid", {"calc", "a", "b", "--protocol", "tf2"}).status, 2);
}

class FidProgramFolder : public FolderTest {};

TEST_F(FidProgramFolder, ProcessesShareTheWorkAndGiveTheSameNumber) {
  if (std::string(UVIC_MPIEXEC).empty()) GTEST_SKIP() << "built without MPI";
  const NetworkFile network;
  write_golden_sets(dir_);
  const fs::path model = write_random_model(dir_ / "model.safetensors", tiny_model());
  const auto run = [&](int processes, const std::string& a, std::vector<std::string> more) {
    std::vector<std::string> all{"calc",   a,    (dir_ / "ref.npz").string(), "--network", network.path().string(),
                                 "--json", "-q", "--kid-subset-size",         "10",        "--batch",
                                 "3"};
    all.insert(all.end(), more.begin(), more.end());
    const Ended p = run_program("uvic-fid", all, {.processes = processes});
    EXPECT_EQ(p.status, 0) << p.err;
    return json::parse(p.out, nullptr, false).value("metrics", json::object());
  };
  const auto expect_same = [&](const std::string& a, const std::vector<std::string>& more) {
    const json one = run(1, a, more), three = run(3, a, more);
    ASSERT_FALSE(one.empty());
    for (const auto& [name, value] : one.items())
      EXPECT_NEAR(three.value(name, std::nan("")), value, 1e-9 * std::abs(value.get<double>())) << name;
  };
  expect_same((dir_ / "sample.npz").string(), {"--metrics", "fid,is,kid,pr"});
  expect_same(model.string(), {"--num", "7", "--steps", "2", "--dtype", "f32"});
}

// Whether a process has this file open: then it catches signals already.
bool has_open(const fs::path& process, const fs::path& file) {
  std::error_code ignored;  // it opens and closes others meanwhile
  for (const auto& entry : fs::directory_iterator(process / "fd", ignored))
    if (fs::read_symlink(entry.path(), ignored) == file) return true;
  return false;
}
bool has_open(Program& program, const fs::path& file) {
  return has_open(fs::path(concat("/proc/", program.id())), file);
}
// The same of any process that the program has started.
bool child_has_open(Program& program, const fs::path& file) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("/proc", ignored)) {
    std::ifstream in(entry.path() / "status");
    const std::string status{std::istreambuf_iterator<char>(in), {}};
    if (status.find(concat("\nPPid:\t", program.id(), "\n")) != std::string::npos && has_open(entry.path(), file))
      return true;
  }
  return false;
}

class FidProgramWork : public FidProgramFolder {
 protected:
  FidProgramWork() { write_golden_sets(dir_); }
  std::set<fs::path> files() const {
    std::set<fs::path> all;
    for (const auto& entry : fs::directory_iterator(dir_)) all.insert(entry.path().filename());
    return all;
  }
  const NetworkFile network_;
};

TEST_F(FidProgramWork, SignalsEndItWithOneLineAndNothingHalfWritten) {
  const OwnedTensor many({}, DType::u8, {50'000, 8, 8, 3});  // hours
  write_npz(dir_ / "many.npz", {{"arr_0", many.tensor}});
  write_text(dir_ / "stats.npz", "old");
  const std::set<fs::path> before = files();
  const std::string set = (dir_ / "many.npz").string();
  for (const int signal : {SIGINT, SIGTERM})
    for (const std::vector<std::string>& arguments :
         {std::vector<std::string>{"ref", set, "-o", (dir_ / "stats.npz").string()},
          std::vector<std::string>{"calc", set, (dir_ / "ref.npz").string()}}) {
      std::vector<std::string> all = arguments;
      all.insert(all.end(), {"--network", network_.path().string(), "-q", "--json"});
      Program program("uvic-fid", all);
      while (program.running() && !has_open(program, dir_ / "many.npz"))
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      program.signal(signal);
      const Ended ended = program.wait();
      EXPECT_EQ(ended.status, 130);
      EXPECT_EQ(ended.err, "uvic-fid: interrupted\n");
      EXPECT_EQ(ended.out, "");
      EXPECT_EQ(files(), before);
      EXPECT_EQ(read_text(dir_ / "stats.npz"), "old");
    }
}

// Open MPI gives processes a second, whatever they are doing, and itself ends with 1.
TEST_F(FidProgramWork, ASignalToTheJobEndsItWithOneLineToo) {
  if (std::string(UVIC_MPIEXEC).empty()) GTEST_SKIP() << "built without MPI";
  const OwnedTensor many({}, DType::u8, {50'000, 8, 8, 3});  // hours
  write_npz(dir_ / "many.npz", {{"arr_0", many.tensor}});
  const std::set<fs::path> before = files();
  for (const char* batch : {"1", "1000"}) {  // shorter than half a second, and minutes
    Program job("uvic-fid",
                {"ref", dir_ / "many.npz", "-o", dir_ / "stats.npz", "-b", batch, "--network", network_.path(), "-q"},
                {.processes = 2});
    while (job.running() && !child_has_open(job, dir_ / "many.npz"))
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    job.signal(SIGTERM);
    const Ended ended = job.wait();
    EXPECT_NE(ended.status, 0);
    EXPECT_EQ(ended.err, "uvic-fid: interrupted\n") << batch;
    EXPECT_EQ(files(), before);
  }
}

TEST_F(FidProgramWork, AFullDiskKeepsTheOldStatistics) {
  for (const char* name : {"stats.npz", "stats.pt"}) {
    write_text(dir_ / name, "old");
    const std::set<fs::path> before = files();
    const Ended full = run_program(
        "uvic-fid",
        {"ref", (dir_ / "ref.npz").string(), "-o", (dir_ / name).string(), "--network", network_.path().string(), "-q"},
        {.file_size_limit = 1 << 20});
    EXPECT_TRUE(
        failed_clearly(full, "uvic-fid", 1, {(dir_ / name).string() + ": cannot be written", "File too large"}));
    EXPECT_EQ(files(), before);
    EXPECT_EQ(read_text(dir_ / name), "old");
  }
}

TEST_F(FidProgramWork, ASignalDuringTrainingsEvaluationSaves) {
  const auto reference = [&](const char* out) {
    return run_program("uvic-fid", {"ref", (dir_ / "ref.npz").string(), "-o", (dir_ / out).string(), "--network",
                                    network_.path().string(), "-q"});
  };
  ASSERT_EQ(reference("stats.npz").status, 0);
  for (int c = 0; c < 3; ++c)
    for (int i = 0; i < 5; ++i) write_text(dir_ / "set" / concat("class", c) / concat(i, ".png"), png_text(10 * c + i));
  RunConfig config = tiny_run(dir_ / "set");
  config.eval.fid_every = 5;
  config.eval.stats = (dir_ / "stats.npz").string();
  config.eval.network = network_.path().string();
  config.eval.num_images = 10'000'000;  // would take weeks
  write_text(dir_ / "config.yaml", dump_config(config));
  const fs::path run = dir_ / "run";
  Program program("uvic-train", {"-q", "-c", (dir_ / "config.yaml").string(), "-o", run.string()});
  ASSERT_TRUE(wait_until(program, run, [&] { return fs::exists(run / "step-00000005" / "state.json"); }));
  program.signal(SIGINT);
  const Ended ended = program.wait();
  EXPECT_EQ(ended.status, 130) << ended.err;
  EXPECT_NE(ended.err.find("uvic-train: interrupted at step 5"), std::string::npos) << ended.err;
  EXPECT_EQ(std::count(ended.err.begin(), ended.err.end(), '\n'), 1) << ended.err;
  for (const json& line : metrics_of(run)) EXPECT_FALSE(line.contains("fid"));
  verify_checkpoint(run / "step-00000005");
}

TEST_F(FidProgramWork, StatisticsOfAnotherExtensionAreRefusedBeforeTheWork) {
  const Ended p = run_program("uvic-fid", {"ref", (dir_ / "absent").string(), "-o", (dir_ / "x.txt").string()});
  EXPECT_TRUE(failed_clearly(p, "uvic-fid", 1, {"x.txt: statistics are written as .npz, or as .pt", "x.npz"}));
}

}  // namespace
}  // namespace uvic::test
