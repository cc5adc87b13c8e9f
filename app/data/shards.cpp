#include <algorithm>
#include <atomic>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "app/data/index.h"
#include "app/data/shard_index.h"
#include "app/data/tar.h"
#include "app/image_io.h"
#include "kernels/core/error.h"

namespace uvic {
namespace fs = std::filesystem;
namespace {

// WebDataset's key: everything up to the first dot of the last component.
std::string key_of(const std::string& name) {
  const size_t slash = name.rfind('/');
  return name.substr(0, name.find('.', slash == std::string::npos ? 0 : slash));
}

struct Shard {
  std::vector<ImageEntry> entries;  // label -1: none beside it
  bool labelled = false;            // there are key.cls or key.json files
  std::string lost;                 // why it cannot be used, if not empty
  std::string error;                // of what lies in it
};

std::string text_of(const fs::path& shard, const TarEntry& entry) {
  const std::vector<uint8_t> bytes = read_bytes(shard, entry.offset, entry.size);
  return {bytes.begin(), bytes.end()};
}

// The integer "label" of a key.json; nothing if it is about something else.
std::optional<int32_t> label_in_json(const std::string& text, const std::string& where) {
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object() || !json.contains("label") || !json["label"].is_number_integer()) return std::nullopt;
  return parse_label(json["label"].dump(), where);
}

// Of several images with one key (photo.jpg, photo.depth.png) one is the sample's: that named key.jpg, or the first.
void keep_one_image_a_key(std::vector<ImageEntry>& entries) {
  std::map<std::string, size_t> chosen;
  const auto plain = [](const std::string& name) {
    return key_of(name) == fs::path(name).replace_extension().string();
  };
  for (size_t i = 0; i < entries.size(); ++i) {
    const auto [it, added] = chosen.emplace(key_of(entries[i].name), i);
    if (!added && plain(entries[i].name) && !plain(entries[it->second].name)) it->second = i;
  }
  std::erase_if(entries, [&, i = size_t{0}](const ImageEntry& e) mutable { return chosen.at(key_of(e.name)) != i++; });
}

Shard scan(const fs::path& path, int32_t file, const std::string& prefix) {
  Shard shard;
  std::vector<TarEntry> files;
  try {
    files = read_tar_index(path);
  } catch (const Error& e) {
    shard.lost = e.what();
    return shard;
  }
  constexpr int64_t kLongestLabel = 32, kLongestJson = 1 << 20;
  std::map<std::string, int32_t> label_of;  // by key
  std::vector<const TarEntry*> json;
  for (TarEntry& entry : files) {
    if (entry.name.starts_with("./")) entry.name.erase(0, 2);
    if (!entry.name.starts_with(prefix) || fs::path(entry.name).filename().string().starts_with('.')) continue;
    entry.name.erase(0, prefix.size());
    if (has_image_extension(entry.name)) {
      shard.entries.push_back({entry.name, -1, file, entry.offset, entry.size});
    } else if (entry.name.ends_with(".cls") && entry.size <= kLongestLabel) {
      label_of[key_of(entry.name)] = parse_label(text_of(path, entry), path.string() + ": " + entry.name);
    } else if (entry.name.ends_with(".json") && entry.size <= kLongestJson) {
      json.push_back(&entry);
    }
  }
  if (label_of.empty())
    for (const TarEntry* entry : json)
      if (const auto label = label_in_json(text_of(path, *entry), path.string() + ": " + entry->name))
        label_of[key_of(entry->name)] = *label;
  shard.labelled = !label_of.empty();
  if (shard.labelled) keep_one_image_a_key(shard.entries);
  for (ImageEntry& entry : shard.entries)
    if (const auto it = label_of.find(key_of(entry.name)); it != label_of.end()) entry.label = it->second;
  return shard;
}

Shard scan_or_say_why(const fs::path& path, int32_t file, const std::string& prefix) {
  try {
    if (prefix.empty())
      if (std::optional<std::vector<ImageEntry>> known = read_shard_index(path)) {
        for (ImageEntry& entry : *known) entry.file = file;
        const bool labelled = !known->empty() && known->front().label >= 0;
        return {std::move(*known), labelled, {}, {}};
      }
    return scan(path, file, prefix);
  } catch (const std::exception& e) {
    return {{}, false, {}, e.what()};
  }
}

// Each header costs a round trip on a network disk: shards are read by several threads, even on one processor.
std::vector<Shard> scan_all(const std::vector<fs::path>& paths, const std::string& prefix) {
  std::vector<Shard> shards(paths.size());
  std::atomic<size_t> next = 0;
  const auto work = [&] {
    for (size_t i = next++; i < paths.size(); i = next++)
      shards[i] = scan_or_say_why(paths[i], static_cast<int32_t>(i), prefix);
  };
  std::vector<std::jthread> threads;
  for (size_t i = 1; i < std::min<size_t>(8, paths.size()); ++i) threads.emplace_back(work);
  work();
  threads.clear();
  for (const Shard& shard : shards) UVIC_CHECK(shard.error.empty(), shard.error);
  return shards;
}

void check_lost(const std::vector<fs::path>& paths, const std::vector<Shard>& shards, double max_bad_share,
                const std::string& where) {
  double all = 0, lost = 0;
  std::string names;
  for (size_t i = 0; i < paths.size(); ++i) {
    std::error_code unknown;
    const uintmax_t size = fs::file_size(paths[i], unknown);
    const double bytes = 1 + (unknown ? 0 : static_cast<double>(size));  // an empty file is a loss, too
    all += bytes;
    if (shards[i].lost.empty()) continue;
    lost += bytes;
    names += "\n  " + shards[i].lost;
  }
  if (lost <= max_bad_share * all) return;
  if (paths.size() == 1) fail(shards[0].lost);
  fail(where, ": damaged shards hold ", lost / all, " of the bytes, more than data.max_bad_share ", max_bad_share,
       " allows:", names);
}

}  // namespace

ImageIndex index_tar(const std::vector<fs::path>& paths, const std::string& subtree,
                     const std::vector<std::string>& classes, double max_bad_share) {
  const std::string prefix = subtree.empty() || subtree.ends_with('/') ? subtree : subtree + "/";
  const std::string where = paths[0].string() + (subtree.empty() ? "" : ":" + subtree);
  std::vector<Shard> shards = scan_all(paths, prefix);
  check_lost(paths, shards, max_bad_share, where);
  ImageIndex index;
  index.files = paths;
  index.in_tar = true;
  bool labelled = false;
  for (Shard& shard : shards) {
    labelled |= shard.labelled;
    if (!shard.lost.empty()) index.lost.push_back(shard.lost);
    std::move(shard.entries.begin(), shard.entries.end(), std::back_inserter(index.entries));
  }
  if (!labelled) {
    assign_labels(index, classes, true, where);
    return index;
  }
  for (const ImageEntry& entry : index.entries)
    UVIC_CHECK(entry.label >= 0, paths[static_cast<size_t>(entry.file)].string(), ": ", entry.name,
               " has no label beside it, as other images have (key.cls)");
  name_numbered_classes(index, classes.empty() ? read_class_names(paths[0].parent_path()) : classes, where);
  return index;
}

}  // namespace uvic
