#include <glob.h>

#include <algorithm>

#include "app/data/index.h"
#include "kernels/core/error.h"

namespace uvic {
namespace fs = std::filesystem;
namespace {

std::vector<fs::path> match(const std::string& pattern) {
  glob_t found{};
  std::vector<fs::path> paths;
  if (::glob(pattern.c_str(), 0, nullptr, &found) == 0) paths.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  ::globfree(&found);
  return paths;
}

std::vector<fs::path> tar_files(const fs::path& dir) {
  std::vector<fs::path> files;
  for (const fs::directory_entry& item : fs::directory_iterator(dir))
    if (item.path().extension() == ".tar" && !item.path().filename().string().starts_with('.'))
      files.push_back(item.path());
  std::sort(files.begin(), files.end());
  return files;
}

// "a.tar:train" is the file a.tar, unless there is a file of that whole name. "a.tar::b.tar" has no subtree.
std::pair<std::string, std::string> split_subtree(const std::string& path) {
  const size_t colon = path.rfind(".tar:");
  if (colon == std::string::npos || path.substr(colon).starts_with(".tar::") || fs::exists(path)) return {path, ""};
  return {path.substr(0, colon + 4), path.substr(colon + 5)};
}

std::vector<std::string> split(const std::string& text, const std::string& mark) {
  std::vector<std::string> parts;
  size_t from = 0;
  for (size_t at; (at = text.find(mark, from)) != std::string::npos; from = at + mark.size())
    parts.push_back(text.substr(from, at - from));
  parts.push_back(text.substr(from));
  return parts;
}

// What stands between two braces, as a shell takes it: "000..012" or "a,b". Nothing if it is neither.
std::vector<std::string> alternatives(const std::string& inside) {
  const size_t dots = inside.find("..");
  if (dots == std::string::npos)
    return inside.find(',') == std::string::npos ? std::vector<std::string>{} : split(inside, ",");
  const std::string first = inside.substr(0, dots), last = inside.substr(dots + 2);
  const auto number = [](const std::string& s) {
    return !s.empty() && s.size() < 10 && s.find_first_not_of("0123456789") == std::string::npos;
  };
  if (!number(first) || !number(last)) return {};
  constexpr int kMost = 1000000;
  UVIC_CHECK(std::stoi(last) - std::stoi(first) < kMost, "{", inside, "}: more than ", kMost, " files");
  std::vector<std::string> names;
  for (int i = std::stoi(first); i <= std::stoi(last); ++i) {
    const std::string digits = std::to_string(i);
    names.push_back(std::string(first.size() - std::min(first.size(), digits.size()), '0') + digits);
  }
  return names;
}

std::vector<std::string> expand_braces(const std::string& text) {
  const size_t open = text.find('{'), close = text.find('}', open);
  if (close == std::string::npos) return {text};
  const std::vector<std::string> middle = alternatives(text.substr(open + 1, close - open - 1));
  if (middle.empty()) return {text};
  std::vector<std::string> all;
  for (const std::string& tail : expand_braces(text.substr(close + 1)))
    for (const std::string& m : middle) all.push_back(text.substr(0, open) + m + tail);
  std::sort(all.begin(), all.end());
  return all;
}

// The tar files that data.path stands for; empty for anything but .tar files and folders of them.
std::vector<fs::path> find_tars(const std::string& path) {
  std::vector<fs::path> files;
  for (const std::string& part : split(path, "::"))
    for (const std::string& name : fs::exists(part) ? std::vector{part} : expand_braces(part)) {
      if (fs::is_directory(name)) {
        const std::vector<fs::path> inside = tar_files(name);
        files.insert(files.end(), inside.begin(), inside.end());
      } else if (!fs::exists(name) && name.find_first_of("*?[") != std::string::npos) {
        const std::vector<fs::path> found = match(name);
        UVIC_CHECK(!found.empty(), name, ": no file matches");
        files.insert(files.end(), found.begin(), found.end());
      } else {
        UVIC_CHECK(fs::exists(name), name, ": no such file or folder");
        files.push_back(name);
      }
    }
  return files;
}

}  // namespace

ImageIndex build_index(const std::string& path, const std::string& format, const std::vector<std::string>& classes,
                       double max_bad_share) {
  UVIC_CHECK(!path.empty(), "data.path is not set");
  const auto [base, subtree] = split_subtree(path);
  const bool folder = fs::is_directory(base), one = folder || fs::exists(base);
  const std::vector<fs::path> tars = find_tars(base);

  std::string kind = format;
  if (kind == "auto") {
    const std::string extension = (one || tars.empty() ? fs::path(base) : tars[0]).extension().string();
    if (folder) kind = !tars.empty() ? "tar" : fs::exists(fs::path(base) / "data_batch_1.bin") ? "cifar" : "folder";
    if (!folder && extension == ".tar") kind = "tar";
    if (!folder && extension == ".bin") kind = "cifar";
    if (!folder && (extension == ".txt" || extension == ".tsv")) kind = "list";
    UVIC_CHECK(kind != "auto", path, ": neither a folder nor a .tar, .bin or .txt file: set data.format");
  }
  UVIC_CHECK(kind == "tar" || one, path, ": several files, which only .tar shards may be; data.format is ", kind);
  UVIC_CHECK(folder || kind != "folder", path, ": data.format is folder, but this is a file");
  UVIC_CHECK(!tars.empty() || kind != "tar", path, ": data.format is tar, but there is no .tar file in this folder");

  ImageIndex index;
  if (kind == "folder") index = index_folder(base, classes);
  if (kind == "tar") index = index_tar(tars, subtree, classes, max_bad_share);
  if (kind == "cifar") index = index_cifar(base, classes);
  if (kind == "list") index = index_list(base, classes);
  UVIC_CHECK(!index.entries.empty(), path, ": no images found (format ", kind, ")");
  return index;
}

}  // namespace uvic
