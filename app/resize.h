#pragma once

#include "app/image_io.h"

namespace uvic {

enum class Filter : uint8_t { box, bilinear, bicubic, lanczos };

// Resizes with Pillow's 8-bit resampling, to the bit: antialiased when shrinking, coefficients in 22-bit fixed point,
// horizontal pass first and rounded to 8 bits. The same size returns a copy.
Image resize(const Image& image, int height, int width, Filter filter);

// The window of that size whose upper left corner is (top, left); it must lie inside.
Image crop(const Image& image, int top, int left, int height, int width);

// The first part of guided-diffusion's crops: halved with a box while both sides stay at least twice as large as
// wanted, then bicubic until the short side has `size` pixels.
Image resize_short_side(const Image& image, int size);

// The square crops of the reference data loaders. All return [size, size].
Image center_crop_arr(const Image& image, int size);   // guided-diffusion, U-ViT on ImageNet: halve, bicubic, crop
Image coco_center_crop(const Image& image, int size);  // U-ViT on MS-COCO: crop, Lanczos
Image celeba_crop(const Image& image, int size);       // rows 57..184, columns 25..152, bilinear

// guided-diffusion's random_crop_arr: the short side becomes size / f, f in [0.8, 1], then a window anywhere. The three
// numbers in [0, 1) choose scale, row and column.
Image random_crop_arr(const Image& image, int size, float scale, float row, float column);

Image flip_horizontally(const Image& image);

}  // namespace uvic
