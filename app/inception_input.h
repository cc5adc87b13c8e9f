#pragma once

#include "app/image_io.h"

namespace uvic {

// The three ways in which the tools of the field bring an image to 299 x 299 before Inception. Each has its own scale.
enum class Protocol : uint8_t {
  tf1,      // TensorFlow 1's bilinear, without antialiasing or half-pixel centres; (x - 128) / 128: ADM, torch-fidelity
  pytorch,  // bilinear, half-pixel centres, no antialiasing; 2 x / 255 - 1: pytorch-fid
  clean     // Pillow's bicubic, antialiased, on each channel in floats; (x - 128) / 128: clean-fid
};
const char* name_of(Protocol protocol);  // "tf1", ...

// Overwrites out [3, 299, 299] f32 with the resized image: in [0, 1] for pytorch, else in [0, 255]. Serial.
void resize_for_inception(const Image& image, Protocol protocol, Tensor out);
// The same, scaled as the protocol's network wants it. unit: scaled to [0, 1], as some other networks were trained.
void inception_input(const Image& image, Protocol protocol, bool unit, Tensor out);

}  // namespace uvic
