// uvic-fid as a process, and as several.

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

}  // namespace
}  // namespace uvic::test
