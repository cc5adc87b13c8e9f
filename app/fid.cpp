// uvic-fid: how far two sets of images are apart.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <set>

#include "app/cli.h"
#include "app/fid_report.h"
#include "app/loaded_model.h"
#include "app/sample_options.h"

int main(int argc, char** argv) {
  using namespace uvic;
  FidRequest r;
  std::filesystem::path out, plot;
  std::string protocol = "tf1", pool = "max";
  bool quiet = false, as_json = false, making_reference = false;

  const auto declare_common = [&](CLI::App& app) {
    FeatureOptions& f = r.features;
    app.add_option("--num", r.num, "Images of A, spread evenly over it; 0: all. A model must be told")
        ->check(CLI::NonNegativeNumber);
    app.add_option("--protocol", protocol,
                   "How images come to 299 x 299: tf1 (as ADM and torch-fidelity), pytorch (as "
                   "pytorch-fid) or clean (as clean-fid)")
        ->check(CLI::IsMember({"tf1", "pytorch", "clean"}));
    app.add_option("--network", f.network,
                   "Inception's weights, .pth or .safetensors; else UVIC_INCEPTION, else the "
                   "cache folder");
    app.add_option("--pool", pool, "Of Mixed_7c: max, as in the network of 2015, or average")
        ->check(CLI::IsMember({"max", "average"}));
    app.add_flag("--unit-range", f.unit, "Scale images to [0, 1], for networks trained so");
    app.add_option("-b,--batch", f.batch, "Images computed at once")->check(CLI::Range(1, 4096));
    app.add_option("--decode-threads", f.decode_threads, "That read and resize images; 0: one per core")
        ->check(CLI::NonNegativeNumber);
    app.add_option("-s,--seed", r.seed, "Models: image i has seed SEED + i");
    declare_sampling_options(app, r.sample);
    app.add_flag("--json", as_json, "Print one result object a line on stdout");
    app.add_flag("-q,--quiet", quiet, "No progress");
  };
  const auto declare = [&](CLI::App& app) {
    app.require_subcommand(1);
    CLI::App& calc = *app.add_subcommand("calc", "Scores A against B");
    calc.add_option("A", r.a, "Folder, .tar, .npz of images or statistics, .pt of statistics, model, or training run")
        ->required();
    calc.add_option("B", r.b, "What A should be like: the same, but no run")->required();
    calc.add_option("--metrics", r.metrics, "fid, sfid, is, kid and pr, by commas")
        ->delimiter(',')
        ->check(CLI::IsMember({"fid", "sfid", "is", "kid", "pr"}));
    calc.add_option("--num-ref", r.num_ref, "Images of B; 0: all")->check(CLI::NonNegativeNumber);
    calc.add_option("--kid-subsets", r.kid.subsets, "Random subsets that KID is averaged over")
        ->check(CLI::PositiveNumber);
    calc.add_option("--kid-subset-size", r.kid.subset_size, "Images of each")->check(CLI::Range(2, 1 << 20));
    calc.add_option("--kid-seed", r.kid.seed, "They are drawn with");
    calc.add_option("--neighbours", r.neighbours, "pr: which neighbour's distance is a ball's radius")
        ->check(CLI::Range(1, 1000));
    calc.add_option("--plot", plot, "A run: PNG of fid and sfid by step");
    declare_common(calc);
    CLI::App& ref =
        *app.add_subcommand("ref", "Writes A's statistics, which pytorch-fid and guided-diffusion read too");
    ref.add_option("A", r.a, "Folder, .tar, .npz of images, or model")->required();
    ref.add_option("-o,--out", out, "Statistics file: .npz, or .pt for torch-fidelity's cache")->required();
    declare_common(ref);
    ref.callback([&] { making_reference = true; });
  };
  const auto run = [&] {
    if (quiet) r.features.progress = Progress::Style::quiet;
    r.features.protocol = protocol_of_name(protocol);
    r.features.pool = pool_of_name(pool);
    r.sample.progress = Progress::Style::quiet;
    const World world = world_from_environment();
    r.features.device = device_of_name(r.sample.device, world);
    r.sample.device = r.features.device.str();
    catch_signals("uvic-fid", world);
    Processes processes(world);
    if (const int threads = r.sample.threads > 0 ? r.sample.threads : processes.threads(); threads > 0)
      r.features.threads = r.sample.threads = threads;
    if (r.features.decode_threads == 0) r.features.decode_threads = r.features.threads;
    if (!plot.empty()) check_fid_plot(plot, r);
    r.stop = &stop_requested;
    const auto [results, interrupted] =
        making_reference ? write_reference(r, out, processes) : compare_sets(r, processes);
    ends_by_itself();
    const int status = interrupted ? kExitInterrupted : 0;
    if (!processes.first()) return status;
    std::set<std::string> said;
    for (const FidResult& result : results) {
      if (as_json) std::printf("%s\n", fid_json(result).c_str());
      for (const std::string& warning : result.warnings)
        if (said.insert(warning).second) std::fprintf(stderr, "uvic-fid: warning: %s\n", warning.c_str());
    }
    if (!as_json && !results.empty()) std::printf("%s", fid_table(results).c_str());
    if (interrupted)
      std::fprintf(stderr, "uvic-fid: interrupted%s\n",
                   results.empty() ? "" : "; the checkpoints above are all that were scored");
    if (!plot.empty() && (!interrupted || results.size() > 1)) write_fid_plot(plot, results);
    return status;
  };
  return run_program(argc, argv, "uvic-fid", "Distances between sets of images: FID, sFID, IS, KID, precision, recall.",
                     declare, run);
}
