#include "app/captions.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "kernels/core/error.h"

namespace uvic {
namespace {

using nlohmann::json;

const json* first_of(const json& object, std::initializer_list<const char*> keys) {
  for (const char* key : keys)
    if (const auto it = object.find(key); it != object.end()) return &*it;
  return nullptr;
}

Captions from_json(const std::string& line, const std::string& where) {
  const json j = json::parse(line, nullptr, false);
  if (j.is_string()) return {{}, {j}};
  UVIC_CHECK(j.is_object(), where, ": not a JSON object, nor a string");
  Captions c;
  if (const json* name = first_of(j, {"image", "file_name", "name"})) {
    UVIC_CHECK(name->is_string(), where, ": the image's name is ", name->dump().substr(0, 80), ", not a string");
    c.image = *name;
  }
  const json* text = first_of(j, {"captions", "caption", "prompt", "text"});
  UVIC_CHECK(text, where, ": has none of caption, captions, prompt and text");
  for (const json& t : text->is_array() ? *text : json::array({*text})) {
    UVIC_CHECK(t.is_string(), where, ": a caption is ",
               t.dump(-1, ' ', false, json::error_handler_t::replace).substr(0, 80), ", not a string");
    c.texts.push_back(t);
  }
  UVIC_CHECK(!c.texts.empty(), where, ": has no captions");
  return c;
}

Captions from_text(const std::string& line) {
  const size_t tab = line.find('\t');
  if (tab == line.npos) return {{}, {line}};
  return {line.substr(0, tab), {line.substr(tab + 1)}};
}

// "dog.jpg#3" is the fourth caption of dog.jpg.
void drop_number(std::string& name) {
  const size_t hash = name.rfind('#');
  if (hash != name.npos && hash + 1 < name.size() && name.find_first_not_of("0123456789", hash + 1) == name.npos)
    name.resize(hash);
}

}  // namespace

std::vector<Captions> read_captions(const std::filesystem::path& path) {
  UVIC_CHECK(std::filesystem::is_regular_file(path), path.string(), ": no such file of captions");
  std::ifstream in(path, std::ios::binary);
  UVIC_CHECK(in, path.string(), ": ", std::strerror(errno));
  const bool lines_of_json = path.extension() == ".jsonl";
  std::vector<Captions> all;
  std::unordered_map<std::string, size_t> by_name;
  std::string line;
  for (int64_t number = 1; std::getline(in, line); ++number) {
    if (line.ends_with('\r')) line.pop_back();
    if (lines_of_json && line.find_first_not_of(" \t") == line.npos) continue;
    const std::string where = concat(path.string(), ':', number);
    Captions c = lines_of_json ? from_json(line, where) : from_text(line);
    drop_number(c.image);
    UVIC_CHECK(all.empty() || all.front().image.empty() == c.image.empty(), where,
               c.image.empty() ? ": names no image, lines before it do" : ": names an image, lines before it do not");
    const auto [place, is_new] = by_name.emplace(c.image, all.size());
    if (c.image.empty() || is_new) {
      all.push_back(std::move(c));
    } else {
      std::vector<std::string>& texts = all[place->second].texts;
      texts.insert(texts.end(), c.texts.begin(), c.texts.end());
    }
  }
  UVIC_CHECK(!in.bad(), path.string(), ": ", std::strerror(errno));
  UVIC_CHECK(!all.empty(), path.string(), ": no captions in it");
  return all;
}

std::vector<std::string> read_prompts(const std::filesystem::path& path) {
  std::vector<std::string> all;
  for (const Captions& c : read_captions(path)) all.insert(all.end(), c.texts.begin(), c.texts.end());
  return all;
}

}  // namespace uvic
