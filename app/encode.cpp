// uvic-encode: data sets into the forms that training reads.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "app/cli.h"
#include "app/pack.h"

int main(int argc, char** argv) {
  using namespace uvic;
  PackRequest r;
  bool stored = false, quiet = false, as_json = false;
  const auto declare = [&](CLI::App& app) {
    app.require_subcommand(1);
    CLI::App* pack = app.add_subcommand("pack", "Packs images into WebDataset shards (.tar of key.jpg beside key.cls)");
    pack->option_defaults()->always_capture_default();
    pack->add_option("data", r.data.path,
                     "Class folders, .tar, CIFAR-10 .bin files or a list, as data.path in a config")
        ->required();
    pack->add_option("-o,--out", r.out, "Folder for the shards, their indices and index.json")->required();
    pack->add_option("--shard-mb", r.shard_mb, "Megabytes (10^6) after which a shard ends")->check(CLI::PositiveNumber);
    CLI::Option* size = pack->add_option("--size", r.size, "Resize to so many pixels; 0: keep the files as they are");
    size->check(CLI::Range(0, 16384));
    pack->add_option("--crop", r.crop, "With --size: center (a square), or short (the short side; nothing is cut)")
        ->check(CLI::IsMember({"center", "short"}))
        ->needs(size);
    pack->add_option("--jpeg-quality", r.jpeg_quality, "With --size: write JPEG of this quality; 0: PNG, without loss")
        ->check(CLI::Range(0, 100))
        ->needs(size);
    pack->add_option("--format", r.data.format, "Of the data: auto, folder, tar, cifar or list");
    pack->add_option("--classes", r.data.classes, "Class folders to use, comma-separated, in the order of their labels")
        ->delimiter(',');
    pack->add_flag("--ignore-exif", stored, "With --size: leave photos as stored, not upright as their EXIF says")
        ->needs(size);
    pack->add_flag("--in-order", r.in_order, "Class by class instead of shuffled");
    pack->add_option("-s,--seed", r.seed, "Of shuffling");
    pack->add_option("--threads", r.data.workers, "Threads that decode; 0: one per core")->check(CLI::Range(0, 256));
    pack->add_flag("--json", as_json, "Print one result object on stdout");
    pack->add_flag("-q,--quiet", quiet, "No progress");
  };
  const auto run = [&] {
    if (quiet) r.progress = Progress::Style::quiet;
    r.data.exif_orientation = !stored;
    catch_signals();
    r.stop = &stop_requested;
    const PackOutcome o = pack(r);
    std::fprintf(stderr, "uvic-encode: %s: %lld images in %d shards, %lld left out as broken\n",
                 o.interrupted ? "interrupted" : "done", static_cast<long long>(o.images), o.shards,
                 static_cast<long long>(o.bad));
    if (as_json) {
      const nlohmann::ordered_json j{{"what", "pack"},     {"images", o.images}, {"bad", o.bad},
                                     {"shards", o.shards}, {"kept", o.kept},     {"interrupted", o.interrupted}};
      std::printf("%s\n", j.dump().c_str());
    }
    return o.interrupted ? kExitInterrupted : 0;
  };
  return run_program(argc, argv, "uvic-encode", "Turns data sets into the forms that training reads.", declare, run);
}
