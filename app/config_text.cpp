// What is written from the list of settings: the resolved YAML and the documentation.

#include <algorithm>
#include <charconv>
#include <cmath>

#include "app/config.h"
#include "app/config_value.h"
#include "app/yaml_reader.h"
#include "kernels/core/error.h"
#include "kernels/core/text.h"

namespace uvic {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

// Plain decimals where they are readable: YAML 1.1 readers take 2e-04, without a point, for a string.
std::string number_text(double v) {
  char text[64];
  const double size = std::abs(v);
  const bool plain = size == 0 || (size >= 1e-12 && size < 1e16);
  const auto end = plain ? std::to_chars(text, text + sizeof text, v, std::chars_format::fixed)
                         : std::to_chars(text, text + sizeof text, v);
  return {text, end.ptr};
}

std::string list_text(const std::vector<std::string>& items) {
  std::vector<std::string> quoted(items.size());
  std::transform(items.begin(), items.end(), quoted.begin(), yaml_quote);
  return concat("[", join(quoted), "]");
}

struct Printer {
  std::string operator()(const bool* v) const { return *v ? "true" : "false"; }
  std::string operator()(const double* v) const { return number_text(*v); }
  std::string operator()(const std::vector<double>* v) const {
    std::vector<std::string> numbers(v->size());
    std::transform(v->begin(), v->end(), numbers.begin(), number_text);
    return v->size() == 1 ? numbers[0] : concat("[", join(numbers), "]");
  }
  std::string operator()(const std::string* v) const { return v->empty() ? "" : yaml_quote(*v); }
  std::string operator()(const std::vector<std::string>* v) const { return v->empty() ? "" : list_text(*v); }
  std::string operator()(const std::vector<AttentionKind>* v) const {
    std::vector<std::string> names(v->size());
    std::transform(v->begin(), v->end(), names.begin(), [](AttentionKind kind) { return name_of(kind); });
    return (*this)(&names);
  }
  template <class Integer>
  std::string operator()(const Integer* v) const {
    return std::to_string(*v);
  }
};

// Empty for an empty text or list.
std::string value_text(const Field& field) { return std::visit(Printer{}, field.value); }

}  // namespace

std::string range_text(const Range& range) {
  if (range.max < kInf)
    return concat("in ", range.min_open ? "(" : "[", number_text(range.min), ", ", number_text(range.max),
                  range.max_open ? ")" : "]");
  return range.min > -kInf ? concat(range.min_open ? "> " : ">= ", number_text(range.min)) : "";
}

std::string dump_config(const RunConfig& config) {
  RunConfig copy = config;
  std::string out, section;
  for (const Field& field : fields(copy)) {
    const std::string text = value_text(field);
    if (text.empty()) continue;  // nothing is the default of all that may be empty
    if (field.section != section) out += concat(section.empty() ? "" : "\n", field.section, ":\n");
    section = field.section;
    out += concat("  ", field.name, ": ", text, "\n");
  }
  return out;
}

std::string describe_config() {
  RunConfig defaults;
  std::string out, section;
  for (const Field& field : fields(defaults)) {
    if (field.section != section)
      out += concat(section.empty() ? "" : "\n", "### ", field.section,
                    "\n\n| key | default | accepted | meaning |\n|---|---|---|---|\n");
    section = field.section;
    const std::string value = value_text(field);
    out += concat("| `", field.name, "` | ", value.empty() ? "" : "`", value, value.empty() ? "" : "`", " | ",
                  expectation(field), " | ", field.help, " |\n");
  }
  return out;
}

}  // namespace uvic
