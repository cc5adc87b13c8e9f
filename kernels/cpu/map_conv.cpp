#include "kernels/ops/map_conv.h"

#include <cstring>

#include "kernels/cpu/feature_map.h"
#include "kernels/cpu/simd/map_conv.h"

namespace uvic::cpu {
namespace {

// The most tiles that one piece of work multiplies with all filters: 256 pixels, whose numbers of a few hundred
// channels stay in L2 beside the filters.
constexpr int64_t kPieceTiles = 16;

int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }
int64_t pieces(int64_t n, int64_t size) { return (n + size - 1) / size; }

// The order of the inner dimension: row of the filter by row, each a run over taps and their channels, which are
// rounded up to 16; runs are padded to whole steps.
struct Inner {
  int64_t channels, run, steps;  // numbers a tap, steps a run, steps in all
  explicit Inner(const PackedConv& w)
      : channels(round_up(w.C, 16)), run(pieces(w.kw * channels, kConvStep)), steps(w.kh * run) {}
};

// Filter m at number k of the inner dimension.
float weight_at(const PackedConv& p, const Inner& inner, const float* w, int64_t m, int64_t k) {
  const int64_t width = inner.run * kConvStep, ky = k / width, kx = k % width / inner.channels;
  const int64_t c = k % width % inner.channels;
  return m < p.M && c < p.C && kx < p.kw ? w[((m * p.C + c) * p.kh + ky) * p.kw + kx] : 0.0f;
}

// A step of a panel as AMX reads it: tiles of pairs of rows, hi of 2 x 16 filters, then lo, if it is split.
void store_tiles(int64_t k, int64_t m, float x, bool split, bf16* step) {
  bf16* at = step + m / 16 * 512 + k / 2 * 32 + m % 16 * 2 + k % 2;
  at[0] = to_bf16(x);
  if (split) at[1024] = to_bf16(x - to_float(at[0]));
}

// A map at stride 2 is four maps at stride 1: of even or odd rows and columns. They lie behind each other, as images.
FeatureMap split_phases(Context& ctx, const FeatureMap& x, int64_t gap_h, int64_t gap_w) {
  const FeatureMap phases =
      uvic::make_feature_map(ctx, {4 * x.B, (x.h + 1) / 2, (x.w + 1) / 2, x.channels, gap_h, gap_w,
                                   x.format() == MapFormat::bf16 ? DType::bf16 : DType::f32});
  const size_t size = size_of(x.data.dtype()), bytes = static_cast<size_t>(phases.pitch()) * size;
  const auto* from = static_cast<const char*>(numbers(x).data);
  auto* to = static_cast<char*>(phases.data.raw());
  for_rows(ctx, phases, 1, [&](int64_t image, int64_t i) {
    const int64_t phase = image / x.B, row = 2 * i + phase / 2;
    for (int64_t j = 0; j < phases.w; ++j) {
      const int64_t column = 2 * j + phase % 2, inside = row < x.h && column < x.w;
      for (int64_t plane = 0; plane < (x.format() == MapFormat::split ? 2 : 1); ++plane) {
        const int64_t at = pixel_at(phases, image, i, j) * phases.pitch() + plane * phases.plane();
        const int64_t source = pixel_at(x, image % x.B, row, column) * x.pitch() + plane * x.plane();
        if (inside) std::memcpy(to + static_cast<size_t>(at) * size, from + static_cast<size_t>(source) * size, bytes);
        if (!inside) std::memset(to + static_cast<size_t>(at) * size, 0, bytes);
      }
    }
  });
  return phases;
}

int64_t floor_half(int64_t n) { return n >> 1; }

// Where each step of the inner dimension begins, from the pixel of x at the window's (pad_h, pad_w) on.
const int64_t* make_offsets(Context& ctx, const MapConvArgs& a, const PackedConv& w, const FeatureMap& x) {
  const Inner inner(w);
  int64_t* offsets = ctx.empty(DType::i64, {inner.steps}).data<int64_t>();
  for (int64_t ky = 0; ky < w.kh; ++ky)
    for (int64_t s = 0; s < inner.run; ++s) {
      const int64_t k = s * kConvStep, kx = k / inner.channels;
      int64_t row = ky - a.pad_h, column = kx - a.pad_w, image = 0;
      if (a.stride == 2) {
        image = ((row & 1) * 2 + (column & 1)) * a.x.B;
        row = floor_half(row);
        column = floor_half(column);
      }
      offsets[ky * inner.run + s] = (image * x.image() + row * x.row() + column) * x.pitch() + k % inner.channels;
    }
  return offsets;
}

// Tiles over the pixels of x at which y has one. They run on over the ends of rows, through the gap, and, where that
// costs less than a tile, over the ends of images.
struct Tiles {
  int64_t images, span, count;  // runs of pixels, pixels in each, tiles in all
  Tiles(const FeatureMap& x, int64_t B, int64_t h, int64_t w) : images(B), span((h - 1) * x.row() + w) {
    if (x.image() - span < kTilePixels) {
      span += (B - 1) * x.image();
      images = 1;
    }
    count = round_up(images * each(), 2);
  }
  int64_t each() const { return pieces(span, kTilePixels); }
  bool exists(int64_t tile) const { return tile < images * each(); }
  int64_t pixel(const FeatureMap& x, int64_t tile) const {  // of x, after its origin
    return exists(tile) ? tile / each() * x.image() + tile % each() * kTilePixels : 0;
  }
};

const int64_t* make_starts(Context& ctx, const Tiles& tiles, const FeatureMap& x) {
  int64_t* starts = ctx.empty(DType::i64, {tiles.count}).data<int64_t>();
  for (int64_t t = 0; t < tiles.count; ++t) starts[t] = (x.origin() + tiles.pixel(x, t)) * x.pitch();
  return starts;
}

const int32_t* make_targets(Context& ctx, const Tiles& tiles, const FeatureMap& x, const FeatureMap& y) {
  UVIC_CHECK(y.pixels() < INT32_MAX, "map_conv: y has ", y.pixels(), " pixels, which is too many at once");
  int32_t* targets = ctx.empty(DType::i32, {tiles.count, kTilePixels}).data<int32_t>();
  parallel_for(ctx, tiles.count, 256, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t pixel = tiles.pixel(x, t);
      int64_t n = pixel / x.image(), i = pixel % x.image() / x.row(), j = pixel % x.row();
      for (int64_t r = 0; r < kTilePixels; ++r) {
        const bool inside = tiles.exists(t) && n < y.B && i < y.h && j < y.w;
        targets[t * kTilePixels + r] = inside ? static_cast<int32_t>(pixel_at(y, n, i, j)) : -1;
        if (++j < x.row()) continue;
        j = 0;
        if (++i < x.h + x.gap_h) continue;
        i = 0;
        ++n;
      }
    }
  });
  return targets;
}

}  // namespace

PackedConv pack_conv(Context& ctx, Tensor w, Tensor b, DType dtype) {
  const auto scope = ctx.scope("pack_conv");
  PackedConv p{.M = w.dim(0), .C = w.dim(1), .kh = w.dim(2), .kw = w.dim(3), .format = map_format(ctx, dtype)};
  const Inner inner(p);
  const int64_t panels = pieces(p.M, kConvPanel), step = kConvStep * kConvPanel;
  const bool split = p.format == MapFormat::split, tiles = p.format != MapFormat::f32;
  const int64_t numbers_a_step = split ? 2 * step : step;
  p.w = OwnedTensor(ctx.device(), tiles ? DType::bf16 : DType::f32, {panels, inner.steps, numbers_a_step});
  p.b = OwnedTensor(ctx.device(), DType::f32, {panels * kConvPanel});
  if (b) std::memcpy(p.b.tensor.raw(), b.raw(), b.bytes());
  parallel_for(ctx, panels * inner.steps, 4, [&](int64_t begin, int64_t end) {
    for (int64_t s = begin; s < end; ++s)
      for (int64_t k = 0; k < kConvStep; ++k)
        for (int64_t m = 0; m < kConvPanel; ++m) {
          const float x =
              weight_at(p, inner, w.data<float>(), s / inner.steps * kConvPanel + m, s % inner.steps * kConvStep + k);
          if (tiles) store_tiles(k, m, x, split, p.w.tensor.data<bf16>() + s * numbers_a_step);
          if (!tiles) p.w.tensor.data<float>()[s * step + k * kConvPanel + m] = x;
        }
  });
  return p;
}

void map_conv(Context& ctx, const MapConvArgs& a, std::span<const ConvBranch> branches) {
  const auto scope = ctx.scope("map_conv");
  const PackedConv& w = *branches[0].w;
  const FeatureMap& size = branches[0].y;
  FeatureMap x = a.x;
  if (a.stride == 2) {
    const auto gap = [](int64_t k, int64_t pad, int64_t out, int64_t n) {
      return std::max({int64_t{0}, -floor_half(-pad), out - 1 + floor_half(k - 1 - pad) - (n + 1) / 2 + 1});
    };
    x = split_phases(ctx, a.x, gap(w.kh, a.pad_h, size.h, a.x.h), gap(w.kw, a.pad_w, size.w, a.x.w));
  }
  const Tiles tiles(x, a.x.B, size.h, size.w);
  ConvWork work{.x = numbers(x),
                .pitch = x.pitch(),
                .starts = make_starts(ctx, tiles, x),
                .offsets = make_offsets(ctx, a, w, x),
                .steps = Inner(w).steps,
                .count = static_cast<int64_t>(branches.size())};
  auto* outputs = static_cast<ConvOutput*>(ctx.arena().allocate(branches.size() * sizeof(ConvOutput)));
  for (size_t i = 0; i < branches.size(); ++i) {
    const FeatureMap& y = branches[i].y;
    const bool same = i > 0 && y.row() == branches[i - 1].y.row() && y.image() == branches[i - 1].y.image() &&
                      y.origin() == branches[i - 1].y.origin();
    outputs[i] = {.w = branches[i].w->w.tensor.raw(),
                  .b = branches[i].w->b.tensor.data<float>(),
                  .y = numbers(y),
                  .y_pitch = y.pitch(),
                  .columns = round_up(branches[i].w->M, 16),
                  .to = same ? outputs[i - 1].to : make_targets(ctx, tiles, x, y),
                  .relu = branches[i].relu,
                  .add = branches[i].add};
  }
  work.outputs = outputs;
  const MapConv run = ctx.isa() >= Isa::amx ? amx::map_conv : pick(ctx, avx2::map_conv, avx512::map_conv);
  const int64_t rounds = pieces(tiles.count, kPieceTiles * ctx.threads());  // as many pieces for each thread
  const int64_t grain = round_up(pieces(tiles.count, rounds * ctx.threads()), 2);
  parallel_for(ctx, tiles.count, grain, [&](int64_t begin, int64_t end) {
    ConvWork piece = work;
    piece.begin = begin;
    piece.end = end;
    run(piece);
  });
}

}  // namespace uvic::cpu
