// uvic-train: trains a model as a YAML config says.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "app/cache_folder.h"
#include "app/cli.h"
#include "app/loaded_model.h"
#include "app/run_estimate.h"
#include "app/trainer.h"

int main(int argc, char** argv) {
  using namespace uvic;
  TrainRequest r;
  std::filesystem::path config;
  std::vector<std::string> sets;
  std::string device = "auto", dtype;
  int64_t max_steps = 0;
  bool dry_run = false, quiet = false, as_json = false, describe = false;
  const auto declare = [&](CLI::App& app) {
    app.add_option("-c,--config", config, "YAML config");
    app.add_option("-o,--out", r.out, "Run folder: checkpoints, samples, metrics.jsonl, config.yaml");
    app.add_option("--set", sets, "Override a setting, as train.batch_size=64; may be repeated");
    app.add_option("--resume", r.resume, "auto, never, a step, or a checkpoint's folder");
    app.add_option("--max-steps", max_steps, "Shorthand for --set train.max_steps=N")->check(CLI::PositiveNumber);
    app.add_option("--device", device, "auto, cpu, cuda or cuda:N");
    app.add_option("--dtype", dtype, "Shorthand for --set train.dtype=...: auto, f32 or bf16");
    app.add_flag("--dry-run", dry_run, "Check the config, print it resolved and its cost, train nothing");
    app.add_flag("--help-config", describe, "Describe every setting of the config");
    app.add_flag("--json", as_json, "Print one result object on stdout");
    app.add_flag("-q,--quiet", quiet, "No progress");
  };
  const auto run = [&] {
    if (describe) return std::fputs(describe_config().c_str(), stdout), 0;
    if (config.empty()) throw CLI::RequiredError("--config");
    if (max_steps > 0) sets.push_back("train.max_steps=" + std::to_string(max_steps));
    if (!dtype.empty()) sets.push_back("train.dtype=" + dtype);
    r.config = load_config(config, sets);
    r.world = world_from_environment();
    r.device = device_of_name(device, r.world);
    if (dry_run) {
      if (r.world.rank > 0) return 0;
      const ContextOptions options{.device = r.device, .threads = r.config.train.threads, .timed_plans = timed_plans()};
      const RunEstimate e = estimate_run(r.config, options, r.out, r.world.size);
      std::fputs((as_json ? to_json(e) + "\n" : dump_config(r.config)).c_str(), stdout);
      std::fputs(to_text(e, r.config).c_str(), stderr);
      return 0;
    }
    if (r.out.empty()) throw CLI::RequiredError("--out");
    if (quiet) r.progress = Progress::Style::quiet;
    catch_signals();
    r.stop = &stop_requested;
    const TrainOutcome o = train(r);
    if (r.world.rank > 0) return o.interrupted ? kExitInterrupted : 0;
    std::fprintf(stderr, "uvic-train: %s at step %lld; checkpoint %s\n", o.interrupted ? "interrupted" : "done",
                 static_cast<long long>(o.step), o.checkpoint.c_str());
    if (as_json) {
      const nlohmann::ordered_json j{{"what", "train"},
                                     {"step", o.step},
                                     {"loss", o.loss},
                                     {"checkpoint", o.checkpoint.string()},
                                     {"interrupted", o.interrupted}};
      std::printf("%s\n", j.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
    }
    return o.interrupted ? kExitInterrupted : 0;
  };
  return run_program(argc, argv, "uvic-train", "Trains a U-ViC or U-ViT model.", declare, run);
}
