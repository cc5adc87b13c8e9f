#include "app/data/index.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <map>
#include <set>

#include "app/image_io.h"
#include "kernels/core/error.h"
#include "kernels/core/text.h"

namespace uvic {
namespace fs = std::filesystem;
namespace {

bool hidden(const std::string& name) { return name.starts_with('.'); }

// Directories are entered once even if links lead to them twice, or in a circle.
void collect(const fs::path& dir, const std::string& prefix, std::set<fs::path>& entered, ImageIndex& index) {
  if (!entered.insert(fs::canonical(dir)).second) return;
  for (const fs::directory_entry& item : fs::directory_iterator(dir)) {
    const std::string name = item.path().filename().string();
    if (hidden(name)) continue;
    std::error_code unreadable;  // a link that leads nowhere or in a circle is no image
    if (item.is_directory(unreadable)) {
      collect(item.path(), prefix + name + "/", entered, index);
    } else if (has_image_extension(item.path()) && item.is_regular_file(unreadable)) {
      index.entries.push_back({prefix + name, -1, static_cast<int32_t>(index.files.size()), 0, -1});
      index.files.push_back(item.path());
    }
  }
}

std::string first_folder(const std::string& name) {
  const size_t slash = name.find('/');
  return slash == std::string::npos ? "" : name.substr(0, slash);
}

}  // namespace

int32_t parse_label(std::string text, const std::string& where) {
  text.erase(std::find_if(text.begin(), text.end(), [](char c) { return c == '\n' || c == '\r' || c == ' '; }),
             text.end());
  int32_t label = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), label);
  UVIC_CHECK(error == std::errc{} && end == text.data() + text.size() && label >= 0, where,
             ": a label must be an integer >= 0, got ", quote(text));
  return label;
}

// Labels were read from the data; classes, if given, are their names.
void name_numbered_classes(ImageIndex& index, const std::vector<std::string>& classes, const std::string& path) {
  int32_t largest = -1;
  for (const ImageEntry& entry : index.entries) largest = std::max(largest, entry.label);
  UVIC_CHECK(classes.empty() || static_cast<int64_t>(classes.size()) > largest, path, ": has label ", largest,
             ", data.classes names only ", classes.size(), " classes");
  UVIC_CHECK(largest < 1000000, path, ": has label ", largest, ", too large for a class number");
  index.class_names = classes;
  for (int32_t i = static_cast<int32_t>(classes.size()); i <= largest; ++i)
    index.class_names.push_back(std::to_string(i));
  std::sort(index.entries.begin(), index.entries.end(), [](const ImageEntry& a, const ImageEntry& b) {
    return std::tie(a.label, a.name, a.file) < std::tie(b.label, b.name, b.file);
  });
}

void assign_labels(ImageIndex& index, const std::vector<std::string>& classes, bool strip_root,
                   const std::string& path) {
  std::vector<ImageEntry>& entries = index.entries;
  const auto label_folder = [&](const ImageEntry& e, size_t skip) { return first_folder(e.name.substr(skip)); };
  size_t skip = 0;
  if (const std::string root = entries.empty() ? "" : first_folder(entries[0].name); strip_root && !root.empty()) {
    const bool shared = std::all_of(entries.begin(), entries.end(), [&](const ImageEntry& e) {
      return e.name.starts_with(root + "/") && !label_folder(e, root.size() + 1).empty();
    });
    if (shared) skip = root.size() + 1;
  }
  std::set<std::string> found;
  for (const ImageEntry& entry : entries) found.insert(label_folder(entry, skip));
  for (const std::string& name : classes)
    UVIC_CHECK(found.contains(name), path, ": data.classes names '", name,
               "', but there is no such folder; did you mean '",
               nearest(name, std::vector<std::string>(found.begin(), found.end())), "'?");
  if (!found.contains("") || !classes.empty()) {
    index.class_names = classes.empty() ? std::vector<std::string>(found.begin(), found.end()) : classes;
    std::map<std::string, int32_t> label;
    for (const std::string& name : index.class_names) label.emplace(name, static_cast<int32_t>(label.size()));
    for (ImageEntry& entry : entries) {
      const auto it = label.find(label_folder(entry, skip));
      entry.label = it == label.end() ? -1 : it->second;
    }
    std::erase_if(entries, [](const ImageEntry& e) { return e.label < 0; });
  }
  std::sort(entries.begin(), entries.end(), [](const ImageEntry& a, const ImageEntry& b) {
    return std::tie(a.label, a.name, a.file) < std::tie(b.label, b.name, b.file);
  });
}

ImageIndex index_folder(const fs::path& root, const std::vector<std::string>& classes) {
  ImageIndex index;
  std::set<fs::path> entered;
  try {
    collect(root, "", entered, index);
  } catch (const fs::filesystem_error& e) {
    fail(e.path1().string(), ": cannot read the folder: ", e.code().message());
  }
  assign_labels(index, classes, false, root.string());
  return index;
}

ImageIndex index_cifar(const fs::path& path, const std::vector<std::string>& classes) {
  constexpr int64_t kRecord = 1 + 3 * 32 * 32;
  ImageIndex index;
  index.coding = Coding::cifar;
  if (fs::is_directory(path)) {
    for (const fs::directory_entry& item : fs::directory_iterator(path))
      if (const std::string name = item.path().filename().string();
          name.starts_with("data_batch") && name.ends_with(".bin"))
        index.files.push_back(item.path());
    std::sort(index.files.begin(), index.files.end());
  } else {
    index.files = {path};
  }
  for (size_t file = 0; file < index.files.size(); ++file) {
    const std::vector<uint8_t> bytes = read_bytes(index.files[file]);
    const auto size = static_cast<int64_t>(bytes.size());
    UVIC_CHECK(size % kRecord == 0, index.files[file].string(), ": ", size, " bytes is not a multiple of ", kRecord,
               ", the record of CIFAR-10's binary version");
    for (int64_t at = 0; at < size; at += kRecord) {
      const int32_t label = bytes[static_cast<size_t>(at)];
      const std::string name = concat(index.files[file].filename().string(), "[", at / kRecord, "]");
      UVIC_CHECK(label < 10, index.files[file].string(), ": record ", at / kRecord, " has label ", label, ", above 9");
      index.entries.push_back({name, label, static_cast<int32_t>(file), at + 1, kRecord - 1});
    }
  }
  index.class_names = {"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"};
  UVIC_CHECK(classes.empty() || classes.size() == index.class_names.size(), path.string(),
             ": CIFAR-10 has 10 classes, data.classes names ", classes.size());
  if (!classes.empty()) index.class_names = classes;
  return index;
}

ImageIndex index_list(const fs::path& path, const std::vector<std::string>& classes) {
  ImageIndex index;
  std::ifstream in(path);
  UVIC_CHECK(in, path.string(), ": cannot open");
  int64_t row = 0, labels = 0;
  for (std::string line; std::getline(in, line);) {
    ++row;
    if (line.ends_with('\r')) line.pop_back();
    if (line.empty()) continue;
    const size_t tab = line.find('\t');
    const std::string name = line.substr(0, tab);
    ImageEntry& entry =
        index.entries.emplace_back(ImageEntry{name, -1, static_cast<int32_t>(index.files.size()), 0, -1});
    index.files.push_back(path.parent_path() / name);
    if (tab == std::string::npos) continue;
    entry.label = parse_label(line.substr(tab + 1), concat(path.string(), ":", row));
    ++labels;
  }
  UVIC_CHECK(labels == 0 || labels == static_cast<int64_t>(index.entries.size()), path.string(), ": ", labels, " of ",
             index.entries.size(), " images have a label: either all must, or none");
  if (labels > 0) name_numbered_classes(index, classes, path.string());
  return index;
}

}  // namespace uvic
