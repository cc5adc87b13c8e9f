// uvic-bench: times attention, a training step, sampling, matrix products, FID features, an autoencoder or a text
// encoder, or compares solvers; each figure one JSON record on stdout. And makes tables of such records.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>

#include "app/bench_compare.h"
#include "app/bench_run.h"
#include "app/bench_solvers.h"
#include "app/bench_table.h"
#include "app/cache_folder.h"
#include "app/cli.h"
#include "app/loaded_model.h"

namespace {

int print_table(const std::string& file) {
  std::ifstream in(file);
  if (!in) throw uvic::Error("cannot read " + file);
  std::vector<std::string> records;
  for (std::string line; std::getline(in, line);)
    if (line.starts_with('{')) records.push_back(line);
  std::fputs(uvic::bench_table(records).c_str(), stdout);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace uvic;
  BenchRequest r;
  SolverBenchRequest solvers;
  CompareRequest compare;
  CLI::Option* comparing = nullptr;
  const auto declare = [&](CLI::App& app) {
    app.add_option("what", r.what,
                   "attention, train, sample, matrix, features, encode, decode, text or solvers; table: of what they "
                   "printed before")
        ->required()
        ->check(CLI::IsMember(
            {"attention", "train", "sample", "matrix", "features", "encode", "decode", "text", "solvers", "table"}));
    app.add_option("--model", r.model, "Shape of the network")->check(CLI::IsMember(bench_models()));
    app.add_option("--attn", r.attention, "Kind of the inner blocks")
        ->check(CLI::IsMember({"cog", "softmax", "expressive"}));
    app.add_option("--batch", r.batch, "Images a step")->check(CLI::PositiveNumber);
    app.add_option("--steps", r.steps, "sample: network evaluations an image")->check(CLI::PositiveNumber);
    app.add_option("--device", r.device, "auto, cpu, cuda or cuda:N");
    app.add_option("--dtype", r.dtype, "auto, f32 or bf16");
    app.add_option("--threads", r.threads, "CPU threads; 0: one per core")->check(CLI::NonNegativeNumber);
    app.add_option("--isa", r.isa, "CPU instruction set: auto, avx2, avx512 or amx");
    app.add_option("--seconds", r.seconds, "Time spent on each figure");
    app.add_option("--file", r.file,
                   "solvers: model file to compare them on; features: weights of an InceptionV3; encode, decode: an "
                   "autoencoder; text: a text encoder; table: records");
    app.add_option("--size", r.size, "encode, decode: pixels of an image a side")->check(CLI::Range(8, 8192));
    app.add_option("--shape", r.shape, "attention: B,H,L,D, instead of those of networks")
        ->delimiter(',')
        ->expected(4)
        ->check(CLI::Range(1, 1 << 20));
    app.add_option("--images", solvers.images, "solvers: how many images")->check(CLI::PositiveNumber);
    app.add_flag("--recompute", r.recompute, "train: blocks run again in backward, for less memory");
    CLI::Option* profile = app.add_flag("--profile", r.profile, "Also print seconds by scope, as one record each");
    comparing = app.add_option("--compare", compare.peer,
                               "Run this command, which takes the same options and prints the same records, in turn "
                               "with uvic-bench itself; then print ratios, its seconds over ours")
                    ->option_text("[COMMAND=" + compare.peer + "]")
                    ->expected(0, 1)
                    ->excludes(profile);
    app.add_option("--rounds", compare.rounds, "compare: how often each runs")
        ->check(CLI::PositiveNumber)
        ->needs(comparing);
    app.add_flag("--compile", compare.compile, "compare: pass --compile to the command")->needs(comparing);
    app.add_flag("--table", compare.table, "compare: also print the ratios as a Markdown table")->needs(comparing);
  };
  const auto run = [&] {
    const bool needs_none = r.what == "attention" || r.what == "train" || r.what == "sample" || r.what == "matrix";
    if (r.file.empty() && !needs_none) throw CLI::RequiredError("--file");
    if (r.what == "table") return print_table(r.file);
    if (r.what == "solvers") {
      solvers.model = r.file;
      Context ctx({.device = device_of_name(r.device), .threads = r.threads, .timed_plans = timed_plans()});
      bench_solvers(ctx, solvers);
      return 0;
    }
    return *comparing ? run_comparison(r, compare) : (run_bench(r), 0);
  };
  return run_program(argc, argv, "uvic-bench",
                     "Times attention, training, sampling, FID features, autoencoders and text encoders; compares "
                     "solvers.",
                     declare, run);
}
