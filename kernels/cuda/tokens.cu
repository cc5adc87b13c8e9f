#include "kernels/ops/tokens.h"

#include <cmath>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/patch_index.h"

namespace uvic::cuda {
namespace {

template <class I, class T>
struct ImageToTokens {
  PatchIndex at;
  const I* image;
  T* tokens;
  __device__ void operator()(int64_t i) const {
    const int64_t from = at.in_image(i);
    tokens[i] = from < 0 ? T{} : from_float<T>(to_float(image[from]));
  }
};

template <class I, class T>
struct TokensToImage {
  PatchIndex at;
  const T* tokens;
  I* image;
  __device__ void operator()(int64_t i) const {
    const int64_t to = at.in_image(i);
    if (to >= 0) image[to] = from_float<I>(to_float(tokens[i]));
  }
};

void image_to_tokens(Context& ctx, const PatchIndex& at, Tensor image, Tensor tokens) {
  with_working(image.dtype(), [&](auto pixel) {
    with_working(tokens.dtype(), [&](auto element) {
      using I = decltype(pixel);
      using T = decltype(element);
      for_each(ctx, tokens.numel(), ImageToTokens<I, T>{at, image.data<I>(), tokens.data<T>()});
    });
  });
}

void tokens_to_image(Context& ctx, const PatchIndex& at, Tensor tokens, Tensor image) {
  with_working(image.dtype(), [&](auto pixel) {
    with_working(tokens.dtype(), [&](auto element) {
      using I = decltype(pixel);
      using T = decltype(element);
      for_each(ctx, tokens.numel(), TokensToImage<I, T>{at, tokens.data<T>(), image.data<I>()});
    });
  });
}

PatchIndex slowest(const Tensor& image, int p) { return channel_slowest(image.dim(1), image.dim(2), image.dim(3), p); }
PatchIndex fastest(const Tensor& image, int p, const Tensor& tokens) {
  return channel_fastest(image.dim(1), image.dim(2), image.dim(3), p, tokens.dim(1));
}

}  // namespace

void patchify(Context& ctx, Tensor image, int patch, Tensor patches) {
  image_to_tokens(ctx, slowest(image, patch), image, patches);
}

void patchify_backward(Context& ctx, Tensor dpatches, int patch, Tensor dimage) {
  tokens_to_image(ctx, slowest(dimage, patch), dpatches, dimage);
}

void unpatchify(Context& ctx, Tensor tokens, int patch, Tensor image) {
  tokens_to_image(ctx, fastest(image, patch, tokens), tokens, image);
}

void unpatchify_backward(Context& ctx, Tensor dimage, int patch, Tensor dtokens) {
  image_to_tokens(ctx, fastest(dimage, patch, dtokens), dimage, dtokens);
}

namespace {

// Frequencies and angles are rounded to f32 as the CPU's are: at t = 1000 another rounding of the frequency moves the
// angle by 6e-5. exp, cos and sin themselves are taken in double, which rounds them as the C library does.
template <class T>
struct TimestepEmbedding {
  const float* t;
  int64_t d;
  float rate;  // -ln(10000)
  T* out;
  __device__ void operator()(int64_t i) const {
    const int64_t half = d / 2, b = i / d, k = i % d;
    if (k >= 2 * half) {
      out[i] = T{};
      return;
    }
    const float exponent = rate * static_cast<float>(k % half) / static_cast<float>(half);
    const float angle = t[b] * static_cast<float>(exp(static_cast<double>(exponent)));
    const double wide = static_cast<double>(angle);
    out[i] = from_float<T>(static_cast<float>(k < half ? cos(wide) : sin(wide)));
  }
};

}  // namespace

void timestep_embedding(Context& ctx, Tensor t, Tensor out) {
  const float rate = static_cast<float>(-std::log(10000.0));
  with_working(out.dtype(), [&](auto element) {
    using T = decltype(element);
    for_each(ctx, out.numel(), TimestepEmbedding<T>{t.data<float>(), out.dim(1), rate, out.data<T>()});
  });
}

namespace {

template <class T>
struct EmbeddingForward {
  const T* table;
  const int32_t* index;
  int64_t rows, d;
  T* out;
  __device__ void operator()(int64_t i) const {
    const int64_t row = index[i / d];
    out[i] = row >= 0 && row < rows ? table[row * d + i % d] : from_float<T>(NAN);
  }
};

// A thread a column, the rows one after the other: an index may repeat.
template <class T>
struct EmbeddingBackward {
  const int32_t* index;
  const T* dout;
  int64_t B, rows, d;
  float* dtable;
  __device__ void operator()(int64_t c) const {
    for (int64_t b = 0; b < B; ++b)
      if (index[b] >= 0 && index[b] < rows) dtable[index[b] * d + c] += to_float(dout[b * d + c]);
  }
};

template <class T>
struct PlaceTokens {
  const T *src, *pos;
  int64_t n, L, d, first;
  T* x;
  __device__ void operator()(int64_t i) const {
    const int64_t row = i / d, c = i % d, token = first + row % n;
    x[(row / n * L + token) * d + c] = from_float<T>(to_float(src[i]) + to_float(pos[token * d + c]));
  }
};

template <class T>
struct TakeTokens {
  const T* dx;
  int64_t n, L, d, first;
  T* dsrc;
  __device__ void operator()(int64_t i) const {
    const int64_t row = i / d;
    dsrc[i] = dx[(row / n * L + first + row % n) * d + i % d];
  }
};

template <class T>
struct PositionBackward {
  const T* dx;
  int64_t B, size;  // size = L d
  float* dpos;
  __device__ void operator()(int64_t i) const {
    float sum = dpos[i];
    for (int64_t b = 0; b < B; ++b) sum += to_float(dx[b * size + i]);
    dpos[i] = sum;
  }
};

}  // namespace

void embedding_forward(Context& ctx, Tensor table, Tensor index, Tensor out) {
  with_working(table.dtype(), [&](auto element) {
    using T = decltype(element);
    for_each(ctx, out.numel(),
             EmbeddingForward<T>{table.data<T>(), index.data<int32_t>(), table.dim(0), table.dim(1), out.data<T>()});
  });
}

void embedding_backward(Context& ctx, Tensor index, Tensor dout, Tensor dtable) {
  with_working(dout.dtype(), [&](auto element) {
    using T = decltype(element);
    const int64_t d = dtable.dim(1);
    for_each(ctx, d,
             EmbeddingBackward<T>{index.data<int32_t>(), dout.data<T>(), index.dim(0), dtable.dim(0), d,
                                  dtable.data<float>()});
  });
}

void place_tokens(Context& ctx, Tensor src, Tensor pos, int64_t first, Tensor x) {
  with_working(x.dtype(), [&](auto element) {
    using T = decltype(element);
    for_each(ctx, src.numel(),
             PlaceTokens<T>{src.data<T>(), pos.data<T>(), src.dim(1), x.dim(1), x.dim(2), first, x.data<T>()});
  });
}

void take_tokens(Context& ctx, Tensor dx, int64_t first, Tensor dsrc) {
  with_working(dx.dtype(), [&](auto element) {
    using T = decltype(element);
    for_each(ctx, dsrc.numel(), TakeTokens<T>{dx.data<T>(), dsrc.dim(1), dx.dim(1), dx.dim(2), first, dsrc.data<T>()});
  });
}

void position_backward(Context& ctx, Tensor dx, Tensor dpos) {
  with_working(dx.dtype(), [&](auto element) {
    using T = decltype(element);
    for_each(ctx, dpos.numel(), PositionBackward<T>{dx.data<T>(), dx.dim(0), dpos.numel(), dpos.data<float>()});
  });
}

}  // namespace uvic::cuda
