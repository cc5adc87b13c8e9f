#pragma once

#include <string>

#include "model/model_file.h"

namespace uvic {

// What a file of weights holds, as lines of a name and a value or as one JSON object: its config, parameters, FLOPs,
// classes, what its latents and texts need and, if tensors, the dtype and shape of each. Throws Error if these are not
// the weights of a U-ViC or U-ViT.
std::string describe_model(const Weights& weights, bool tensors, bool as_json);

}  // namespace uvic
