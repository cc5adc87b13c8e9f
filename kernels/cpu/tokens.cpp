#include "kernels/ops/tokens.h"

#include <cmath>
#include <cstring>

#include "kernels/core/with_dtype.h"
#include "kernels/cpu/parallel.h"

namespace uvic::cpu {
namespace {

// Images [B, C, h, w] against tokens [B, L, p*p*C], whose last n rows are the patches. An element of a patch is
// channel * c + pixel * (py p + px).
struct Patches {
  int64_t C, h, w, p, dropped, channel, pixel;

  int64_t width() const { return p * p * C; }
  int64_t image_size() const { return C * h * w; }
  int64_t token_size() const { return dropped * width() + image_size(); }

  // Calls f(index into the image, index into its tokens) for every pixel.
  template <class F>
  void for_each(const F& f) const {
    for (int64_t c = 0; c < C; ++c)
      for (int64_t i = 0; i < h; ++i)
        for (int64_t gx = 0; gx < w / p; ++gx) {
          const int64_t image = (c * h + i) * w + gx * p;
          const int64_t token = (dropped + i / p * (w / p) + gx) * width() + c * channel + i % p * p * pixel;
          for (int64_t px = 0; px < p; ++px) f(image + px, token + px * pixel);
        }
  }
};

Patches channel_slowest(const Tensor& image, int64_t p) {
  return {image.dim(1), image.dim(2), image.dim(3), p, 0, p * p, 1};
}

Patches channel_fastest(const Tensor& image, int64_t p, const Tensor& tokens) {
  const int64_t n = (image.dim(2) / p) * (image.dim(3) / p);
  return {image.dim(1), image.dim(2), image.dim(3), p, tokens.dim(1) - n, 1, image.dim(1)};
}

void image_to_tokens(Context& ctx, const Patches& at, Tensor image, Tensor tokens) {
  with_working(image.dtype(), [&](auto pixel) {
    with_working(tokens.dtype(), [&](auto element) {
      using I = decltype(pixel);
      using T = decltype(element);
      parallel_for(ctx, image.dim(0), rows_for(at.image_size()), [&](int64_t begin, int64_t end) {
        for (int64_t b = begin; b < end; ++b) {
          const I* src = image.data<I>() + b * at.image_size();
          T* dst = tokens.data<T>() + b * at.token_size();
          std::memset(dst, 0, static_cast<size_t>(at.dropped * at.width()) * sizeof(T));
          at.for_each([&](int64_t i, int64_t t) { dst[t] = from_float<T>(to_float(src[i])); });
        }
      });
    });
  });
}

void tokens_to_image(Context& ctx, const Patches& at, Tensor tokens, Tensor image) {
  with_working(image.dtype(), [&](auto pixel) {
    with_working(tokens.dtype(), [&](auto element) {
      using I = decltype(pixel);
      using T = decltype(element);
      parallel_for(ctx, image.dim(0), rows_for(at.image_size()), [&](int64_t begin, int64_t end) {
        for (int64_t b = begin; b < end; ++b) {
          const T* src = tokens.data<T>() + b * at.token_size();
          I* dst = image.data<I>() + b * at.image_size();
          at.for_each([&](int64_t i, int64_t t) { dst[i] = from_float<I>(to_float(src[t])); });
        }
      });
    });
  });
}

}  // namespace

void patchify(Context& ctx, Tensor image, int patch, Tensor patches) {
  image_to_tokens(ctx, channel_slowest(image, patch), image, patches);
}

void patchify_backward(Context& ctx, Tensor dpatches, int patch, Tensor dimage) {
  tokens_to_image(ctx, channel_slowest(dimage, patch), dpatches, dimage);
}

void unpatchify(Context& ctx, Tensor tokens, int patch, Tensor image) {
  tokens_to_image(ctx, channel_fastest(image, patch, tokens), tokens, image);
}

void unpatchify_backward(Context& ctx, Tensor dimage, int patch, Tensor dtokens) {
  image_to_tokens(ctx, channel_fastest(dimage, patch, dtokens), dimage, dtokens);
}

void timestep_embedding(Context& ctx, Tensor t, Tensor out) {
  const auto scope = ctx.scope("timestep_embedding");
  const int64_t d = out.dim(1), half = d / 2;
  // Every step is rounded to f32 because the networks were trained on that: at t = 1000 a rounding of the frequency
  // moves the angle by 6e-5.
  float* frequency = ctx.empty(DType::f32, {half}).data<float>();
  const float rate = static_cast<float>(-std::log(10000.0));
  for (int64_t i = 0; i < half; ++i) frequency[i] = std::exp(rate * static_cast<float>(i) / static_cast<float>(half));
  with_working(out.dtype(), [&](auto element) {
    using T = decltype(element);
    for (int64_t b = 0; b < out.dim(0); ++b) {
      T* row = out.data<T>() + b * d;
      const float time = t.data<float>()[b];
      for (int64_t i = 0; i < half; ++i) {
        row[i] = from_float<T>(std::cos(time * frequency[i]));
        row[half + i] = from_float<T>(std::sin(time * frequency[i]));
      }
      if (d % 2) row[d - 1] = T{};
    }
  });
}

namespace {

void check_index(const char* op, const Tensor& index, int64_t rows) {
  const int32_t* k = index.data<int32_t>();
  for (int64_t i = 0; i < index.numel(); ++i)
    UVIC_CHECK(k[i] >= 0 && k[i] < rows, op, ": index[", i, "] is ", k[i], ", the table has ", rows, " rows");
}

}  // namespace

void embedding_forward(Context&, Tensor table, Tensor index, Tensor out) {
  check_index("embedding_forward", index, table.dim(0));
  const size_t row = static_cast<size_t>(table.dim(1)) * size_of(table.dtype());
  for (int64_t b = 0; b < index.numel(); ++b)
    std::memcpy(static_cast<char*>(out.raw()) + static_cast<size_t>(b) * row,
                static_cast<char*>(table.raw()) + static_cast<size_t>(index.data<int32_t>()[b]) * row, row);
}

// B rows, one after the other: an index may repeat, and the order of a sum must not depend on threads.
void embedding_backward(Context&, Tensor index, Tensor dout, Tensor dtable) {
  const int64_t d = dtable.dim(1);
  check_index("embedding_backward", index, dtable.dim(0));
  with_working(dout.dtype(), [&](auto element) {
    using T = decltype(element);
    for (int64_t b = 0; b < index.numel(); ++b) {
      const T* src = dout.data<T>() + b * d;
      float* dst = dtable.data<float>() + index.data<int32_t>()[b] * d;
      for (int64_t i = 0; i < d; ++i) dst[i] += to_float(src[i]);
    }
  });
}

void place_tokens(Context& ctx, Tensor src, Tensor pos, int64_t first, Tensor x) {
  const int64_t n = src.dim(1), L = x.dim(1), d = x.dim(2);
  with_working(x.dtype(), [&](auto element) {
    using T = decltype(element);
    parallel_for(ctx, x.dim(0) * n, rows_for(d), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const int64_t token = first + r % n;
        const T* s = src.data<T>() + r * d;
        const T* p = pos.data<T>() + token * d;
        T* out = x.data<T>() + (r / n * L + token) * d;
        for (int64_t i = 0; i < d; ++i) out[i] = from_float<T>(to_float(s[i]) + to_float(p[i]));
      }
    });
  });
}

void take_tokens(Context& ctx, Tensor dx, int64_t first, Tensor dsrc) {
  const int64_t n = dsrc.dim(1), L = dx.dim(1);
  const size_t row = static_cast<size_t>(dx.dim(2)) * size_of(dx.dtype());
  parallel_for(ctx, dx.dim(0), rows_for(n * dx.dim(2)), [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b)
      std::memcpy(static_cast<char*>(dsrc.raw()) + static_cast<size_t>(b * n) * row,
                  static_cast<char*>(dx.raw()) + static_cast<size_t>(b * L + first) * row,
                  static_cast<size_t>(n) * row);
  });
}

void position_backward(Context& ctx, Tensor dx, Tensor dpos) {
  const int64_t B = dx.dim(0), L = dx.dim(1), d = dx.dim(2);
  with_working(dx.dtype(), [&](auto element) {
    using T = decltype(element);
    parallel_for(ctx, L, rows_for(B * d), [&](int64_t begin, int64_t end) {
      for (int64_t l = begin; l < end; ++l) {
        float* sum = dpos.data<float>() + l * d;
        for (int64_t b = 0; b < B; ++b) {
          const T* src = dx.data<T>() + (b * L + l) * d;
          for (int64_t i = 0; i < d; ++i) sum[i] += to_float(src[i]);
        }
      }
    });
  });
}

}  // namespace uvic::cpu
