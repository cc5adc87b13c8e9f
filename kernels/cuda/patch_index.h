#pragma once

#include <cstdint>

#include "kernels/core/host_device.h"

namespace uvic::cuda {

// Where an element of tokens [B, L, p*p*C], whose last (h/p)(w/p) rows are patches, lies in images [B, C, h, w].
struct PatchIndex {
  int64_t C, h, w, p, dropped;  // dropped: tokens before the patches
  bool channel_fastest;         // inside a patch: [py, px, c], unpatchify's order; else [c, py, px], patchify's

  UVIC_HD int64_t width() const { return p * p * C; }
  UVIC_HD int64_t token_size() const { return dropped * width() + C * h * w; }

  // Of element i of all tokens; -1 where it belongs to a token that is no patch.
  UVIC_HD int64_t in_image(int64_t i) const {
    const int64_t b = i / token_size(), token = i % token_size() / width() - dropped, inside = i % width();
    if (token < 0) return -1;
    const int64_t c = channel_fastest ? inside % C : inside / (p * p);
    const int64_t at = channel_fastest ? inside / C : inside % (p * p);
    const int64_t y = token / (w / p) * p + at / p, x = token % (w / p) * p + at % p;
    return ((b * C + c) * h + y) * w + x;
  }
};

inline PatchIndex channel_slowest(int64_t C, int64_t h, int64_t w, int64_t p) { return {C, h, w, p, 0, false}; }
inline PatchIndex channel_fastest(int64_t C, int64_t h, int64_t w, int64_t p, int64_t L) {
  return {C, h, w, p, L - (h / p) * (w / p), true};
}

}  // namespace uvic::cuda
