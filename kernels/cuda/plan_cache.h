#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

namespace uvic::cuda {

// Algorithms that proved fastest, kept in a file from run to run: what describes a problem, and what the library calls
// its algorithm.
class PlanCache {
 public:
  using Problem = std::array<int64_t, 16>;
  using Algorithm = std::array<uint64_t, 8>;

  PlanCache() = default;  // keeps nothing
  // maker, one line, tells apart GPUs and versions of libraries. A file that is missing, damaged or another maker's is
  // as good as an empty one.
  PlanCache(std::filesystem::path file, std::string maker);

  explicit operator bool() const { return !file_.empty(); }
  const Algorithm* find(const Problem& problem) const;  // null if it is not known
  // Writes the file, together with what other processes have added meanwhile, under a temporary name that is then its
  // own. If one of them was first with this problem, its algorithm is the one that find() gives from now on, so that
  // they come to one mind. Where writing fails, the file is as it was: the next run has to measure again, no more.
  void add(const Problem& problem, const Algorithm& algorithm);

 private:
  using Plans = std::map<Problem, Algorithm>;
  Plans read() const;
  std::filesystem::path file_;
  std::string maker_;
  Plans plans_;
};

}  // namespace uvic::cuda
