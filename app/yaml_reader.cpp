#include "app/yaml_reader.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <map>

#include "kernels/core/error.h"

namespace uvic {
namespace {

std::string at(const std::string& name, const YAML::Mark& mark) {
  return mark.is_null() ? name : concat(name, ":", mark.line + 1);
}

std::string scalar(const YAML::Node& node, const std::string& key, const std::string& where) {
  UVIC_CHECK(!node.IsNull(), where, ": ", key, " has no value");
  UVIC_CHECK(node.IsScalar(), where, ": ", key, " must be a single value or a list of them");
  return node.Scalar();
}

void read_value(const YAML::Node& node, Setting& setting) {
  setting.is_list = node.IsSequence();
  if (!setting.is_list) {
    setting.values = {scalar(node, setting.key(), setting.where)};
    return;
  }
  for (const auto& item : node) setting.values.push_back(scalar(item, "an entry of " + setting.key(), setting.where));
}

// yaml-cpp keeps both of two equal keys and finds the first; a silently ignored second one would be a trap.
class Unique {
 public:
  void add(const std::string& key, const std::string& name, const YAML::Mark& mark) {
    const auto [it, fresh] = lines_.emplace(key, mark.line + 1);
    UVIC_CHECK(fresh, at(name, mark), ": key '", key, "' is given twice, first on line ", it->second);
  }

 private:
  std::map<std::string, int> lines_;
};

}  // namespace

std::vector<Setting> read_yaml(const std::string& text, const std::string& name) {
  std::vector<Setting> settings;
  try {
    const YAML::Node root = YAML::Load(text);
    if (root.IsNull()) return settings;
    UVIC_CHECK(root.IsMap(), at(name, root.Mark()), ": a config is a map of sections, as in 'train: {lr: 2e-4}'");
    Unique unique;
    for (const auto& part : root) {
      const std::string section = scalar(part.first, "a section's name", at(name, part.first.Mark()));
      unique.add(section, name, part.first.Mark());
      if (part.second.IsNull()) continue;  // a section whose settings are all commented out
      if (!part.second.IsMap()) {
        Setting& setting = settings.emplace_back(Setting{section, {}, at(name, part.first.Mark()), false, {}});
        read_value(part.second, setting);
        continue;
      }
      for (const auto& item : part.second) {
        const std::string where = at(name, item.first.Mark());
        const std::string key = scalar(item.first, "a key", where);
        unique.add(concat(section, ".", key), name, item.first.Mark());
        Setting& setting = settings.emplace_back(Setting{section, key, where, false, {}});
        read_value(item.second, setting);
      }
    }
  } catch (const YAML::Exception& e) {
    fail(at(name, e.mark), ": not valid YAML: ", e.msg);
  }
  return settings;
}

Setting read_set(const std::string& text) {
  const std::string where = "--set " + text;
  const size_t equals = text.find('=');
  UVIC_CHECK(equals != std::string::npos && equals > 0, where, ": must have the form section.key=value");
  const std::string key = text.substr(0, equals), value = text.substr(equals + 1);
  const size_t dot = key.find('.');
  Setting setting{key.substr(0, dot), dot == std::string::npos ? "" : key.substr(dot + 1), where, false, {}};
  if (!value.starts_with('[')) {  // raw, so that any path can be given without YAML's quotes
    setting.values = {value};
    return setting;
  }
  try {
    read_value(YAML::Load(value), setting);
  } catch (const YAML::Exception& e) {
    fail(where, ": not a valid list: ", e.msg);
  }
  return setting;
}

std::string yaml_quote(const std::string& text) {
  static const std::vector<std::string> words{"true", "false", "yes", "no", "on", "off", "null", "y", "n"};
  std::string lower = text;
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const bool plain =
      !text.empty() && (std::isalpha(static_cast<unsigned char>(text[0])) || text[0] == '/') &&
      std::all_of(text.begin(), text.end(),
                  [](unsigned char c) {
                    return std::isalnum(c) || std::string("_-+./").find(static_cast<char>(c)) != std::string::npos;
                  }) &&
      std::find(words.begin(), words.end(), lower) == words.end();
  if (plain) return text;
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char code[8];
      std::snprintf(code, sizeof code, "\\x%02x", static_cast<unsigned>(c));
      out += code;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

}  // namespace uvic
