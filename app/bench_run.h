#pragma once

#include <string>
#include <vector>

namespace uvic {

struct BenchRequest {
  std::string what;  // attention, train, sample, matrix, features, encode, decode or text
  std::string model = "S2", attention = "cog", dtype = "bf16", isa = "auto";
  std::string file;  // of features: an InceptionV3; encode, decode: an autoencoder; text: a text encoder
  int batch = 8, steps = 20, size = 256, threads = 0;
  std::string device = "cpu";
  std::vector<int64_t> shape;  // attention: [B, H, L, D]; empty: those of networks
  double seconds = 10;
  bool profile = false, recompute = false;
};

// Names of the networks that can be timed: "mini", "S2" (CIFAR-10), "L2" (ImageNet-256 latents), ...
std::vector<std::string> bench_models();

// Prints one JSON record a figure on stdout: medians over request.seconds, TFLOP/s counted as multiply-adds x 2 of the
// matrix products (a training step: three forwards; attention's forward and backward: 3.5 forwards, on a GPU also of
// calls that nobody waits for one by one). matrix: the rate of one large product. features: from 32 x 32 pixels to the
// FID's 2048 numbers an image, in f32. encode, decode: images of size x size to latents, and back. text: tokens to
// contexts.
void run_bench(const BenchRequest& request);

}  // namespace uvic
