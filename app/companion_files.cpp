#include "app/companion_files.h"

#include "kernels/core/error.h"
#include "kernels/core/text.h"

namespace uvic {
namespace fs = std::filesystem;
namespace {

bool is_there(const fs::path& path, bool folder) {
  std::error_code ignored;
  return folder ? fs::is_directory(path, ignored) : fs::exists(path, ignored);
}

}  // namespace

std::vector<fs::path> companion_folders(const fs::path& model) {
  std::error_code ignored;
  fs::path folder = fs::is_directory(model, ignored) ? model : model.parent_path();
  if (folder.filename().empty()) folder = folder.parent_path();  // "run/"
  if (folder.empty()) folder = ".";
  std::vector<fs::path> folders{folder};
  if (const std::string name = fs::absolute(folder).filename().string(); name.starts_with("step-"))
    folders.push_back(folder.has_parent_path() ? folder.parent_path() : fs::path("."));
  return folders;
}

fs::path find_companion(const CompanionSearch& s) {
  if (!s.given.empty()) {
    UVIC_CHECK(is_there(s.given, false), s.option, ' ', s.given.string(), ": no such file or folder");
    return s.given;
  }
  const std::vector<fs::path> folders = companion_folders(s.model);
  std::vector<std::string> looked, where;
  if (!s.recorded.empty()) {
    std::vector<fs::path> places;
    for (const fs::path& folder : folders) places.push_back(folder / s.recorded);  // an absolute path stays itself
    if (!fs::path(s.recorded).is_absolute()) places.emplace_back(s.recorded);
    for (const fs::path& place : places) {
      if (is_there(place, false)) return place;
      if (looked.empty() || looked.back() != place.string()) looked.push_back(place.string());
    }
  }
  for (const fs::path& folder : folders) {
    where.push_back(folder.string());
    for (const std::string& name : s.names)
      if (is_there(folder / name, name.ends_with('/'))) return folder / name;
  }
  throw Error(concat(s.model.string(), ": its ", s.what, " is missing; looked ",
                     looked.empty() ? "" : concat("for ", join(looked), "; "), "in ", join(where, " and "), " for ",
                     join(s.names)),
              concat("give it with ", s.option));
}

}  // namespace uvic
