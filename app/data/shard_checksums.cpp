#include "app/data/shard_checksums.h"

#include <zlib.h>

#include <nlohmann/json.hpp>

namespace uvic {
namespace {

using Json = nlohmann::ordered_json;

uint32_t sum_of(Tensor t) { return static_cast<uint32_t>(crc32_z(0, static_cast<const Bytef*>(t.raw()), t.bytes())); }

}  // namespace

std::string checksums_of(const std::vector<NamedTensor>& tensors) {
  Json sums = Json::object();
  for (const auto& [name, tensor] : tensors) sums[name] = sum_of(tensor);
  return sums.dump();
}

std::vector<std::string> changed_tensors(const SafetensorsFile& file, const std::string& sums) {
  Json all = Json::parse(sums, nullptr, false);
  if (!all.is_object()) all = Json::object();
  std::vector<std::string> changed;
  for (const std::string& name : file.names())
    if (all.value(name, Json()) != sum_of(file.tensor(name))) changed.push_back(name);
  for (const auto& [name, sum] : all.items())
    if (!file.contains(name)) changed.push_back(name);
  return changed;
}

}  // namespace uvic
