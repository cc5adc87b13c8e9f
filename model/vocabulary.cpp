#include "model/vocabulary.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>

#include "kernels/core/text.h"
#include "model/io/file.h"
#include "model/io/gzip.h"
#include "model/text/unicode.h"

namespace uvic {
namespace fs = std::filesystem;
using nlohmann::json;
namespace {

constexpr size_t kMaxBytes = size_t{1} << 26;  // of a file, unpacked: CLIP's are 1 to 4 MB
constexpr size_t kClipMerges = 48894;          // that CLIP takes of the 262,144 in OpenAI's file
constexpr std::array kFiles{"merges.txt", "tokenizer.json", "bpe_simple_vocab_16e6.txt.gz",
                            "bpe_simple_vocab_16e6.txt"};

// Bytes in the order of CLIP's vocabulary: the printable ones first.
std::vector<int> byte_order() {
  std::vector<int> order, others;
  for (int b = 0; b < 256; ++b) {
    const bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
    (printable ? order : others).push_back(b);
  }
  order.insert(order.end(), others.begin(), others.end());
  return order;
}

std::string read_text(const fs::path& path) { return read_maybe_gzip(path, kMaxBytes); }

json read_object(const fs::path& path) {
  json j = json::parse(read_text(path), nullptr, false);
  UVIC_CHECK(j.is_object(), path.string(), ": not a JSON object");
  return j;
}

void add_merge(Vocabulary& v, std::string_view line, const std::string& where) {
  const size_t space = line.find(' ');
  UVIC_CHECK(space != line.npos && space > 0 && space + 1 < line.size() && line.find(' ', space + 1) == line.npos,
             where, " is ", quote(line), ", not two symbols with a space between");
  v.merges.emplace_back(line.substr(0, space), line.substr(space + 1));
}

// Lines of merges behind a "#version" line; an empty one ends them.
void read_merges(Vocabulary& v, const fs::path& path) {
  const std::string text = read_text(path);
  std::string_view rest = text;
  for (size_t number = 1; !rest.empty() && v.merges.size() < kClipMerges; ++number) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) break;
    if (number == 1 && line.find("#version") != line.npos) continue;
    add_merge(v, line, concat(path.string(), ": line ", number));
  }
  UVIC_CHECK(!v.merges.empty(), path.string(), ": no merges, lines of two symbols, in it");
}

void read_ids(Vocabulary& v, const json& ids, const std::string& where) {
  UVIC_CHECK(ids.is_object(), where, ": not an object of symbols and their ids");
  for (const auto& [symbol, id] : ids.items()) {
    UVIC_CHECK(id.is_number_integer() && id >= 0 && id < (1 << 24), where, ": the id of ", quote(symbol), " is ",
               id.dump(), ", wanted a small whole number");
    v.ids[symbol] = id;
  }
}

void read_tokenizer_json(Vocabulary& v, const fs::path& path) {
  const json j = read_object(path);
  const json model = j.value("model", json::object());
  UVIC_CHECK(model.is_object() && model.contains("merges") && model.contains("vocab") && model["merges"].is_array(),
             path.string(), ": no byte-pair model with vocab and merges in it");
  read_ids(v, model["vocab"], path.string() + ": vocab");
  for (const json& merge : model["merges"]) {
    const std::string where = concat(path.string(), ": merge ", v.merges.size());
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      v.merges.emplace_back(merge[0], merge[1]);
    } else {
      UVIC_CHECK(merge.is_string(), where, " is ", merge.dump().substr(0, 80), ", not two symbols");
      add_merge(v, merge.get_ref<const std::string&>(), where);
    }
  }
  for (const json& added : j.value("added_tokens", json::array())) {
    if (added.is_object() && added.contains("content") && added.contains("id") && added["content"].is_string())
      read_ids(v, {{added["content"].get<std::string>(), added["id"]}}, path.string() + ": added_tokens");
  }
}

// Ids in CLIP's own order: bytes, bytes at a word's end, merges, start, end.
void number_symbols(Vocabulary& v) {
  const auto add = [&](const std::string& symbol) { v.ids.emplace(symbol, static_cast<int32_t>(v.ids.size())); };
  for (const int b : byte_order()) add(byte_symbols()[static_cast<size_t>(b)]);
  for (const int b : byte_order()) add(byte_symbols()[static_cast<size_t>(b)] + Vocabulary::kWordEnd);
  for (const auto& [left, right] : v.merges) add(left + right);
  add(Vocabulary::kStart);
  add(Vocabulary::kEnd);
}

void check(const Vocabulary& v, const std::string& where) {
  const auto need = [&](const std::string& symbol) {
    UVIC_CHECK(v.ids.contains(symbol), where, ": the vocabulary has no ", quote(symbol));
  };
  for (const std::string& symbol : byte_symbols()) need(symbol), need(symbol + Vocabulary::kWordEnd);
  for (const auto& [left, right] : v.merges) need(left), need(right), need(left + right);
  need(Vocabulary::kStart), need(Vocabulary::kEnd);
  std::set<int32_t> ids;
  for (const auto& [symbol, id] : v.ids)
    UVIC_CHECK(ids.insert(id).second, where, ": two symbols have the id ", id, ", one is ", quote(symbol));
}

}  // namespace

const std::vector<std::string>& byte_symbols() {
  static const std::vector<std::string> symbols = [] {
    std::vector<std::string> all(256);
    const std::vector<int> order = byte_order();
    const auto printable = static_cast<size_t>(std::find(order.begin(), order.end(), 0) - order.begin());
    for (size_t i = 0; i < order.size(); ++i) {
      const auto c = static_cast<char32_t>(i < printable ? order[i] : 256 + static_cast<int>(i - printable));
      all[static_cast<size_t>(order[i])] = text::encode_utf8({&c, 1});
    }
    return all;
  }();
  return symbols;
}

std::optional<fs::path> find_vocabulary(const fs::path& folder) {
  for (const char* name : kFiles)
    if (fs::exists(folder / name)) return folder / name;
  return std::nullopt;
}

Vocabulary read_vocabulary(const fs::path& path) {
  UVIC_CHECK(fs::exists(path), path.string(), ": no such file or folder");
  fs::path file = path;
  if (fs::is_directory(path)) {
    const auto found = find_vocabulary(path);
    if (!found)
      throw Error(path.string() + ": no tokenizer in this folder",
                  "wanted one of " + join(std::vector<std::string>(kFiles.begin(), kFiles.end())));
    file = *found;
  }
  Vocabulary v;
  if (file.filename() == "vocab.json") file.replace_filename("merges.txt");
  if (file.extension() == ".json") {
    read_tokenizer_json(v, file);
  } else {
    read_merges(v, file);
    const fs::path ids = file.parent_path() / "vocab.json";
    if (file.filename() == "merges.txt" && fs::exists(ids)) {
      read_ids(v, read_object(ids), ids.string());
    } else {
      number_symbols(v);
    }
  }
  check(v, file.string());
  return v;
}

}  // namespace uvic
