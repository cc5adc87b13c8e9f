#include "app/fid_report.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "app/image_io.h"
#include "app/plot.h"
#include "model/checkpoint.h"
#include "model/io/file.h"

namespace uvic {
namespace {

using Json = nlohmann::ordered_json;

template <class... Arguments>
std::string formatted(const char* format, Arguments... arguments) {
  char text[160];
  std::snprintf(text, sizeof text, format, arguments...);
  return text;
}

std::string side_text(const FidSide& s) {
  std::string text = s.path + ": ";
  if (s.kind == "statistics") text += s.images > 0 ? "statistics of " : "statistics";
  if (s.images > 0) text += concat(s.images, " images");
  if (s.kind == "model") text += concat(" made by it, step ", s.step);
  if (!s.sha256.empty()) text += ", sha256 " + s.sha256.substr(0, 8);
  return text;
}

Json side_json(const FidSide& s) {
  Json j{{"path", s.path}, {"kind", s.kind}, {"images", s.images > 0 ? Json(s.images) : Json()}};
  if (!s.sha256.empty()) j["sha256"] = s.sha256;
  if (s.kind == "model") j["step"] = s.step;
  return j;
}

}  // namespace

std::string fid_table(const std::vector<FidResult>& results) {
  const FidResult& first = results.front();
  const FeatureKind& k = first.kind;
  std::string text;
  if (results.size() == 1) text += "A  " + side_text(first.a) + "\n";
  if (!first.b.path.empty()) text += "B  " + side_text(first.b) + "\n";
  text += k.protocol.empty() ? std::string("protocol unknown\n")
                             : concat("protocol ", k.protocol, k.unit ? ", images in [0, 1]" : "", "; network ",
                                      first.network, first.network.empty() ? "" : ", ", "sha256 ",
                                      k.network.substr(0, 8), ", ", k.pool, " pool in Mixed_7c\n");
  if (results.size() == 1) {
    for (const auto& [name, value] : first.values) text += formatted("%-14s %.6f\n", name.c_str(), value);
    return text;
  }
  text += formatted("%10s", "step");
  for (const auto& [name, value] : first.values) text += formatted(" %14s", name.c_str());
  for (const FidResult& r : results) {
    text += formatted("\n%10lld", static_cast<long long>(r.a.step));
    for (const auto& [name, value] : r.values) text += formatted(" %14.6f", value);
  }
  return text + "\n";
}

void check_fid_plot(const std::filesystem::path& path, const FidRequest& request) {
  UVIC_CHECK(std::filesystem::is_directory(request.a) && list_checkpoints(request.a).size() > 1,
             "--plot draws the checkpoints of a run; ", request.a, " has not two of them");
  const auto wants = [&](const char* name) {
    return std::ranges::find(request.metrics, name) != request.metrics.end();
  };
  UVIC_CHECK(wants("fid") || wants("sfid"), "--plot draws fid and sfid, which --metrics does not name");
  const AtomicFile probe(path);
}

void write_fid_plot(const std::filesystem::path& path, const std::vector<FidResult>& results) {
  UVIC_CHECK(results.size() > 1, "a plot needs the checkpoints of a run; ", results.front().a.path, " is one model");
  Plot plot{.title = "against " + results.front().b.path, .x = {.label = "step"}, .y = {.label = "distance"}};
  for (size_t metric = 0; metric < results.front().values.size(); ++metric) {
    PlotSeries series{.label = results.front().values[metric].first, .markers = true};
    if (series.label != "fid" && series.label != "sfid") continue;
    for (const FidResult& r : results) {
      series.x.push_back(static_cast<double>(r.a.step));
      series.y.push_back(r.values[metric].second);
    }
    plot.series.push_back(std::move(series));
  }
  Image image = draw_plot(plot);
  write_png(path, image.tensor());
}

std::string fid_json(const FidResult& r) {
  Json j{{"what", "fid"},        {"protocol", r.kind.protocol.empty() ? Json() : Json(r.kind.protocol)},
         {"network", r.network}, {"network_sha256", r.kind.network},
         {"pool", r.kind.pool},  {"unit_range", r.kind.unit},
         {"a", side_json(r.a)}};
  if (!r.b.path.empty()) j["b"] = side_json(r.b);
  for (const auto& [name, value] : r.values) j["metrics"][name] = value;
  j["warnings"] = r.warnings;
  return j.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace uvic
