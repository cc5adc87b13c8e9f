#include "app/bench_compare.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "app/bench_record.h"
#include "app/bench_table.h"
#include "app/process.h"
#include "kernels/core/error.h"
#include "kernels/core/text.h"

namespace uvic {
namespace {

using Record = nlohmann::ordered_json;

Record work_of(const Record& record) {
  Record work = Record::object();
  for (const char* key : kWorkEntries)
    if (record.contains(key)) work[key] = record[key];
  if (work.value("kind", "") == "sdpa") work["kind"] = "softmax";
  if (work.value("kind", "") == "flex") work["kind"] = "cog";
  return work;
}

// {"torch": "2.9.0", ...} was made by "torch 2.9.0".
std::string maker_of(const Record& record) {
  const auto first = record.begin();
  return first.value().is_string() ? first.key() + " " + first.value().get<std::string>() : first.key();
}

bool is_number(const Record& record, const char* key) { return record.contains(key) && record[key].is_number(); }

// One figure over the rounds.
struct Figure {
  Record own, peer;  // of the first round
  BenchFigure timed;
  std::vector<double> seconds, peer_seconds, ratios, peak_gib, peer_peak_gib;
};

Record comparison(const Figure& f) {
  Record out;
  for (const char* key : {"uvic", "threads", "isa"}) out[key] = f.own.value(key, Record());
  out["peer"] = maker_of(f.peer);
  if (f.peer.contains("compile")) out["compile"] = f.peer["compile"];
  out["what"] = "compare";
  out["of"] = f.own["what"];
  for (const char* key : kWorkEntries)
    if (f.own.contains(key) && !out.contains(key)) out[key] = f.own[key];
  if (f.peer.value("kind", "") != f.own.value("kind", "")) out["peer_kind"] = f.peer["kind"];
  out["figure"] = f.timed.seconds;
  if (*f.timed.pass) out["pass"] = f.timed.pass;
  out["rounds"] = f.ratios.size();
  out["seconds"] = median(f.seconds);
  out["peer_seconds"] = median(f.peer_seconds);
  if (f.own.contains(f.timed.rate)) {
    const double work = f.own[f.timed.rate].get<double>() * f.own[f.timed.seconds].get<double>();
    out["tflops"] = work / median(f.seconds);
    out["peer_tflops"] = work / median(f.peer_seconds);
  }
  out["ratio"] = median(f.ratios);
  out["ratio_min"] = *std::min_element(f.ratios.begin(), f.ratios.end());
  out["ratio_max"] = *std::max_element(f.ratios.begin(), f.ratios.end());
  out["peak_gib"] = median(f.peak_gib);
  out["peer_peak_gib"] = median(f.peer_peak_gib);
  return out;
}

// ---- programs -------------------------------------------------------------------------------------------------------
struct Turn {
  int status = 0;
  BenchRun run;
};

// Lines that are JSON objects are the program's records, printed at once; others are for the eyes only.
Turn run_turn(const std::vector<std::string>& argv) {
  Turn turn;
  const Ended ended = run_process(argv, [&](const std::string& line) {
    const bool record = Record::parse(line, nullptr, false).is_object();
    if (record) turn.run.records.push_back(line);
    std::fprintf(record ? stdout : stderr, "%s\n", line.c_str());
    std::fflush(stdout);
  });
  turn.status = ended.status;
  turn.run.peak_gib = ended.peak_gib;
  return turn;
}

std::vector<std::string> options_of(const BenchRequest& r, const std::string& dtype, int threads) {
  std::vector<std::string> options{r.what,
                                   "--model",
                                   r.model,
                                   "--attn",
                                   r.attention,
                                   "--batch",
                                   std::to_string(r.batch),
                                   "--steps",
                                   std::to_string(r.steps),
                                   "--dtype",
                                   dtype,
                                   "--threads",
                                   std::to_string(threads),
                                   "--seconds",
                                   concat(r.seconds)};
  if (r.what == "encode" || r.what == "decode") options.insert(options.end(), {"--size", std::to_string(r.size)});
  return options;
}

}  // namespace

std::vector<std::string> compare_rounds(const std::vector<BenchRound>& rounds) {
  std::vector<Figure> figures;
  const auto figure = [&](const Record& own, const Record& peer, const BenchFigure& timed) -> Figure& {
    for (Figure& f : figures)
      if (f.timed.seconds == timed.seconds && work_of(f.own) == work_of(own) &&
          f.peer.value("kind", "") == peer.value("kind", ""))
        return f;
    return figures.emplace_back(Figure{own, peer, timed, {}, {}, {}, {}, {}});
  };
  for (const BenchRound& round : rounds)
    for (const std::string& own_line : round.own.records)
      for (const std::string& peer_line : round.peer.records) {
        const Record own = Record::parse(own_line), peer = Record::parse(peer_line);
        if (work_of(own) != work_of(peer)) continue;
        for (const BenchFigure& timed : kBenchFigures) {
          if (!is_number(own, timed.seconds) || !is_number(peer, timed.seconds)) continue;
          Figure& f = figure(own, peer, timed);
          f.seconds.push_back(own[timed.seconds].get<double>());
          f.peer_seconds.push_back(peer[timed.seconds].get<double>());
          f.ratios.push_back(f.peer_seconds.back() / f.seconds.back());
          f.peak_gib.push_back(round.own.peak_gib);
          f.peer_peak_gib.push_back(round.peer.peak_gib);
        }
      }
  std::vector<std::string> out;
  for (const Figure& f : figures) out.push_back(comparison(f).dump());
  return out;
}

int run_comparison(const BenchRequest& request, const CompareRequest& compare) {
  std::vector<std::string> own = options_of(request, request.dtype, request.threads);
  own.insert(own.begin(), std::filesystem::read_symlink("/proc/self/exe"));
  own.insert(own.end(), {"--isa", request.isa, "--device", request.device});
  if (!request.file.empty()) own.insert(own.end(), {"--file", request.file});
  if (!request.shape.empty()) own.push_back("--shape");
  for (const int64_t n : request.shape) own.push_back(std::to_string(n));

  std::vector<BenchRound> rounds;
  for (int i = 0; i < compare.rounds; ++i) {
    Turn turn = run_turn(own);
    UVIC_CHECK(turn.status < 128, "uvic-bench's own run was ended by signal ", turn.status - 128);
    if (turn.status != 0) return turn.status;
    rounds.push_back({std::move(turn.run), {}});

    // The peer is asked for what "auto" and "one thread per core" turned out to be.
    const Record first = Record::parse(rounds.back().own.records.at(0));
    std::vector<std::string> options = options_of(request, first["dtype"], first["threads"]);
    if (first["isa"].get<std::string>().starts_with("cuda")) options.insert(options.end(), {"--device", "cuda"});
    if (compare.compile) options.push_back("--compile");
    const std::string command = compare.peer + " " + join(options, " ");
    turn = run_turn({"/bin/sh", "-c", command});
    const std::string hint = compare.peer == CompareRequest().peer
                                 ? "it needs Python with PyTorch, and the repository's root as the working folder"
                                 : "";
    if (turn.status != 0) throw Error(concat("the peer failed with exit status ", turn.status, ": ", command), hint);
    rounds.back().peer = std::move(turn.run);
    if (compare_rounds(rounds).empty())
      throw Error("the peer exited with status 0, but printed no record of the same work: " + command,
                  "a record of ours: " + rounds.back().own.records[0]);
  }
  const std::vector<std::string> comparisons = compare_rounds(rounds);
  for (const std::string& line : comparisons) std::printf("%s\n", line.c_str());
  if (compare.table) std::printf("\n%s", bench_table(comparisons).c_str());
  return 0;
}

}  // namespace uvic
