#include "app/data/pack_log.h"

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>

#include "app/data/json_text.h"
#include "app/data/shard_index.h"
#include "app/dataset.h"
#include "kernels/core/error.h"
#include "kernels/core/text.h"
#include "model/io/file.h"

namespace uvic {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::ordered_json;

std::string line_of(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";  // names need not be UTF-8
}

std::string line_of(const PackSettings& s) {
  return line_of(Json{{"format", "uvic-pack-1"},
                      {"shard_mb", s.shard_mb},
                      {"size", s.size},
                      {"crop", s.crop},
                      {"jpeg_quality", s.jpeg_quality},
                      {"in_order", s.in_order},
                      {"seed", s.seed},
                      {"exif_orientation", s.exif_orientation},
                      {"images", s.images},
                      {"fingerprint", s.fingerprint}});
}

std::string line_of(const PackedShard& s) {
  return line_of(Json{{"file", s.file}, {"samples", s.samples}, {"bytes", s.bytes}, {"next", s.next}, {"bad", s.bad}});
}

// Nothing if the line is not what line_of() makes.
std::optional<PackedShard> shard_of(const Json& json) {
  if (!json.is_object()) return std::nullopt;
  try {
    return PackedShard{json.at("file"), json.at("samples"), json.at("bytes"), json.at("next"), json.at("bad")};
  } catch (const Json::exception&) {
    return std::nullopt;
  }
}

}  // namespace

std::string fingerprint(const Dataset& data) {
  uint64_t hash = 0xcbf29ce484222325u;  // FNV-1a
  const auto mix = [&](unsigned char byte) { hash = (hash ^ byte) * 0x100000001b3u; };
  for (int64_t i = 0; i < data.size(); ++i) {
    for (const char c : data.name(i)) mix(static_cast<unsigned char>(c));
    for (const char c : concat('\t', data.label(i), '\t', data.stored_bytes(i), '\n'))
      mix(static_cast<unsigned char>(c));
  }
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

PackLog::PackLog(const fs::path& folder, const PackSettings& settings) : folder_(folder), path_(folder / "pack.jsonl") {
  std::error_code error;
  fs::create_directories(folder, error);
  UVIC_CHECK(!error, quote(folder.string()), ": cannot create this folder for the shards: ", error.message());
  lock_.emplace(folder);
  const std::string wanted = line_of(settings);
  if (fs::exists(path_)) {
    read(wanted);
  } else {
    for (const fs::directory_entry& item : fs::directory_iterator(folder))
      UVIC_CHECK(item.path().extension() != ".tar", folder.string(), ": holds ", item.path().filename().string(),
                 ", which is not of this packing; choose an empty folder");
  }
  rewrite(wanted);
}

void PackLog::read(const std::string& settings) {
  std::ifstream in(path_);
  std::string line;
  std::getline(in, line);
  UVIC_CHECK(line + "\n" == settings, folder_.string(),
             ": holds shards packed with other settings or of other images (", json_differences(line, settings),
             "); choose an empty folder");
  while (std::getline(in, line) && !in.eof()) {  // a line without its end was torn
    const Json json = Json::parse(line, nullptr, false);
    const std::optional<PackedShard> shard = shard_of(json);
    if (!shard || shard->next <= next()) return;
    const fs::path path = folder_ / shard->file;
    std::error_code absent;
    const bool there = static_cast<int64_t>(fs::file_size(path, absent)) == shard->bytes && !absent;
    if (!shard->file.empty() && !(there && fs::exists(shard_index_path(path), absent))) return;
    shards_.push_back(*shard);
  }
}

void PackLog::rewrite(const std::string& settings) const {
  AtomicFile file(path_);
  std::string text = settings;
  for (const PackedShard& shard : shards_) text += line_of(shard);
  file.write(text.data(), text.size());
  file.commit();
}

void PackLog::add(const PackedShard& shard) {
  shards_.push_back(shard);
  std::ofstream out(path_, std::ios::app);
  out << line_of(shard);
  out.close();
  UVIC_CHECK(out, path_.string(), ": cannot be written");
}

}  // namespace uvic
