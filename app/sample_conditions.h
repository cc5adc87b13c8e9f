#pragma once

#include <vector>

#include "app/sample_run.h"
#include "model/model_file.h"

namespace uvic {

// The label of every image as --class says; none for a model without labels. Throws Error with the nearest class names.
std::vector<int32_t> choose_labels(const ModelInfo& info, const SampleRequest& request);
// The label that images with --interpolate go to: of the second class of --class, -1 if it names one. Throws as above.
int32_t other_label(const ModelInfo& info, const SampleRequest& request);
// Of --negative-class; -1: the null class.
int32_t negative_label(const ModelInfo& info, const SampleRequest& request);

}  // namespace uvic
