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

// "a.tar:train" is the file a.tar, unless there is a file of that whole name.
std::pair<std::string, std::string> split_subtree(const std::string& path) {
  const size_t colon = path.rfind(".tar:");
  if (colon == std::string::npos || fs::exists(path)) return {path, ""};
  return {path.substr(0, colon + 4), path.substr(colon + 5)};
}

}  // namespace

ImageIndex build_index(const std::string& path, const std::string& format, const std::vector<std::string>& classes) {
  UVIC_CHECK(!path.empty(), "data.path is not set");
  const auto [base, subtree] = split_subtree(path);
  const bool pattern = base.find_first_of("*?[") != std::string::npos && !fs::exists(base);
  const bool folder = fs::is_directory(base);
  UVIC_CHECK(pattern || fs::exists(base), base, ": no such file or folder");
  std::vector<fs::path> tars = pattern ? match(base) : folder ? tar_files(base) : std::vector<fs::path>{base};
  UVIC_CHECK(!pattern || !tars.empty(), base, ": no file matches");

  std::string kind = format;
  if (kind == "auto") {
    const std::string extension = fs::path(base).extension().string();
    if (folder) kind = !tars.empty() ? "tar" : fs::exists(fs::path(base) / "data_batch_1.bin") ? "cifar" : "folder";
    if (!folder && extension == ".tar") kind = "tar";
    if (!folder && extension == ".bin") kind = "cifar";
    if (!folder && (extension == ".txt" || extension == ".tsv")) kind = "list";
    UVIC_CHECK(kind != "auto", path, ": neither a folder nor a .tar, .bin or .txt file: set data.format");
  }
  UVIC_CHECK(folder || kind != "folder", path, ": data.format is folder, but this is a file");
  UVIC_CHECK(!tars.empty() || kind != "tar", path, ": data.format is tar, but there is no .tar file in this folder");

  ImageIndex index;
  if (kind == "folder") index = index_folder(base, classes);
  if (kind == "tar") index = index_tar(tars, subtree, classes);
  if (kind == "cifar") index = index_cifar(base, classes);
  if (kind == "list") index = index_list(base, classes);
  UVIC_CHECK(!index.entries.empty(), path, ": no images found (format ", kind, ")");
  return index;
}

}  // namespace uvic
