// Tables of uvic-bench's records: what a peer did, too, and what only we did.

#include "app/bench_table.h"

#include "app/bench_compare.h"
#include "tests/app/bench_records.h"
#include "tests/check.h"

namespace uvic::test {
namespace {

std::vector<std::string> rounds(const std::string& own, const std::string& peer) {
  return compare_rounds({{{{own}, 1}, {{peer}, 1}}});
}

const std::string kMatrix = R"({"uvic": "1", "threads": 2, "what": "matrix", "dtype": "bf16", "tflops": 8})";

TEST(BenchTable, IsMarkdown) {
  EXPECT_EQ(bench_table(rounds(train("uvic", 0.5), train("torch", 1.25))),
            "| work | uvic | torch 1.2 | ratio (least to most) |\n|---|---|---|---|\n"
            "| train S2, cog, bf16, batch 8 | 500 ms, 4.00 TFLOP/s | 1.25 s, 1.60 TFLOP/s | 2.50 (2.50 to 2.50) |\n");
  const std::string table = bench_table(rounds(attention("uvic", "softmax", {8, 8, 257, 64}, 0.001, 0.002),
                                               attention("torch", "sdpa", {8, 8, 257, 64}, 0.0015, 0.001)));
  EXPECT_NE(
      table.find("| attention, softmax (peer: sdpa), bf16, [8,8,257,64], forward and backward | 2.00 ms | 1.00 ms "
                 "| 0.50 (0.50 to 0.50) |\n"),
      std::string::npos)
      << table;
}

// Every round's own record is there, and a peer's; what has a peer is one line, what has none the median of its runs.
TEST(BenchTable, TakesWhatOnlyWeDidAndShares) {
  std::vector<std::string> records{kMatrix};
  for (const double seconds : {1.0, 4.0, 2.0}) records.push_back(train("uvic", seconds, 16));
  records.push_back(train("uvic", 0.5));
  records.push_back(train("torch", 1));
  for (const std::string& line : rounds(train("uvic", 0.5), train("torch", 1))) records.push_back(line);
  EXPECT_EQ(
      bench_table(records),
      "| work | uvic | of the matrix rate | torch 1.2 | ratio (least to most) |\n|---|---|---|---|---|\n"
      "| train S2, cog, bf16, batch 8 | 500 ms, 4.00 TFLOP/s | 50% | 1.00 s, 2.00 TFLOP/s | 2.00 (2.00 to 2.00) |\n"
      "| train S2, cog, bf16, batch 16 | 2.00 s, 1.00 TFLOP/s | 12% |  |  |\n"
      "| matrix products, bf16 | 8 TFLOP/s |  |  |  |\n");
}

TEST(BenchTable, NamesAPeerThatIsNotTheFirst) {
  std::vector<std::string> records = rounds(train("uvic", 0.5), train("torch", 1));
  records.push_back(rounds(train("uvic", 0.5), train("openvino", 1)).at(0));
  const std::string table = bench_table(records);
  EXPECT_NE(table.find("| openvino 1.2: 1.00 s, 2.00 TFLOP/s |"), std::string::npos) << table;
}

TEST(BenchTable, OfNothingHasNoRows) { EXPECT_EQ(bench_table({}), "| work | uvic |\n|---|---|\n"); }

TEST(BenchTable, SaysWhatIsNoRecord) {
  EXPECT_EQ(error_of([] { bench_table({kMatrix, "{nonsense"}); }), "no record of uvic-bench: \"{nonsense\"");
}

}  // namespace
}  // namespace uvic::test
