#pragma once

#include <memory>

#include "model/autoencoder.h"
#include "model/model_file.h"

namespace uvic {

// Stable Diffusion's AutoencoderKL, and any other of its layout: the number of levels, blocks and channels, attention
// inside levels, and whether there are convolutions around the posterior follow from the tensors.
std::unique_ptr<Autoencoder> make_kl_autoencoder(Weights weights, const Autoencoder::Options& options, int64_t groups,
                                                 std::optional<double> scale_factor);

}  // namespace uvic
