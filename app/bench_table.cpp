#include "app/bench_table.h"

#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "app/bench_record.h"
#include "kernels/core/error.h"
#include "kernels/core/text.h"

namespace uvic {
namespace {

using Record = nlohmann::ordered_json;

std::string format(const char* how, double x) {
  char text[64];
  std::snprintf(text, sizeof text, how, x);
  return text;
}

std::string time_of(double s, double flops) {
  const std::string time = s < 0.1 ? format("%.2f ms", 1e3 * s)
                           : s < 1 ? format("%.0f ms", 1e3 * s)
                                   : format("%.2f s", s);
  return flops > 0 ? time + format(", %.2f TFLOP/s", flops / s / 1e12) : time;
}

std::string peer_of(const Record& comparison) {
  return comparison.value("peer", "") + (comparison.value("compile", false) ? ", compiled" : "");
}

// One figure of the same work.
struct Row {
  Record record;  // the first that has it
  std::string of, pass;
  double flops = 0;             // 0: not known
  std::vector<double> seconds;  // of our own

  std::string label() const {
    const Record& r = record;
    std::string label = of;
    if (r.contains("model")) label += " " + r.value("model", "");
    for (const char* key : {"attn", "kind"})
      if (r.contains(key)) label += ", " + r.value(key, "");
    if (r.contains("peer_kind")) label += " (peer: " + r.value("peer_kind", "") + ")";
    label += ", " + r.value("dtype", "");
    if (r.contains("batch")) label += ", batch " + r["batch"].dump();
    if (r.contains("steps")) label += ", " + r["steps"].dump() + " steps";
    if (r.contains("shape")) label += ", " + r["shape"].dump();
    return pass.empty() ? label : label + ", " + pass;
  }
  // Of the peer, and of it over ours; empty if there is none. Another peer than the table's says its name.
  std::string peer_time(const std::string& peer) const {
    if (!record.contains("ratio")) return {};
    const std::string time = time_of(record["peer_seconds"], flops);
    return peer_of(record) == peer ? time : peer_of(record) + ": " + time;
  }
  std::string ratio() const {
    if (!record.contains("ratio")) return {};
    return format("%.2f", record["ratio"].get<double>()) + format(" (%.2f to ", record["ratio_min"].get<double>()) +
           format("%.2f)", record["ratio_max"].get<double>());
  }
};

class Table {
 public:
  void add(const Record& r) {
    const std::string what = r.value("what", "");
    if (what == "matrix") rates_[r.value("dtype", "")] = r["tflops"].get<double>() * 1e12;
    if (what == "compare") add_comparison(r);
    for (const BenchFigure& figure : kBenchFigures)
      if (what != "compare" && what != "scope" && r.contains(figure.seconds)) add_own(r, what, figure);
  }

  std::string text() const {
    std::string peer;
    for (const Row& row : compared_)
      if (peer.empty()) peer = peer_of(row.record);
    const auto line = [&](const std::string& work, const std::string& own, const std::string& share,
                          const std::string& other, const std::string& ratio) {
      return "| " + work + " | " + own + " |" + (rates_.empty() ? "" : " " + share + " |") +
             (compared_.empty() ? "" : " " + other + " | " + ratio + " |") + "\n";
    };
    std::string table = line("work", "uvic", "of the matrix rate", peer, "ratio (least to most)") + "|---|---|";
    table += std::string(rates_.empty() ? "" : "---|") + (compared_.empty() ? "" : "---|---|") + "\n";
    const auto add_row = [&](const Row& row) {
      const double seconds = median(row.seconds);
      const auto rate = rates_.find(row.record.value("dtype", ""));
      const std::string share =
          row.flops > 0 && rate != rates_.end() ? format("%.0f%%", 100 * row.flops / seconds / rate->second) : "";
      table += line(row.label(), time_of(seconds, row.flops), share, row.peer_time(peer), row.ratio());
    };
    for (const Row& row : compared_) add_row(row);
    for (const auto& [key, row] : own_)
      if (!has_peer_.contains(key)) add_row(row);
    for (const auto& [dtype, rate] : rates_)
      table += line("matrix products, " + dtype, format("%.0f TFLOP/s", rate / 1e12), "", "", "");
    return table;
  }

 private:
  static std::string key_of(const Record& r, const std::string& of, const std::string& figure) {
    Record work{{"of", of}, {"figure", figure}};
    for (const char* key : kWorkEntries)
      if (r.contains(key) && std::string(key) != "what") work[key] = r[key];
    return work.dump();
  }
  static double flops_of(const Record& r, const char* rate, double seconds) {
    return r.contains(rate) ? r[rate].get<double>() * seconds * 1e12 : 0;
  }

  void add_comparison(const Record& r) {
    const std::string of = r.value("of", "");
    has_peer_.insert(key_of(r, of, r.value("figure", "")));
    compared_.push_back({r, of, r.value("pass", ""), flops_of(r, "tflops", r["seconds"]), {r["seconds"]}});
  }
  void add_own(const Record& r, const std::string& of, const BenchFigure& figure) {
    const double seconds = r[figure.seconds];
    const std::string key = key_of(r, of, figure.seconds);
    for (auto& [known, row] : own_)
      if (known == key) return row.seconds.push_back(seconds);
    own_.emplace_back(key, Row{r, of, figure.pass, flops_of(r, figure.rate, seconds), {seconds}});
  }

  std::vector<Row> compared_;
  std::vector<std::pair<std::string, Row>> own_;  // in order, with their keys
  std::set<std::string> has_peer_;
  std::map<std::string, double> rates_;  // by dtype
};

}  // namespace

std::string bench_table(const std::vector<std::string>& records) {
  Table table;
  for (const std::string& line : records) {
    const Record r = Record::parse(line, nullptr, false);
    UVIC_CHECK(r.is_object(), "no record of uvic-bench: ", quote(line));
    if (r.contains("uvic")) table.add(r);
  }
  return table.text();
}

}  // namespace uvic
