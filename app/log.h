#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace uvic {

// What an event says, in order: "loss" 0.031, "sampler" "dpm++".
using LogValue = std::variant<double, int64_t, std::string>;
using LogFields = std::vector<std::pair<std::string, LogValue>>;

// {"step":12,"loss":0.031}: shortest digits that read back equal; what is not finite becomes null.
std::string to_json(const LogFields& fields);
// "step 12  loss 0.031", four digits: the same fields for the eye.
std::string to_text(const LogFields& fields);

// metrics.jsonl: one object a line, each flushed. A resumed run first cuts what was written after the step it resumes
// from (and a line torn by a crash), so that the file reads like that of a run never stopped.
class MetricsLog {
 public:
  // Opens for appending, after cutting the lines whose step is larger than resumed_step; -1 starts afresh. Throws Error
  // naming path.
  MetricsLog(const std::filesystem::path& path, int64_t resumed_step);

  // Writes "step" first, then fields. Throws Error naming the path if the line cannot be written.
  void write(int64_t step, const LogFields& fields);

 private:
  std::filesystem::path path_;
  std::ofstream out_;
};

}  // namespace uvic
