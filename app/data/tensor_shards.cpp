#include "app/data/tensor_shards.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

#include "app/data/json_text.h"
#include "app/data/shard_checksums.h"
#include "app/parallel_for.h"
#include "kernels/core/error.h"
#include "kernels/core/text.h"
#include "model/io/file.h"
#include "model/io/finite.h"

namespace uvic {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFormat = "uvic-tensors-1";
constexpr const char *kMade = "made", *kShard = "shard", *kNames = "names", *kLeftOut = "left_out", *kSums = "crc32";

std::string shard_name(const std::string& kind, int number) {
  char text[32];
  std::snprintf(text, sizeof text, "-%06d.safetensors", number);
  return kind + text;
}

// Of a name that shard_name() makes; nothing for any other, as a text-encoder.safetensors that lies there.
std::optional<int> number_of(const fs::path& path, const std::string& kind) {
  const std::string name = path.filename().string();
  int number = -1;
  if (name.size() > kind.size()) std::from_chars(name.data() + kind.size() + 1, name.data() + name.size(), number);
  return number >= 0 && name == shard_name(kind, number) ? std::optional(number) : std::nullopt;
}

std::string made_text(const ShardPlan& plan) {
  Json made{{"kind", plan.kind}};
  for (const auto& [key, value] : plan.made) std::visit([&, name = key](const auto& v) { made[name] = v; }, value);
  made["items"] = plan.items;
  made["items_a_shard"] = plan.items_a_shard;
  return made.dump(-1, ' ', false, Json::error_handler_t::replace);  // names need not be UTF-8, metadata must
}

std::string metadata_of(const SafetensorsFile& file, const char* key) {
  const auto found = file.metadata().find(key);
  return found == file.metadata().end() ? "" : found->second;
}

// A u8 tensor, not metadata: names need not be UTF-8.
void add_lines(const char* name, const std::vector<std::string>& lines, std::string& text,
               std::vector<NamedTensor>& tensors) {
  for (const std::string& line : lines) text += escape(line) + "\n";
  if (!text.empty()) tensors.push_back({name, Tensor(text.data(), DType::u8, {static_cast<int64_t>(text.size())})});
}

std::string_view text_of(const SafetensorsFile& file, const char* name) {
  if (!file.contains(name)) return {};
  const Tensor t = file.tensor(name);
  return {reinterpret_cast<const char*>(t.data<uint8_t>()), static_cast<size_t>(t.numel())};
}

void append_lines(std::string_view text, std::vector<std::string>& lines) {
  for (size_t to; (to = text.find('\n')) != std::string_view::npos; text.remove_prefix(to + 1))
    lines.emplace_back(text.substr(0, to));
}

int64_t lines_in(const SafetensorsFile& file, const char* name) {
  const std::string_view text = text_of(file, name);
  return std::count(text.begin(), text.end(), '\n');
}

Json index_entry(const SafetensorsFile& file) {
  Json entry{{"file", file.path().filename().string()},
             {"items", lines_in(file, kNames)},
             {"bytes", fs::file_size(file.path())}};
  if (const std::string sums = metadata_of(file, kSums); !sums.empty())
    entry[kSums] = Json::parse(sums, nullptr, false);
  return entry;
}

}  // namespace

TensorShardWriter::TensorShardWriter(const fs::path& folder, ShardPlan plan)
    : folder_(folder), plan_(std::move(plan)), made_(made_text(plan_)) {
  UVIC_CHECK(plan_.items > 0 && plan_.items_a_shard > 0, "TensorShardWriter: ", plan_.items, " items, ",
             plan_.items_a_shard, " a shard");
  whole_.resize(static_cast<size_t>((plan_.items + plan_.items_a_shard - 1) / plan_.items_a_shard));
  std::error_code error;
  fs::create_directories(folder_, error);
  UVIC_CHECK(!error, quote(folder_.string()), ": cannot create this folder for the shards: ", error.message());
  for (const fs::directory_entry& item : fs::directory_iterator(folder_)) {
    const std::optional<int> number = number_of(item.path(), plan_.kind);
    if (!number) continue;
    std::optional<SafetensorsFile> file;
    try {
      file.emplace(item.path());
    } catch (const Error&) {
      continue;  // torn after it was written, as by a copy: it is made again
    }
    const std::string made = metadata_of(*file, kMade);
    UVIC_CHECK(made == made_, folder_.string(), ": holds ", item.path().filename().string(),
               ", made with other settings or of other data (", json_differences(made, made_),
               "); choose an empty folder");
    if (*number < shards() && metadata_of(*file, kShard) == std::to_string(*number))
      whole_[static_cast<size_t>(*number)] = true;
  }
}

fs::path TensorShardWriter::path(int shard) const { return folder_ / shard_name(plan_.kind, shard); }

Rows TensorShardWriter::items(int shard) const {
  const int64_t begin = shard * plan_.items_a_shard;
  return {begin, std::min(plan_.items, begin + plan_.items_a_shard)};
}

void TensorShardWriter::write(int shard, const ShardContents& contents) {
  std::vector<NamedTensor> tensors = contents.tensors;
  std::string names, left_out;
  add_lines(kNames, contents.names, names, tensors);
  add_lines(kLeftOut, contents.left_out, left_out, tensors);
  for (const auto& [name, tensor] : tensors)
    if (!all_finite(tensor))
      throw Error(concat(path(shard).string(), ": a number of ", quote(name), " would not be finite"),
                  tensor.dtype() == DType::f16 ? "--store f32 and bf16 take larger numbers than f16" : "");
  write_safetensors(
      path(shard), tensors,
      {{"format", kFormat}, {kMade, made_}, {kShard, std::to_string(shard)}, {kSums, checksums_of(tensors)}});
  whole_[static_cast<size_t>(shard)] = true;
}

ShardTotals TensorShardWriter::totals() const {
  ShardTotals totals;
  for (int shard = 0; shard < shards(); ++shard) {
    if (!whole(shard)) continue;
    const SafetensorsFile file(path(shard));
    totals.items += lines_in(file, kNames);
    totals.left_out += lines_in(file, kLeftOut);
    totals.bytes += static_cast<int64_t>(fs::file_size(path(shard)));
  }
  return totals;
}

void TensorShardWriter::finish() const {
  Json files = Json::array();
  int64_t items = 0;
  std::vector<std::string> left_out;
  for (int shard = 0; shard < shards(); ++shard) {
    const SafetensorsFile file(path(shard));
    append_lines(text_of(file, kLeftOut), left_out);
    const Json& entry = files.emplace_back(index_entry(file));
    items += entry["items"].get<int64_t>();
  }
  const Json index{{"format", kFormat},          {"items", items},
                   {"made", Json::parse(made_)}, {"classes", plan_.class_names},
                   {"left_out", left_out},       {"shards", files}};
  const std::string text = index.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
  AtomicFile file(folder_ / (plan_.kind + ".json"));
  file.write(text.data(), text.size());
  file.commit();
}

bool TensorShards::any(const fs::path& folder, const std::string& kind) {
  std::error_code absent;
  if (fs::exists(folder / (kind + ".json"), absent)) return true;
  for (const fs::directory_entry& item : fs::directory_iterator(folder, absent))
    if (number_of(item.path(), kind)) return true;
  return false;
}

TensorShards::TensorShards(const fs::path& folder, const std::string& kind) : index_(folder / (kind + ".json")) {
  UVIC_CHECK(any(folder, kind), folder.string(), ": no ", kind, " that uvic-encode made are here");
  if (!fs::exists(index_))
    throw Error(concat(folder.string(), ": its ", kind, " are not whole: there are shards, but no ", kind, ".json"),
                concat("give the command `uvic-encode ", kind, " ... -o ", folder.string(), "` again to finish them"));
  const Json index = Json::parse(std::ifstream(index_), nullptr, false);
  try {
    UVIC_CHECK(index.at("format") == kFormat && index.at("made").at("kind") == kind, "is of another format");
    class_names_ = index.at("classes").get<std::vector<std::string>>();
    left_out_ = static_cast<int64_t>(index.value("left_out", Json::array()).size());
    for (const auto& [key, value] : index.at("made").items())
      made_.emplace_back(key, value.is_string() ? value.get<std::string>() : value.dump());
    std::string last;
    for (const Json& entry : index.at("shards")) {
      const std::string name = entry.at("file").get<std::string>();
      UVIC_CHECK(fs::path(name).filename() == name, "names a shard in another folder");
      UVIC_CHECK(name > last, "names ", name, " behind ", last);
      SafetensorsFile file(folder / name);
      UVIC_CHECK(nlohmann::json(index_entry(file)) == nlohmann::json(entry), file.path().string(),
                 ": is not the shard that ", index_.filename().string(),
                 " means: ", json_differences(entry.dump(), index_entry(file).dump()));
      last = name;
      if (entry.at("items") == 0) continue;  // all its items were broken
      first_.push_back(first_.back() + lines_in(file, kNames));
      shards_.push_back(std::move(file));
    }
    UVIC_CHECK(index.at("items") == items(), "has ", index.at("items").dump(), " items, its shards ", items());
  } catch (const Json::exception&) {
    fail(index_.string(), ": damaged, or not of uvic-encode");
  } catch (const Error& e) {
    const std::string what = e.what();
    throw Error(what.starts_with(folder.string()) ? what : concat(index_.string(), ": ", what),
                concat("remove what is damaged and give the command `uvic-encode ", kind, " ... -o ", folder.string(),
                       "` again: only that is made anew"));
  }
  UVIC_CHECK(items() > 0, index_.string(), ": of no items");
}

TensorShards::Place TensorShards::at(int64_t item) const {
  const auto after = std::upper_bound(first_.begin(), first_.end(), item);
  const auto shard = static_cast<size_t>(after - first_.begin()) - 1;
  return {shards_[shard], item - first_[shard]};
}

std::vector<std::string> TensorShards::names() const {
  std::vector<std::string> all;
  for (const SafetensorsFile& file : shards_) append_lines(text_of(file, kNames), all);
  return all;
}

std::vector<std::string> TensorShards::damage(int threads) const {
  std::vector<std::string> of_shard(shards_.size()), all;
  parallel_for(shards_.size(), threads, [&](size_t i) {
    const SafetensorsFile& file = shards_[i];
    const std::string sums = metadata_of(file, kSums);
    if (sums.empty()) {
      of_shard[i] = file.path().string() + ": has no checksums, it is of an older uvic-encode";
    } else if (const std::vector<std::string> changed = changed_tensors(file, sums); !changed.empty()) {
      of_shard[i] = concat(file.path().string(), ": ", join(changed), " changed since it was written");
    }
  });
  for (std::string& line : of_shard)
    if (!line.empty()) all.push_back(std::move(line));
  return all;
}

std::string TensorShards::made(const std::string& key) const {
  for (const auto& [name, value] : made_)
    if (name == key) return value;
  return "";
}

}  // namespace uvic
