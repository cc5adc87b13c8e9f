#pragma once

#include <csignal>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "app/generator.h"
#include "app/latent_images.h"
#include "app/progress.h"
#include "app/world.h"

namespace uvic {

struct SampleRequest {
  std::filesystem::path model;
  std::vector<uint64_t> seeds;    // one an image
  std::string classes = "all";    // a name, a number, "all" (in turn) or "random" (by seed); "A,B" to interpolate
  std::string negative_class;     // of the unconditional side; empty: the null class
  std::filesystem::path context;  // text models: a file with "context" [N or 1, T, D], and "null" [T, D] to guide
  // Or texts, for the tower that reads them: image i is of prompt i mod their number.
  std::vector<std::string> prompts;
  std::filesystem::path prompts_file;             // more of them, one a line; empty: none
  std::optional<std::string> negative_prompt;     // that takes the place of the empty text
  std::filesystem::path text_encoder, tokenizer;  // empty: found beside the model, or by its metadata
  std::filesystem::path negative_context;         // a file whose "context" [1, T, D] takes the place of "null"
  GeneratorOptions generator;                     // its prediction is the model's
  std::filesystem::path guide_model;              // autoguidance; empty: none
  LatentOptions latents;                          // of models on latents
  int batch = 16;
  // The images are a way: from the noise of their seed to that of to_seed, and from the first class to the second.
  int interpolate = 0;  // how many; 0: they are not
  std::optional<uint64_t> to_seed;
  double share_of(size_t image) const {  // how far along
    return interpolate > 1 ? static_cast<double>(image) / (interpolate - 1) : 0;
  }
  std::filesystem::path out;                // folder for <seed, 6 digits>.png; empty: none
  std::filesystem::path grid, npz, tensor;  // further outputs; empty: none
  std::filesystem::path trajectory;         // PNG of the states after each step, an image a row; empty: none
  std::filesystem::path preview;            // PNG of the batch as it stands, written after each step; empty: none
  std::filesystem::path init_noise;         // a file with one tensor, x_T [N, C, h, w]; empty: from the seeds
  std::filesystem::path init_image, mask;   // an image to vary, or of which to paint anew where the mask is white
  double strength = 0;                      // share of the way that init_image is noised; 0: 0.8, or 1 with a mask
  std::string device = "auto", dtype = "auto";
  int threads = 0;
  World world;  // image i is made by process i mod size
  Progress::Style progress = Progress::Style::automatic;
  const volatile std::sig_atomic_t* stop = nullptr;
};

struct SampleOutcome {
  int64_t made = 0, kept = 0;  // images computed now, and found whole from an earlier run
  double load_seconds = 0, seconds = 0;
  bool interrupted = false;
};

// Makes the images of request.seeds. A PNG in out that is whole and was made with the same parameters is kept; one made
// with others is an Error, not overwritten. Nothing is half-written, whenever the program ends.
SampleOutcome sample_images(const SampleRequest& request);

// "0-3,7" -> 0 1 2 3 7. Throws Error naming the part that is wrong.
std::vector<uint64_t> parse_seeds(const std::string& text);

}  // namespace uvic
