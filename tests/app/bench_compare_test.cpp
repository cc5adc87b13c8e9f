// uvic-bench --compare: which records are set against each other, the ratios; a peer that is a shell script.

#include "app/bench_compare.h"

#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/app/bench_records.h"
#include "tests/app/image_fixtures.h"
#include "tests/app/program.h"

namespace uvic::test {
namespace {

using nlohmann::json;

std::vector<json> compared(const std::vector<BenchRound>& rounds) {
  std::vector<json> out;
  for (const std::string& line : compare_rounds(rounds)) out.push_back(json::parse(line));
  return out;
}

TEST(CompareRounds, GivesMedianLeastAndMostOfTheRatio) {
  const std::vector<BenchRound> rounds{{{{train("uvic", 1)}, 0.5}, {{train("torch", 3)}, 2}},
                                       {{{train("uvic", 2)}, 0.5}, {{train("torch", 3)}, 3}},
                                       {{{train("uvic", 4)}, 0.75}, {{train("torch", 8)}, 4}}};
  const std::vector<json> r = compared(rounds);
  ASSERT_EQ(r.size(), 1u);
  EXPECT_EQ(r[0]["what"], "compare");
  EXPECT_EQ(r[0]["of"], "train");
  EXPECT_EQ(r[0]["peer"], "torch 1.2");
  EXPECT_EQ(r[0]["batch"], 8);
  EXPECT_EQ(r[0]["rounds"], 3);
  EXPECT_DOUBLE_EQ(r[0]["seconds"], 2);
  EXPECT_DOUBLE_EQ(r[0]["peer_seconds"], 3);
  EXPECT_DOUBLE_EQ(r[0]["ratio"], 2);  // of 3, 1.5 and 2: not that of the medians
  EXPECT_DOUBLE_EQ(r[0]["ratio_min"], 1.5);
  EXPECT_DOUBLE_EQ(r[0]["ratio_max"], 3);
  EXPECT_DOUBLE_EQ(r[0]["tflops"], 1);
  EXPECT_DOUBLE_EQ(r[0]["peak_gib"], 0.5);
  EXPECT_DOUBLE_EQ(r[0]["peer_peak_gib"], 3);
}

TEST(CompareRounds, ComparesEqualWorkOnly) {
  EXPECT_TRUE(compared({{{{train("uvic", 1, 8)}, 1}, {{train("torch", 1, 16)}, 1}}}).empty());
  EXPECT_TRUE(compared({{{{train("uvic", 1)}, 1}, {}}}).empty());
  EXPECT_TRUE(compared({{{{train("uvic", 1)}, 1}, {{"{}", R"({"torch": 1, "what": "train"})"}, 1}}}).empty());
  json null = json::parse(train("torch", 1));
  null["step_s"] = nullptr;
  EXPECT_TRUE(compared({{{{train("uvic", 1)}, 1}, {{null.dump()}, 1}}}).empty());
}

TEST(CompareRounds, MatchesAttentionByKindShapeAndPass) {
  const BenchRound round{
      {{attention("uvic", "cog", {8, 8, 257, 64}, 1, 2), attention("uvic", "cog", {2, 8, 9, 64}, 3, 4),
        attention("uvic", "softmax", {8, 8, 257, 64}, 5, 6)},
       1},
      {{attention("torch", "softmax", {8, 8, 257, 64}, 50, 90), attention("torch", "cog", {2, 8, 9, 64}, 30, 60),
        attention("torch", "cog", {1, 8, 9, 64}, 1, 1), attention("torch", "sdpa", {8, 8, 257, 64}, 10, 15)},
       1}};
  std::map<std::string, double> ratios;
  for (const json& r : compared({round, round})) {
    EXPECT_EQ(r["rounds"], 2);
    const std::string peer_kind = r.value("peer_kind", r["kind"].get<std::string>());
    ratios[concat(r["kind"].get<std::string>(), " ", peer_kind, " ", r["shape"].dump(), " ",
                  r["pass"].get<std::string>())] = r["ratio"];
  }
  const std::map<std::string, double> expected{
      {"cog cog [2,8,9,64] forward", 10},           {"cog cog [2,8,9,64] forward and backward", 15},
      {"softmax softmax [8,8,257,64] forward", 10}, {"softmax softmax [8,8,257,64] forward and backward", 15},
      {"softmax sdpa [8,8,257,64] forward", 2},     {"softmax sdpa [8,8,257,64] forward and backward", 2.5}};
  EXPECT_EQ(ratios, expected);
}

// ---- the program ----------------------------------------------------------------------------------------------------
class BenchCompare : public ImageFolderTest {
 protected:
  // A peer that shows its arguments and environment on a line that is no record, and ends with status.
  std::string script(const std::string& record, int status) {
    write_text(dir_ / "peer.sh", "echo \"asked: $* spin: ${GOMP_SPINCOUNT-unset}${UVIC_STARTED_AGAIN}\"\n" +
                                     (record.empty() ? "" : "echo '" + record + "'\n") + "exit " +
                                     std::to_string(status) + "\n");
    return "sh " + (dir_ / "peer.sh").string();
  }
  Ended bench(const std::string& peer, std::vector<std::string> more = {}, const RunOptions& options = {}) {
    more.insert(more.begin(), {"sample", "--model", "mini", "--batch", "1", "--steps", "1", "--dtype", "auto",
                               "--threads", "1", "--seconds", "0.01", "--compare", peer});
    return run_program("uvic-bench", more, options);
  }
  // What uvic-bench would call the same work on this machine.
  std::string peer_record() {
    const std::string dtype = has_fast_bf16() ? "bf16" : "f32";
    return R"({"peer": "3", "threads": 1, "what": "sample", "model": "mini", "attn": "cog", "dtype": ")" + dtype +
           R"(", "batch": 1, "steps": 1, "seconds": 1000})";
  }
};

TEST_F(BenchCompare, RunsBothInTurnAndPrintsRatios) {
  const Ended p =
      bench(script(peer_record(), 0), {"--rounds", "2", "--table", "--compile"}, {.own_openmp_settings = true});
  ASSERT_EQ(p.status, 0) << p.err;
  std::istringstream lines(p.out);
  std::string line, makers;
  json ratio;
  while (std::getline(lines, line) && !line.empty()) {
    const json record = json::parse(line);
    if (record["what"] == "compare") ratio = record;
    makers += record["what"] == "compare" ? "=" : record.contains("uvic") ? "A" : "B";
  }
  EXPECT_EQ(makers, "ABAB=");
  EXPECT_EQ(ratio["rounds"], 2);
  EXPECT_EQ(ratio["peer"], "peer 3");
  EXPECT_LE(ratio["ratio_min"], ratio["ratio"]);
  EXPECT_LE(ratio["ratio"], ratio["ratio_max"]);
  EXPECT_GT(ratio["peak_gib"], 0);
  ASSERT_TRUE(std::getline(lines, line));
  EXPECT_EQ(line, "| work | uvic | peer 3 | ratio (least to most) |");
  // On stderr, twice: the same work, and nothing in its environment that is ours.
  const std::string dtype = has_fast_bf16() ? "bf16" : "f32";
  const std::string asked = "asked: sample --model mini --attn cog --batch 1 --steps 1 --dtype " + dtype +
                            " --threads 1 --seconds 0.01 --compile spin: unset\n";
  EXPECT_EQ(p.err, asked + asked);
}

TEST_F(BenchCompare, TimesTheShapeThatIsAskedFor) {
  const std::string peer = script(attention("peer", "softmax", {1, 1, 5, 8}, 1, 2), 0);
  const Ended p = run_program("uvic-bench", {"attention", "--shape", "1,1,5,8", "--dtype", "bf16", "--threads", "2",
                                             "--seconds", "0", "--rounds", "1", "--compare", peer});
  ASSERT_EQ(p.status, 0) << p.err;
  EXPECT_NE(p.out.find(R"("pass":"forward and backward")"), std::string::npos) << p.out;
}

TEST_F(BenchCompare, LeavesWhatTheUserSet) {
  const Ended p = bench(script(peer_record(), 0), {"--rounds", "1"});
  EXPECT_EQ(p.status, 0) << p.err;
  EXPECT_NE(p.err.find("spin: 0\n"), std::string::npos) << p.err;
}

TEST_F(BenchCompare, SaysWhichPeerFailedAndHow) {
  const auto fails = [&](const std::string& peer, const std::string& message) {
    const Ended p = bench(peer);
    EXPECT_EQ(p.status, 1);
    EXPECT_NE(p.err.find("uvic-bench: error: " + message), std::string::npos) << p.err;
    EXPECT_EQ(p.err.find("error:"), p.err.rfind("error:")) << p.err;
  };
  std::string peer = script(peer_record(), 3);
  fails(peer, "the peer failed with exit status 3: " + peer + " sample --model mini");
  peer = script("", 0);
  fails(peer, "the peer exited with status 0, but printed no record of the same work: " + peer);
  peer = (dir_ / "none").string();
  fails(peer, "the peer failed with exit status 127: " + peer);
}

TEST_F(BenchCompare, OptionsBelongTogether) {
  for (const char* option : {"--compile", "--table", "--rounds=2"})
    EXPECT_TRUE(failed_clearly(run_program("uvic-bench", {"train", option}), "uvic-bench", 2, {"requires --compare"}));
  EXPECT_TRUE(failed_clearly(run_program("uvic-bench", {"train", "--profile", "--compare"}), "uvic-bench", 2,
                             {"--profile", "--compare"}));
}

}  // namespace
}  // namespace uvic::test
