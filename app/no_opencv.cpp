// Built instead of image_decode.cpp and plot.cpp when UVIC_OPENCV is off.
#include "app/image_io.h"
#include "app/plot.h"
#include "kernels/core/error.h"

namespace uvic {

Image decode_image(std::span<const uint8_t>, const std::string& name) {
  throw Error(name + ": image files cannot be read: uvic was built without OpenCV",
              "configure with -DUVIC_OPENCV=ON, or use CIFAR-10's binary version");
}

Image draw_plot(const Plot&) {
  throw Error("plots cannot be drawn: uvic was built without OpenCV", "configure with -DUVIC_OPENCV=ON");
}

}  // namespace uvic
