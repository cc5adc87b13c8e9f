#include "app/encode_commands.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "app/cli.h"
#include "app/encode_images.h"
#include "app/encode_text.h"
#include "app/loaded_model.h"
#include "app/pack.h"

namespace uvic {
namespace {

// Of every subcommand.
struct Common {
  bool stored = false, quiet = false, as_json = false;
};

void add_data_options(CLI::App& app, DataConfig& data, Common& common) {
  app.option_defaults()->always_capture_default();
  app.add_option("data", data.path, "Class folders, .tar, CIFAR-10 .bin files or a list, as data.path in a config")
      ->required();
  app.add_option("--format", data.format, "Of the data: auto, folder, tar, cifar or list");
  app.add_option("--classes", data.classes, "Class folders to use, comma-separated, in the order of their labels")
      ->delimiter(',');
  app.add_flag("--json", common.as_json, "Print one result object on stdout");
  app.add_flag("-q,--quiet", common.quiet, "No progress");
}

// Of --store: numbers of files, where f16 is one.
DType stored_dtype(const std::string& name) { return name == "f16" ? DType::f16 : dtype_of_name(name); }

int report(const char* what, int64_t items, int64_t left_out, int shards, int kept, bool interrupted, bool as_json) {
  std::fprintf(stderr, "uvic-encode: %s: %lld images in %d shards, %lld left out as broken\n",
               interrupted ? "interrupted" : "done", static_cast<long long>(items), shards,
               static_cast<long long>(left_out));
  if (as_json) {
    const nlohmann::ordered_json j{{"what", what},     {"images", items}, {"bad", left_out},
                                   {"shards", shards}, {"kept", kept},    {"interrupted", interrupted}};
    std::printf("%s\n", j.dump().c_str());
  }
  return interrupted ? kExitInterrupted : 0;
}

}  // namespace

EncodeCommand pack_command(CLI::App& app) {
  struct Given : Common {
    PackRequest r;
  };
  const auto given = std::make_shared<Given>();
  PackRequest& r = given->r;
  CLI::App* pack = app.add_subcommand("pack", "Packs images into WebDataset shards (.tar of key.jpg beside key.cls)");
  add_data_options(*pack, r.data, *given);
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
  pack->add_flag("--ignore-exif", given->stored, "With --size: leave photos as stored, not upright as their EXIF says")
      ->needs(size);
  pack->add_flag("--in-order", r.in_order, "Class by class instead of shuffled");
  pack->add_option("-s,--seed", r.seed, "Of shuffling");
  pack->add_option("--threads", r.data.workers, "Threads that decode; 0: one per core")->check(CLI::Range(0, 256));
  return {pack, [given] {
            PackRequest& request = given->r;
            if (given->quiet) request.progress = Progress::Style::quiet;
            request.data.exif_orientation = !given->stored;
            request.stop = &stop_requested;
            const PackOutcome o = uvic::pack(request);
            return report("pack", o.images, o.bad, o.shards, o.kept, o.interrupted, given->as_json);
          }};
}

EncodeCommand images_command(CLI::App& app) {
  struct Given : Common {
    EncodeImagesRequest r;
    std::string device = "auto", working = "f32", stored_as = "f32";
  };
  const auto given = std::make_shared<Given>();
  EncodeImagesRequest& r = given->r;
  CLI::App* images = app.add_subcommand("images", "Encodes images into latents, which training can read instead");
  add_data_options(*images, r.data, *given);
  images->add_option("-o,--out", r.out, "Folder for the shards and images.json")->required();
  images->add_option("--autoencoder", r.autoencoder, "Its weights: .pth, .safetensors, or a folder of diffusers")
      ->required();
  images->add_option("--size", r.size, "Pixels a side, cropped as training crops")->check(CLI::Range(1, 16384));
  images->add_option("--crop", r.data.crop, "The square: center (as U-ViT on ImageNet), or coco (as it on MS-COCO)")
      ->check(CLI::IsMember({"center", "coco"}));
  images->add_flag("--flip", r.flip, "The mirrored images as well, as U-ViT on ImageNet");
  images->add_flag("--means", r.means, "Means alone, half the bytes, instead of means and variances to draw from");
  images
      ->add_option("--store", given->stored_as,
                   "Numbers in the shards: f32 (32 KB an image of 256 x 256 with KL-f8), f16 or bf16 (half; f16 is the "
                   "nearer one)")
      ->check(CLI::IsMember({"f32", "f16", "bf16"}));
  images->add_flag("--ignore-exif", given->stored, "Leave photos as stored, not upright as their EXIF says");
  images->add_option("--shard-mb", r.shard_mb, "Megabytes (10^6) of a shard, which is what a stop can lose")
      ->check(CLI::PositiveNumber);
  images->add_option("--device", given->device, "auto, cpu, cuda or cuda:N");
  images->add_option("--dtype", given->working, "Working precision of the autoencoder: auto, f32 or bf16");
  images->add_option("--threads", r.threads, "Of the autoencoder; 0: one per core")->check(CLI::Range(0, 4096));
  images->add_option("--decode-threads", r.data.workers, "Threads that decode images; 0: one per core")
      ->check(CLI::Range(0, 256));
  return {images, [given] {
            EncodeImagesRequest& request = given->r;
            if (given->quiet) request.progress = Progress::Style::quiet;
            request.data.exif_orientation = !given->stored;
            request.device = device_of_name(given->device, world_from_environment());
            request.working = dtype_of_name(given->working, request.device);
            request.dtype = stored_dtype(given->stored_as);
            request.stop = &stop_requested;
            Processes processes(world_from_environment());
            const EncodeOutcome o = encode_images(request, processes);
            ends_by_itself();
            if (!processes.first()) return o.interrupted ? kExitInterrupted : 0;
            return report("images", o.items, o.left_out, o.shards, o.kept, o.interrupted, given->as_json);
          }};
}

EncodeCommand text_command(CLI::App& app) {
  struct Given : Common {
    EncodeTextRequest r;
    std::string device = "auto", working = "f32", stored_as = "f32";
  };
  const auto given = std::make_shared<Given>();
  EncodeTextRequest& r = given->r;
  CLI::App* text = app.add_subcommand("text", "Encodes captions by CLIP, for text-to-image training on latents");
  text->option_defaults()->always_capture_default();
  text->add_option(
          "captions", r.captions,
          "A caption a line, perhaps behind its image's name and a tab; or .jsonl with \"image\", \"captions\"")
      ->required();
  text->add_option("-o,--out", r.out, "Folder for the shards and text.json: that of the latents, to train on both")
      ->required();
  text->add_option("--text-encoder", r.text_encoder, "CLIP's weights: a file, or a folder of HuggingFace's")
      ->required();
  text->add_option("--tokenizer", r.tokenizer, "Its vocabulary; else beside it, or CLIP's own");
  text->add_option(
          "--store", given->stored_as,
          "Numbers in the shards: f32 (237 KB a caption of ViT-L/14), f16 or bf16 (half; f16 is the nearer one)")
      ->check(CLI::IsMember({"f32", "f16", "bf16"}));
  text->add_option("--shard-mb", r.shard_mb, "Megabytes (10^6) of a shard, which is what a stop can lose")
      ->check(CLI::PositiveNumber);
  text->add_option("--device", given->device, "auto, cpu, cuda or cuda:N");
  text->add_option("--dtype", given->working, "Working precision of the text encoder: auto, f32 or bf16");
  text->add_option("--threads", r.threads, "CPU threads; 0: one per core")->check(CLI::Range(0, 4096));
  text->add_flag("--json", given->as_json, "Print one result object on stdout");
  text->add_flag("-q,--quiet", given->quiet, "No progress");
  return {text, [given] {
            EncodeTextRequest& request = given->r;
            if (given->quiet) request.progress = Progress::Style::quiet;
            request.device = device_of_name(given->device, world_from_environment());
            request.working = dtype_of_name(given->working, request.device);
            request.dtype = stored_dtype(given->stored_as);
            request.stop = &stop_requested;
            Processes processes(world_from_environment());
            const EncodeTextOutcome o = encode_text(request, processes);
            ends_by_itself();
            const int status = o.interrupted ? kExitInterrupted : 0;
            if (!processes.first()) return status;
            std::fprintf(stderr,
                         "uvic-encode: %s: captions of %lld images in %d shards, %lld encoded now, %lld of them cut\n",
                         o.interrupted ? "interrupted" : "done", static_cast<long long>(o.items), o.shards,
                         static_cast<long long>(o.encoded), static_cast<long long>(o.cut));
            if (given->as_json) {
              const nlohmann::ordered_json j{
                  {"what", "text"},     {"images", o.items}, {"encoded", o.encoded},        {"cut", o.cut},
                  {"shards", o.shards}, {"kept", o.kept},    {"interrupted", o.interrupted}};
              std::printf("%s\n", j.dump().c_str());
            }
            return status;
          }};
}

}  // namespace uvic
