// uvic-bench: times attention, a training step or sampling; each figure one JSON record on stdout.

#include <CLI/CLI.hpp>

#include "app/bench_run.h"
#include "app/cli.h"

int main(int argc, char** argv) {
  using namespace uvic;
  BenchRequest r;
  const auto declare = [&](CLI::App& app) {
    app.add_option("what", r.what, "attention, train or sample")
        ->required()
        ->check(CLI::IsMember({"attention", "train", "sample"}));
    app.add_option("--model", r.model, "Shape of the network")->check(CLI::IsMember(bench_models()));
    app.add_option("--attn", r.attention, "Kind of the inner blocks")
        ->check(CLI::IsMember({"cog", "softmax", "expressive"}));
    app.add_option("--batch", r.batch, "Images a step")->check(CLI::PositiveNumber);
    app.add_option("--steps", r.steps, "sample: network evaluations an image")->check(CLI::PositiveNumber);
    app.add_option("--dtype", r.dtype, "auto, f32 or bf16");
    app.add_option("--threads", r.threads, "CPU threads; 0: one per core")->check(CLI::NonNegativeNumber);
    app.add_option("--isa", r.isa, "CPU instruction set: auto, avx2, avx512 or amx");
    app.add_option("--seconds", r.seconds, "Time spent on each figure");
    app.add_flag("--profile", r.profile, "Also print seconds by scope, as one record each");
  };
  return run_program(argc, argv, "uvic-bench", "Times attention, training and sampling.", declare,
                     [&] { return run_bench(r), 0; });
}
