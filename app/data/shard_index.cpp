#include "app/data/shard_index.h"

#include <charconv>
#include <nlohmann/json.hpp>
#include <string_view>

#include "app/image_io.h"
#include "kernels/core/error.h"

namespace uvic {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kMagic = "uvic-shard-1";

// Takes text up to the next mark; nothing if there is none.
std::optional<std::string_view> take(std::string_view& text, char mark) {
  const size_t at = text.find(mark);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view part = text.substr(0, at);
  text.remove_prefix(at + 1);
  return part;
}

std::optional<int64_t> take_number(std::string_view& text, char mark) {
  const auto part = take(text, mark);
  int64_t v = 0;
  if (!part) return std::nullopt;
  const auto [end, error] = std::from_chars(part->data(), part->data() + part->size(), v);
  if (error != std::errc{} || end != part->data() + part->size()) return std::nullopt;
  return v;
}

}  // namespace

fs::path shard_index_path(const fs::path& shard) { return fs::path(shard).replace_extension(".tsv"); }

std::string shard_index_text(int64_t shard_bytes, const std::vector<ImageEntry>& entries) {
  std::string text = concat(kMagic, '\t', shard_bytes, '\t', entries.size(), '\n');
  for (const ImageEntry& e : entries) text += concat(e.name, '\t', e.offset, '\t', e.size, '\t', e.label, '\n');
  return text;
}

std::optional<std::vector<ImageEntry>> read_shard_index(const fs::path& shard) {
  const fs::path path = shard_index_path(shard);
  if (!fs::exists(path)) return std::nullopt;
  const std::vector<uint8_t> bytes = read_bytes(path);
  std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (take(text, '\t') != kMagic) return std::nullopt;  // somebody else's
  const auto damaged = [&](bool ok) {
    UVIC_CHECK(ok, path.string(), ": damaged index of ", shard.filename().string(),
               "; delete it, and the headers of the shard are read instead");
  };
  const auto shard_bytes = take_number(text, '\t'), count = take_number(text, '\n');
  damaged(shard_bytes && count);
  if (static_cast<int64_t>(fs::file_size(shard)) > *shard_bytes) return std::nullopt;
  std::vector<ImageEntry> entries;
  while (!text.empty()) {
    const auto name = take(text, '\t');
    const auto offset = take_number(text, '\t'), size = take_number(text, '\t'), label = take_number(text, '\n');
    damaged(name && offset && size && label && *offset >= 0 && *size >= 0 && *size <= *shard_bytes - *offset &&
            *label >= -1 && *label < 1000000);
    entries.push_back({std::string(*name), static_cast<int32_t>(*label), 0, *offset, *size});
  }
  damaged(static_cast<int64_t>(entries.size()) == *count);
  return entries;
}

std::vector<std::string> read_class_names(const fs::path& folder) {
  const fs::path path = folder / kIndexName;
  if (!fs::exists(path)) return {};
  const std::vector<uint8_t> bytes = read_bytes(path);
  const nlohmann::json json = nlohmann::json::parse(bytes.begin(), bytes.end(), nullptr, false);
  std::vector<std::string> names;
  if (!json.is_object() || !json.contains("classes") || !json["classes"].is_array()) return names;
  for (const auto& name : json["classes"])
    if (name.is_string()) names.push_back(name);
  return names;
}

}  // namespace uvic
