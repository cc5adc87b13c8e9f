#include "app/sample_conditions.h"

#include "app/loaded_model.h"
#include "kernels/core/philox.h"

namespace uvic {
int32_t other_label(const ModelInfo& info, const SampleRequest& r) {
  const size_t comma = r.classes.find(',');
  if (r.interpolate == 0 || comma == std::string::npos) return -1;
  UVIC_CHECK(info.config.num_classes > 0, "--class ", r.classes, ": this model takes no class");
  return class_of_name(info, r.classes.substr(comma + 1));
}

int32_t negative_label(const ModelInfo& info, const SampleRequest& r) {
  if (r.negative_class.empty()) return -1;
  UVIC_CHECK(info.config.num_classes > 0, "--negative-class ", r.negative_class, ": this model takes no class");
  UVIC_CHECK(r.generator.guidance.on() && r.guide_model.empty(), "--negative-class ", r.negative_class,
             " is the unconditional side of --cfg-scale: give one other than 1, and no --guide-model");
  return class_of_name(info, r.negative_class);
}

std::vector<int32_t> choose_labels(const ModelInfo& info, const SampleRequest& r) {
  std::vector<int32_t> labels;
  const int classes = info.config.real_classes();
  if (info.config.num_classes <= 0) {
    UVIC_CHECK(r.classes == "all", "--class ", r.classes, ": this model takes no class");
    return labels;
  }
  UVIC_CHECK(r.interpolate == 0 || r.classes != "all", "--interpolate needs one --class, or two as A,B");
  const bool all = r.classes == "all", random = r.classes == "random";
  const std::string first = r.interpolate > 0 ? r.classes.substr(0, r.classes.find(',')) : r.classes;
  const int one = all || random ? 0 : class_of_name(info, first);
  for (size_t i = 0; i < r.seeds.size(); ++i) {
    const Random4 draw = philox({r.seeds[i], 0, Stream::label_drop, 0}, 0);
    labels.push_back(all      ? static_cast<int32_t>(i % static_cast<size_t>(classes))
                     : random ? static_cast<int32_t>(draw.v[0] % static_cast<uint32_t>(classes))
                              : one);
  }
  return labels;
}

}  // namespace uvic
