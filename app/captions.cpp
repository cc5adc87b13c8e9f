#include "app/captions.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string_view>
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

// For messages: a value that may be long, and need not be UTF-8.
std::string shown(const json& j) { return j.dump(-1, ' ', false, json::error_handler_t::replace).substr(0, 80); }

Captions from_json(const json& j, const std::string& where) {
  UVIC_CHECK(!j.is_discarded(), where, ": not JSON, or not UTF-8");
  if (j.is_string()) return {{}, {j}};
  UVIC_CHECK(j.is_object(), where, ": not a JSON object, nor a string");
  Captions c;
  if (const json* name = first_of(j, {"image", "file_name", "name"})) {
    UVIC_CHECK(name->is_string(), where, ": the image's name is ", shown(*name), ", not a string");
    c.image = *name;
  }
  const json* text = first_of(j, {"captions", "caption", "prompt", "text"});
  UVIC_CHECK(text, where, ": has none of caption, captions, prompt and text");
  for (const json& t : text->is_array() ? *text : json::array({*text})) {
    UVIC_CHECK(t.is_string(), where, ": a caption is ", shown(t), ", not a string");
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

// Captions in the order in which their images come first, each image's together.
class Collected {
 public:
  void add(Captions c, const std::string& where) {
    drop_number(c.image);
    UVIC_CHECK(all_.empty() || all_.front().image.empty() == c.image.empty(), where,
               c.image.empty() ? ": names no image, those before it do" : ": names an image, those before it do not");
    const auto [place, is_new] = by_name_.emplace(c.image, all_.size());
    if (c.image.empty() || is_new) {
      all_.push_back(std::move(c));
    } else {
      std::vector<std::string>& texts = all_[place->second].texts;
      texts.insert(texts.end(), c.texts.begin(), c.texts.end());
    }
  }
  std::vector<Captions> take() { return std::move(all_); }

 private:
  std::vector<Captions> all_;
  std::unordered_map<std::string, size_t> by_name_;
};

// MS-COCO's captions_*.json: images by rising id, as its own reader and U-ViT take them.
void add_coco(const json& images, const json& annotations, const std::string& path, Collected& all) {
  std::map<int64_t, Captions> by_id;
  const auto id_in = [&](const json& object, const char* key, const std::string& where) {
    const json* id = object.is_object() ? first_of(object, {key}) : nullptr;
    UVIC_CHECK(id && id->is_number_integer(), where, ": has no ", key);
    return id->get<int64_t>();
  };
  for (size_t i = 0; i < images.size(); ++i) {
    const std::string where = concat(path, ": image ", i);
    const json* name = images[i].is_object() ? first_of(images[i], {"file_name"}) : nullptr;
    UVIC_CHECK(name && name->is_string(), where, ": has no file_name");
    by_id[id_in(images[i], "id", where)].image = *name;
  }
  for (size_t i = 0; i < annotations.size(); ++i) {
    const std::string where = concat(path, ": annotation ", i);
    const int64_t id = id_in(annotations[i], "image_id", where);
    const auto image = by_id.find(id);
    UVIC_CHECK(image != by_id.end(), where, ": is of image ", id, ", which is not in images");
    const json* text = first_of(annotations[i], {"caption"});
    UVIC_CHECK(text && text->is_string(), where, ": has no caption");
    image->second.texts.push_back(*text);
  }
  for (auto& [id, captions] : by_id) {
    UVIC_CHECK(!captions.texts.empty(), path, ": image ", id, ", ", captions.image, ", has no captions");
    all.add(std::move(captions), path);
  }
}

void add_json(const json& j, const std::string& path, Collected& all) {
  if (j.is_object() && j.contains("images") && j.contains("annotations") && j["images"].is_array() &&
      j["annotations"].is_array())
    return add_coco(j["images"], j["annotations"], path, all);
  if (!j.is_array())
    throw Error(path + ": neither a JSON array of captions nor MS-COCO's images and annotations",
                "objects a line are a .jsonl");
  for (size_t i = 0; i < j.size(); ++i) {
    const std::string where = concat(path, ": element ", i);
    all.add(from_json(j[i], where), where);
  }
}

}  // namespace

std::vector<Captions> read_captions(const std::filesystem::path& path) {
  UVIC_CHECK(std::filesystem::is_regular_file(path), path.string(), ": no such file of captions");
  std::ifstream in(path, std::ios::binary);
  UVIC_CHECK(in, path.string(), ": ", std::strerror(errno));
  char start[3] = {};
  in.read(start, sizeof start);
  const std::string_view mark(start, static_cast<size_t>(in.gcount()));
  UVIC_CHECK(!mark.starts_with("\xFF\xFE") && !mark.starts_with("\xFE\xFF"), path.string(),
             ": is UTF-16; save it as UTF-8");
  in.clear();
  in.seekg(mark == "\xEF\xBB\xBF" ? 3 : 0);  // Windows' editors begin UTF-8 with a mark
  Collected all;
  if (path.extension() == ".json") {
    const json j = json::parse(in, nullptr, false);
    UVIC_CHECK(!j.is_discarded(), path.string(), ": not JSON, or cut short");
    add_json(j, path.string(), all);
  } else {
    const bool lines_of_json = path.extension() == ".jsonl";
    std::string line;
    for (int64_t number = 1; std::getline(in, line); ++number) {
      if (line.ends_with('\r')) line.pop_back();
      if (lines_of_json && line.find_first_not_of(" \t") == line.npos) continue;
      const std::string where = concat(path.string(), ':', number);
      all.add(lines_of_json ? from_json(json::parse(line, nullptr, false), where) : from_text(line), where);
    }
  }
  UVIC_CHECK(!in.bad(), path.string(), ": ", std::strerror(errno));
  std::vector<Captions> captions = all.take();
  UVIC_CHECK(!captions.empty(), path.string(), ": no captions in it");
  return captions;
}

std::vector<std::string> read_prompts(const std::filesystem::path& path) {
  std::vector<std::string> all;
  for (const Captions& c : read_captions(path)) all.insert(all.end(), c.texts.begin(), c.texts.end());
  return all;
}

}  // namespace uvic
