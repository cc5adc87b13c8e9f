#include "app/log.h"

#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "kernels/core/error.h"

namespace uvic {
namespace {

std::string json_string(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char code[8];
      std::snprintf(code, sizeof code, "\\u%04x", static_cast<unsigned>(c));
      out += code;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

struct JsonValue {
  std::string operator()(int64_t v) const { return std::to_string(v); }
  std::string operator()(const std::string& v) const { return json_string(v); }
  std::string operator()(double v) const {
    if (!std::isfinite(v)) return "null";
    char text[32];
    return {text, std::to_chars(text, text + sizeof text, v).ptr};
  }
};

struct PlainValue {
  std::string operator()(int64_t v) const { return std::to_string(v); }
  std::string operator()(const std::string& v) const { return v; }
  std::string operator()(double v) const {
    char text[32];
    std::snprintf(text, sizeof text, "%.4g", v);
    return text;
  }
};

constexpr std::string_view kStep = "{\"step\":";

// The step of a line of ours; -1 for any other line.
int64_t step_of(std::string_view line) {
  int64_t step = -1;
  if (!line.starts_with(kStep) || !line.ends_with('}')) return -1;
  std::from_chars(line.data() + kStep.size(), line.data() + line.size(), step);
  return step;
}

// Length of the leading part of the file whose lines are whole and not after the step. A line that is not ours stays:
// damage must not cost the lines behind it.
uintmax_t length_up_to(const std::filesystem::path& path, int64_t step) {
  std::ifstream in(path, std::ios::binary);
  UVIC_CHECK(in || !std::filesystem::exists(path), path.string(), ": cannot read: ", std::strerror(errno));
  uintmax_t length = 0;
  for (std::string line; std::getline(in, line) && !in.eof(); length += line.size() + 1) {
    if (step_of(line) > step) break;
  }
  return length;
}

}  // namespace

std::string to_json(const LogFields& fields) {
  std::string out = "{";
  for (const auto& [name, value] : fields)
    out += concat(out.size() > 1 ? "," : "", json_string(name), ":", std::visit(JsonValue{}, value));
  return out + "}";
}

std::string to_text(const LogFields& fields) {
  std::string out;
  for (const auto& [name, value] : fields)
    out += concat(out.empty() ? "" : "  ", name, " ", std::visit(PlainValue{}, value));
  return out;
}

MetricsLog::MetricsLog(const std::filesystem::path& path, int64_t resumed_step) : path_(path) {
  const uintmax_t keep = resumed_step < 0 ? 0 : length_up_to(path, resumed_step);
  out_.open(path, std::ios::binary | std::ios::app);
  UVIC_CHECK(out_, path.string(), ": cannot write: ", std::strerror(errno));
  std::error_code error;
  std::filesystem::resize_file(path, keep, error);
  UVIC_CHECK(!error, path.string(), ": cannot cut to ", keep, " bytes: ", error.message());
}

void MetricsLog::write(int64_t step, const LogFields& fields) {
  LogFields all{{"step", step}};
  all.insert(all.end(), fields.begin(), fields.end());
  out_ << to_json(all) << '\n' << std::flush;
  UVIC_CHECK(out_, path_.string(), ": cannot write: ", std::strerror(errno));
}

}  // namespace uvic
