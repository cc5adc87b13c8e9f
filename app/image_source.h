#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "app/image_io.h"

namespace uvic {

// A set of images in a fixed order, to be gone through once.
class ImageSource {
 public:
  virtual ~ImageSource() = default;

  virtual int64_t size() const = 0;
  // The work that gives image i. Asked for in rising order of i, some may be left out, by one thread at a time; the
  // work may be done on any thread, in any order, before this object ends. Either throws Error naming what is broken.
  virtual std::function<Image()> fetch(int64_t i) = 0;
  // Whether fetch() itself works long and hard, on all cores: then nothing should run beside it.
  virtual bool heavy() const { return false; }
};

// A folder of images (any depth), .tar files, CIFAR-10 binaries or a list as Dataset reads them, or an .npz whose arr_0
// is [N, h, w, 3] u8, which is read as it goes. Throws Error if there is no image.
std::unique_ptr<ImageSource> open_images(const std::string& path);

}  // namespace uvic
