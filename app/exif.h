#pragma once

#include <cstdint>
#include <span>

#include "app/image_io.h"

namespace uvic {

// How a camera was held: 1 (upright) to 8, EXIF's tag 0x0112, from a JPEG's APP1 segment, a PNG's eXIf or a WebP's EXIF
// chunk. 1 where there is none, or one that is damaged: then the pixels are all there is to go by.
int exif_orientation(std::span<const uint8_t> file, ImageFormat format);

// The image as it was meant to be seen: mirrored, turned or both. Orientation 5 to 8 swap height and width.
Image turn_upright(Image image, int orientation);

}  // namespace uvic
