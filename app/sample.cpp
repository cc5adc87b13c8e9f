// uvic-sample: images from a model file.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "app/cli.h"
#include "app/sample_options.h"
#include "app/sample_texts.h"

int main(int argc, char** argv) {
  using namespace uvic;
  SampleRequest r;
  std::string seeds;
  uint64_t seed = 0;
  int count = 16;
  bool quiet = false, as_json = false;
  CLI::Option* count_option = nullptr;
  const auto declare = [&](CLI::App& app) {
    app.add_option("-m,--model", r.model, "Model file, checkpoint folder or run folder")->required();
    count_option = app.add_option("-n,--count", count, "Number of images; of several prompts, one each if not given");
    count_option->check(CLI::Range(1, 100'000'000));
    auto* seed_option = app.add_option("-s,--seed", seed, "Image i has seed SEED + i");
    app.add_option("--seeds", seeds, "Seeds as a list of numbers and ranges, 0-49999,60000")->excludes(seed_option);
    app.add_option("-b,--batch", r.batch, "Images computed at once")->check(CLI::PositiveNumber);
    declare_sampling_options(app, r);
    app.add_option("-o,--out", r.out, "Folder for <seed>.png");
    app.add_option("--grid", r.grid, "PNG of all images side by side");
    app.add_option("--npz", r.npz, "All images as arr_0 [N, h, w, 3] uint8, as ADM's evaluator reads them");
    app.add_option("--save-tensor", r.tensor, ".safetensors of the results before 8-bit rounding");
    app.add_option("--interpolate", r.interpolate, "So many images from one of two --seeds, or --class, to the other")
        ->check(CLI::Range(2, 10'000));
    app.add_option("--init-image", r.init_image, "Image to vary; cut to its square middle");
    app.add_option("--strength", r.strength, "How much to change it, up to 1; 0: 0.8, or 1 with --mask");
    app.add_option("--mask", r.mask, "In-painting: image of the size of --init-image, white where to paint anew");
    app.add_option("--trajectory", r.trajectory, "PNG of every image, a row each, after every step");
    app.add_option("--preview", r.preview, "PNG of the batch as it stands, written after every step");
    app.add_option("--init-noise", r.init_noise, ".safetensors with x_T [N, C, h, w], instead of noise from the seeds");
    app.add_flag("--json", as_json, "Print one result object on stdout");
    app.add_flag("-q,--quiet", quiet, "No progress");
  };
  const auto run = [&] {
    if (r.out.empty() && r.grid.empty() && r.npz.empty() && r.tensor.empty() && r.trajectory.empty())
      throw CLI::RequiredError("One of --out, --grid, --npz, --save-tensor and --trajectory");
    if (const size_t prompts = prompts_of(r).size(); prompts > 1 && !count_option->count())
      count = static_cast<int>(std::min<size_t>(prompts, 100'000'000));
    for (int i = 0; i < count && seeds.empty(); ++i) r.seeds.push_back(seed + static_cast<uint64_t>(i));
    if (!seeds.empty()) r.seeds = parse_seeds(seeds);
    if (r.interpolate > 0) {
      UVIC_CHECK(seeds.empty() || r.seeds.size() == 2, "--interpolate goes between two --seeds, here are ",
                 r.seeds.size());
      if (!seeds.empty()) r.to_seed = r.seeds[1];
      r.seeds.assign(static_cast<size_t>(r.interpolate), r.seeds[0]);
    }
    r.world = world_from_environment();
    if (quiet) r.progress = Progress::Style::quiet;
    catch_signals("uvic-sample", r.world);
    r.stop = &stop_requested;
    const SampleOutcome o = sample_images(r);
    ends_by_itself();
    if (as_json) {
      const nlohmann::ordered_json j{{"what", "sample"},
                                     {"model", r.model.string()},
                                     {"images", o.made},
                                     {"kept", o.kept},
                                     {"load_s", o.load_seconds},
                                     {"seconds", o.seconds},
                                     {"images_per_s", o.seconds > 0 ? static_cast<double>(o.made) / o.seconds : 0},
                                     {"interrupted", o.interrupted}};
      std::printf("%s\n", j.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
    }
    return o.interrupted ? kExitInterrupted : 0;
  };
  return run_program(argc, argv, "uvic-sample", "Samples images from a U-ViC or U-ViT model.", declare, run);
}
