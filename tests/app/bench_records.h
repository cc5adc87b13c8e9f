#pragma once

// Records as uvic-bench and its peers print them.

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace uvic::test {

inline std::string train(const std::string& maker, double seconds, int batch = 8) {
  nlohmann::json j{{"threads", 2},  {"what", "train"}, {"model", "S2"},
                   {"attn", "cog"}, {"dtype", "bf16"}, {"batch", batch}};
  j["step_s"] = seconds;
  j["tflops"] = 2 / seconds;
  return "{\"" + maker + "\": \"1.2\", " + j.dump().substr(1);
}

inline std::string attention(const std::string& maker, const std::string& kind, std::vector<int> shape, double forward,
                             double both) {
  const nlohmann::json j{{"threads", 2},   {"what", "attention"},  {"kind", kind},  {"dtype", "bf16"},
                         {"shape", shape}, {"forward_s", forward}, {"both_s", both}};
  return "{\"" + maker + "\": \"1.2\", " + j.dump().substr(1);
}

}  // namespace uvic::test
