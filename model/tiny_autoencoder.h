#pragma once

#include <memory>

#include "model/autoencoder.h"
#include "model/model_file.h"

namespace uvic {

// Whether these are weights of the TAESD family: numbered layers (3.conv.0.weight).
bool is_tiny_autoencoder(const Weights& weights);

// TAESD, its relatives with other latents (taef2: 32 channels, with pooled blocks), and diffusers' AutoencoderTiny.
// Both halves from one file, or one from weights and the other, if it is there, from the file beside it.
std::unique_ptr<Autoencoder> make_tiny_autoencoder(Weights weights, const Autoencoder::Options& options);

}  // namespace uvic
