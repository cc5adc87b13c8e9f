// Matrix products where oneDNN is absent: loops that a compiler turns into vector code, about a tenth of its speed.

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/plan.h"
#include "kernels/cpu/simd/activation.h"

namespace uvic::cpu {
namespace {

// A tile of c that fits the sixteen AVX2 registers with room for b and a: four rows of two vectors.
constexpr int64_t kTileRows = 4, kTileColumns = 16;

int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// m as contiguous f32, padded with zeros so that no tile is ragged.
Tensor packed(Context& ctx, const Matrix& m, int64_t rows, int64_t columns) {
  const Tensor out = ctx.empty(DType::f32, {rows, columns});
  parallel_for(ctx, rows, 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      for (int64_t j = 0; j < columns; ++j) {
        const int64_t at = i * m.row_stride + j * m.column_stride;
        const bool inside = i < m.rows && j < m.columns;
        float& x = out.data<float>()[i * columns + j];
        if (!inside) {
          x = 0;
        } else if (m.dtype == DType::bf16) {
          x = to_float(static_cast<const bf16*>(m.data)[at]);
        } else {
          x = static_cast<const float*>(m.data)[at];
        }
      }
  });
  return out;
}

float element(const Matrix& m, int64_t i, int64_t j) {
  const int64_t at = i * m.row_stride + j * m.column_stride;
  return m.dtype == DType::bf16 ? to_float(static_cast<const bf16*>(m.data)[at])
                                : static_cast<const float*>(m.data)[at];
}

void set_element(const Matrix& m, int64_t i, int64_t j, float x) {
  const int64_t at = i * m.row_stride + j * m.column_stride;
  if (m.dtype == DType::bf16) {
    static_cast<bf16*>(m.data)[at] = to_bf16(x);
  } else {
    static_cast<float*>(m.data)[at] = x;
  }
}

struct Tile {
  float sum[kTileRows][kTileColumns] = {};

  void multiply(const float* a, const float* b, int64_t inner, int64_t b_stride) {
    for (int64_t s = 0; s < inner; ++s)
      for (int64_t r = 0; r < kTileRows; ++r)
        for (int64_t j = 0; j < kTileColumns; ++j) sum[r][j] += a[r * inner + s] * b[s * b_stride + j];
  }
};

void finish(const Matmul& m, const ActivationKernels& kernels, Tile& tile, int64_t row, int64_t column) {
  const int64_t rows = std::min(kTileRows, m.c.rows - row), columns = std::min(kTileColumns, m.c.columns - column);
  const Matrix bias{const_cast<void*>(m.bias), m.a.dtype, 1, m.c.columns, m.c.columns, 1};
  for (int64_t r = 0; r < rows; ++r) {
    float* sum = tile.sum[r];
    if (m.bias)
      for (int64_t j = 0; j < columns; ++j) sum[j] += element(bias, 0, column + j);
    if (m.act != Activation::none) kernels.f32.forward(m.act, sum, nullptr, sum, sum, columns);
    for (int64_t j = 0; j < columns; ++j) {
      if (m.residual) sum[j] += element(m.residual, row + r, column + j);
      if (m.accumulate) sum[j] += element(m.c, row + r, column + j);
      set_element(m.c, row + r, column + j, sum[j]);
    }
  }
}

}  // namespace

struct Plans::Impl {
  Context& ctx;
};

Plans::Plans(Context& ctx) : impl_(new Impl{ctx}) {}
Plans::~Plans() = default;

void Plans::product(const Matmul& m) {
  Context& ctx = impl_->ctx;
  const auto& kernels = pick(ctx, avx2::activation_kernels, avx512::activation_kernels);
  const int64_t rows = round_up(m.c.rows, kTileRows), columns = round_up(m.c.columns, kTileColumns);
  const int64_t inner = m.a.columns;
  const Tensor a = packed(ctx, m.a, rows, inner), b = packed(ctx, m.b, inner, columns);
  parallel_for(ctx, rows / kTileRows, 8, [&](int64_t begin, int64_t end) {
    for (int64_t column = 0; column < columns; column += kTileColumns)
      for (int64_t row = begin * kTileRows; row < end * kTileRows; row += kTileRows) {
        Tile tile;
        tile.multiply(a.data<float>() + row * inner, b.data<float>() + column, inner, columns);
        finish(m, kernels, tile, row, column);
      }
  });
}

}  // namespace uvic::cpu
