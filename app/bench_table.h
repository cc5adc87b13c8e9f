#pragma once

#include <string>
#include <vector>

namespace uvic {

// Records of uvic-bench, one JSON object each, as one Markdown table: what was compared with a peer, then what was only
// timed. With a record of "matrix" among them it also says what share of that rate, in the same dtype, was reached.
// Records of other programs are passed over. Throws Error for a line that is no object.
std::string bench_table(const std::vector<std::string>& records);

}  // namespace uvic
