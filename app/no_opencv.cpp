// Built instead of image_decode.cpp, image_encode.cpp and plot.cpp when UVIC_OPENCV is off.
#include "app/image_io.h"
#include "app/plot.h"
#include "kernels/core/error.h"

namespace uvic {

Image decode_image(std::span<const uint8_t>, const std::string& name, Orientation) {
  throw Error(name + ": image files cannot be read: uvic was built without OpenCV",
              "configure with -DUVIC_OPENCV=ON, or use CIFAR-10's binary version");
}

Image draw_plot(const Plot&) {
  throw Error("plots cannot be drawn: uvic was built without OpenCV", "configure with -DUVIC_OPENCV=ON");
}

std::vector<uint8_t> encode_jpeg(const Image&, int) {
  throw Error("JPEG files cannot be written: uvic was built without OpenCV", "configure with -DUVIC_OPENCV=ON");
}

}  // namespace uvic
