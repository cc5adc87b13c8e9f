#pragma once

#include "app/image_maker.h"
#include "app/image_source.h"

namespace uvic {

// The images of a SampleRequest, made as they are asked for, rounded to 8 bits as uvic-sample saves them.
class SampledImages : public ImageSource {
 public:
  // request must outlive it. Throws Error as ImageMaker does.
  explicit SampledImages(const SampleRequest& request);

  int64_t size() const override { return static_cast<int64_t>(request_.seeds.size()); }
  std::function<Image()> fetch(int64_t i) override;
  bool heavy() const override { return true; }
  const LoadedModel& model() const { return maker_.model(); }

 private:
  const SampleRequest& request_;
  ImageMaker maker_;
  int64_t first_ = 0;          // of images_
  std::vector<Image> images_;  // the batch made last
};

}  // namespace uvic
