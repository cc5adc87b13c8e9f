#include "app/data_report.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "app/data/latents.h"
#include "app/data/tensor_shards.h"
#include "kernels/core/text.h"

namespace uvic {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kKinds[] = {"images", "text"};

Json describe(const TensorShards& data) {
  int64_t bytes = 0;
  for (const SafetensorsFile& shard : data.shards()) bytes += static_cast<int64_t>(fs::file_size(shard.path()));
  Json j{{"items", data.items()}, {"shards", data.shards().size()}, {"bytes", bytes}, {"left_out", data.left_out()}};
  if (!data.class_names().empty()) j["classes"] = data.class_names().size();
  const SafetensorsFile& first = data.shards().front();
  for (const std::string& name : first.names()) {
    const Tensor t = first.tensor(name);
    j["first_shard"][name] = concat(name_of(t.dtype()), ' ', t.shape());
  }
  for (const auto& [key, value] : data.made())
    if (key != "kind" && key != "items") j["made"][key] = value;
  return j;
}

void add_lines(const Json& j, const std::string& before, std::string& out) {
  for (const auto& [key, value] : j.items()) {
    const std::string name = before.empty() ? key : before + "." + key;
    if (value.is_object()) {
      add_lines(value, name, out);
    } else {
      const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
      out += name + std::string(name.size() < 32 ? 32 - name.size() : 1, ' ') + text + "\n";
    }
  }
}

}  // namespace

bool is_encoded_data(const fs::path& folder) {
  return TensorShards::any(folder, kKinds[0]) || TensorShards::any(folder, kKinds[1]);
}

std::string describe_data(const fs::path& folder, bool as_json) {
  Json j{{"data", folder.string()}};
  for (const char* kind : kKinds)
    if (TensorShards::any(folder, kind)) j[kind] = describe(TensorShards(folder, kind));
  if (as_json) return j.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  std::string out;
  add_lines(j, "", out);
  return out;
}

void check_data(const fs::path& folder) {
  std::vector<std::string> damage;
  size_t shards = 0;
  for (const char* kind : kKinds) {
    if (!TensorShards::any(folder, kind)) continue;
    const TensorShards data(folder, kind);
    shards += data.shards().size();
    for (const std::string& line : data.damage(0)) damage.push_back(line);
  }
  if (!damage.empty())
    throw Error(concat(damage.size(), " of ", shards, " shards are damaged: ", join(damage, "; ")),
                "remove them and give the command of uvic-encode again: only they are made anew");
  if (TensorShards::any(folder, kKinds[0])) open_latents(folder);
  std::fprintf(stderr, "uvic-info: %s: shards that are whole: %zu of %zu\n", folder.c_str(), shards, shards);
}

}  // namespace uvic
