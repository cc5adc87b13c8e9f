#include <exception>
#include <opencv2/core.hpp>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>

#include "app/image_io.h"
#include "kernels/core/error.h"

namespace uvic {

std::vector<uint8_t> encode_jpeg(const Image& image, int quality) {
  const cv::Mat rgb(image.height, image.width, CV_8UC3, const_cast<uint8_t*>(image.rgb.data()));
  std::vector<uint8_t> bytes;
  try {
    cv::Mat bgr;
    cv::cvtColor(rgb, bgr, cv::COLOR_RGB2BGR);
    cv::imencode(".jpg", bgr, bytes, {cv::IMWRITE_JPEG_QUALITY, quality});
  } catch (const std::exception& e) {  // cv::Exception or bad_alloc
    fail("encode_jpeg: ", image.width, " x ", image.height, " pixels: ", e.what());
  }
  return bytes;
}

}  // namespace uvic
