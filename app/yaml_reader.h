#pragma once

#include <string>
#include <vector>

namespace uvic {

// One value of a config file or of the command line, still text.
struct Setting {
  std::string section;  // "train"
  std::string name;     // "lr"; empty: the section itself was given a value ("model: U-ViC-S/2")
  std::string where;    // "c.yaml:12" or "--set train.lr=abc", for errors
  bool is_list = false;
  std::vector<std::string> values;  // one, unless it is a list

  std::string key() const { return name.empty() ? section : section + "." + name; }
};

// The settings of a YAML file of two levels, in order. Throws Error ("c.yaml:12: ...") for what is not YAML, a key
// given twice, a key without a value, or deeper nesting. name stands for the file.
std::vector<Setting> read_yaml(const std::string& text, const std::string& name);

// "train.lr=2e-4", "model=U-ViC-S/2", "data.classes=[cat, dog]".
Setting read_set(const std::string& text);

// text as a YAML scalar, quoted where YAML needs it.
std::string yaml_quote(const std::string& text);

}  // namespace uvic
