#pragma once

#include <string>
#include <vector>

#include "app/bench_run.h"

namespace uvic {

// Times a peer, another program that does the same work, in turn with this one.
struct CompareRequest {
  // A shell command; uvic-bench's own options follow it. It prints records as uvic-bench does: what ran, and seconds
  // under the same names. The first entry of a record is the name and version of the program that made it.
  std::string peer = "python3 tests/bench/uvic_torch.py";
  int rounds = 3;
  bool compile = false;  // passed on to the peer
  bool table = false;    // prints the comparison as Markdown too
};

// The records, one JSON object each, of one run of a program, and the most memory it has had.
struct BenchRun {
  std::vector<std::string> records;
  double peak_gib = 0;
};
struct BenchRound {
  BenchRun own, peer;
};

// One record a figure that both programs have timed, whose ratio is peer seconds / own seconds, round by round; other
// numbers are medians over the rounds. Figures belong together if all that says what ran is equal; PyTorch's fused
// attention, sdpa, is compared with softmax, and flex with cog.
std::vector<std::string> compare_rounds(const std::vector<BenchRound>& rounds);

// Runs this program and the peer in turn, each as a process that starts afresh: an idle one would keep its memory and
// perhaps its threads spinning. Prints their records as they come, then the comparison. Returns the exit status: 0, or
// that of this program's own run, which has said why. Throws Error if the peer fails or has nothing to compare.
int run_comparison(const BenchRequest& request, const CompareRequest& compare);

}  // namespace uvic
