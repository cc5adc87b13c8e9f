#include "app/config_value.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <optional>

#include "kernels/core/error.h"
#include "kernels/core/text.h"

namespace uvic {
namespace {

constexpr size_t kMostNumbers = 4;  // of a list: averages, so far

bool inside(const Range& r, double v) {
  return std::isfinite(v) && (r.min_open ? v > r.min : v >= r.min) && (r.max_open ? v < r.max : v <= r.max);
}

template <class T>
std::optional<T> parse_number(const std::string& text) {
  const char* begin = text.data() + (text.starts_with('+') ? 1 : 0);
  T value{};
  const auto [end, error] = std::from_chars(begin, text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return {};
  return value;
}

// Each stores the value and returns true, or returns false for a wrong type, range or choice.
struct Reader {
  const Field& field;
  const Setting& setting;

  bool single() const { return !setting.is_list && setting.values.size() == 1; }
  bool chosen(const std::string& v) const {
    return field.choices.empty() || std::find(field.choices.begin(), field.choices.end(), v) != field.choices.end();
  }

  bool operator()(bool* out) const {
    if (!single()) return false;
    std::string v = setting.values[0];
    std::transform(v.begin(), v.end(), v.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    *out = v == "true" || v == "yes" || v == "on";
    return *out || v == "false" || v == "no" || v == "off";
  }
  bool operator()(std::vector<double>* out) const {
    if (setting.values.empty() || setting.values.size() > kMostNumbers) return false;
    std::vector<double> numbers;
    for (const std::string& text : setting.values) {
      const std::optional<double> v = parse_number<double>(text);
      if (!v || !inside(field.range, *v)) return false;
      numbers.push_back(*v);
    }
    *out = numbers;
    return true;
  }
  bool operator()(std::string* out) const {
    if (!single() || !chosen(setting.values[0])) return false;
    *out = setting.values[0];
    return true;
  }
  bool operator()(std::vector<std::string>* out) const {
    if (!setting.is_list) return false;
    *out = setting.values;
    return std::all_of(out->begin(), out->end(), [&](const std::string& v) { return chosen(v); });
  }
  bool operator()(std::vector<AttentionKind>* out) const {
    std::vector<std::string> names;
    if (!(*this)(&names)) return false;
    out->clear();
    for (const std::string& name : names)
      for (const AttentionKind kind : {AttentionKind::softmax, AttentionKind::cog, AttentionKind::expressive})
        if (name == name_of(kind)) out->push_back(kind);
    return true;
  }
  template <class T>
  bool operator()(T* out) const {
    const std::optional<T> v = single() ? parse_number<T>(setting.values[0]) : std::nullopt;
    if (!v || !inside(field.range, static_cast<double>(*v))) return false;
    *out = *v;
    return true;
  }
};

struct TypeName {
  std::string operator()(const bool*) const { return "true or false"; }
  std::string operator()(const double*) const { return "a number"; }
  std::string operator()(const std::vector<double>*) const { return "a number"; }
  std::string operator()(const std::string*) const { return "text"; }
  std::string operator()(const std::vector<std::string>*) const { return "a list of names"; }
  std::string operator()(const std::vector<AttentionKind>*) const { return "a list of kinds"; }
  std::string operator()(const uint64_t*) const { return "an integer >= 0"; }
  template <class T>
  std::string operator()(const T*) const {
    return "an integer";
  }
};

}  // namespace

std::string expectation(const Field& field) {
  const std::string type = std::visit(TypeName{}, field.value), range = range_text(field.range);
  const bool list = type.starts_with("a list");
  if (!field.choices.empty()) return concat(list ? type + ", each " : "", "one of ", join(field.choices));
  const bool several = std::holds_alternative<std::vector<double>*>(field.value);
  return concat(type, range.empty() ? "" : " ", range,
                several ? concat(" or a list of up to ", kMostNumbers, " such") : "");
}

void assign(const Field& field, const Setting& setting) {
  if (std::visit(Reader{field, setting}, field.value)) return;
  const bool list = setting.is_list;
  fail(setting.where, ": ", field.section, ".", field.name, " must be ", expectation(field), ", got ",
       list ? "the list [" : "'", join(setting.values), list ? "]" : "'");
}

}  // namespace uvic
