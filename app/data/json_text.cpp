#include "app/data/json_text.h"

#include <nlohmann/json.hpp>
#include <vector>

#include "kernels/core/error.h"
#include "kernels/core/text.h"

namespace uvic {

std::string json_differences(const std::string& there, const std::string& here) {
  using Json = nlohmann::ordered_json;
  const Json theirs = Json::parse(there, nullptr, false), ours = Json::parse(here);
  if (!theirs.is_object()) return "it does not say how: it is not of uvic-encode";
  std::vector<std::string> all;
  for (const auto& [key, value] : ours.items())
    if (const Json other = theirs.value(key, Json()); other != value)
      all.push_back(concat(key, " ", other.dump(), ", here ", value.dump()));
  return join(all, "; ");
}

}  // namespace uvic
