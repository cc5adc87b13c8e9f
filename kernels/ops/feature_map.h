#pragma once

#include "kernels/core/context.h"
#include "kernels/ops/map_format.h"

namespace uvic {

// A batch of feature maps inside a frozen convolutional network: h x w pixels of so many channels. The channels of a
// pixel lie side by side, so a range of channels is a view, and concatenation costs nothing: everyone writes into his
// range of the same map. Behind each row lie gap_w pixels of zeros, and behind each image gap_h rows of them: what
// convolutions pad with, and why each tap of a filter is at one constant distance from any pixel. On a GPU they lie on
// both sides, so that images with their gaps are whole tensors [B, h + 2 gap_h, w + 2 gap_w, C] to a library.
//
// Numbers are f32; or, where the processor multiplies bf16 matrices (AMX), each is the sum of two bf16, hi = bf16(x)
// and lo = bf16(x - hi): 16 bits of significand, an error of at most 2^-17, for convolutions at several times the
// speed. Who wants bf16 itself gets it there and on a GPU, and f32 elsewhere.
struct FeatureMap {
  Tensor data;  // f32 or bf16 [pixels, pitch], or split bf16 [2, pixels, pitch], first every hi, then every lo
  int64_t B = 0, h = 0, w = 0, gap_h = 0, gap_w = 0;
  int64_t first = 0, channels = 0;  // this view's range of [0, pitch)
  int64_t first_pixel = 0;          // of this view, from that of the whole map on
  int64_t sides = 1;                // of rows and images that have a gap: 1 behind, or 2 around

  MapFormat format() const {
    return data.dtype() == DType::f32 ? MapFormat::f32 : data.rank() == 3 ? MapFormat::split : MapFormat::bf16;
  }
  int64_t pitch() const { return data.dim(-1); }  // numbers from pixel to pixel
  int64_t pixels() const { return data.dim(-2); }
  int64_t row() const { return w + sides * gap_w; }  // pixels from row to row, and from image to image
  int64_t image() const { return (h + sides * gap_h) * row(); }
  int64_t origin() const { return gap_h * row() + gap_w + first_pixel; }  // pixels before the first
  int64_t plane() const { return pixels() * pitch(); }                    // numbers from hi to lo
  FeatureMap range(int64_t begin, int64_t count) const;                   // channels [begin, begin + count)
  FeatureMap images(int64_t begin, int64_t count) const;                  // images [begin, begin + count)
  // Rows [begin, begin + count) of a map of one image. The rows next to them take the place of the gap's.
  FeatureMap rows(int64_t begin, int64_t count) const;
};

// B x h x w x channels from ctx.arena(). Gaps are zero, the rest is undefined. The format follows from the
// device, or a CPU's ctx.isa(), and dtype: bf16 asks for bf16.
struct MapSize {
  int64_t B = 0, h = 0, w = 0, channels = 0, gap_h = 0, gap_w = 0;
  DType dtype = DType::f32;
};
MapFormat map_format(const Context& ctx, DType dtype);
FeatureMap make_feature_map(Context& ctx, const MapSize& size);

// How a window moves over x to give y: `stride` pixels from one y to the next, from pad_h rows above and pad_w columns
// left of x on. How far it may reach out below and right follows from y's size.
struct Window {
  int64_t kh = 1, kw = 1, stride = 1, pad_h = 0, pad_w = 0;
};

// Pixel (i, j) of y holds the window of the image there, channels outermost: a convolution of few channels becomes one
// of C kh kw channels and a single tap. image [B, C, h, w] f32, zero outside.
void unfold(Context& ctx, Tensor image, const Window& window, FeatureMap y);
// The values of a map, y [B, h, w, channels] f32 or bf16; and the way back.
void to_tensor(Context& ctx, const FeatureMap& x, Tensor y);
void from_tensor(Context& ctx, Tensor x, FeatureMap y);
// The values of a map, channels outermost: y [B, channels, h, w] f32.
void to_planes(Context& ctx, const FeatureMap& x, Tensor y);

// Pools: x and y have the same channels, a multiple of 16, and windows at most this many pixels.
constexpr int64_t kMostPooled = 64;
// Largest value of each window, whose part outside x does not count.
void max_pool(Context& ctx, const FeatureMap& x, const Window& window, FeatureMap y);
// y = relu(mean of each window + b), whose part outside x does not count; b [channels] f32.
void average_pool(Context& ctx, const FeatureMap& x, const Window& window, Tensor b, FeatureMap y);
// y [B, channels] f32 = mean over the pixels of each image; sums in f64.
void spatial_mean(Context& ctx, const FeatureMap& x, Tensor y);

}  // namespace uvic
