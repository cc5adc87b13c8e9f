#include "kernels/ops/linear.h"

#include "kernels/cuda/activation.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/matmul.h"

namespace uvic::cuda {
namespace {

// ops/activation.h in f32: erf and exp of the CUDA library are within 2 ulp, so all is within 1e-6.
__device__ float value(Activation act, float x) {
  switch (act) {
    case Activation::none: return x;
    case Activation::gelu: return 0.5f * x * (1.0f + erff(x * 0.70710678f));
    case Activation::silu: return x / (1.0f + expf(-x));
    case Activation::quick_gelu: return x / (1.0f + expf(-static_cast<float>(kQuickGelu) * x));
  }
  return x;
}

__device__ float derivative(Activation act, float x) {
  switch (act) {
    case Activation::none: return 1.0f;
    case Activation::gelu: return 0.5f * (1.0f + erff(x * 0.70710678f)) + x * 0.39894228f * expf(-0.5f * x * x);
    case Activation::silu:
    case Activation::quick_gelu: {
      const float z = act == Activation::silu ? x : static_cast<float>(kQuickGelu) * x, s = 1.0f / (1.0f + expf(-z));
      return s * (1.0f + z * (1.0f - s));
    }
  }
  return 1.0f;
}

// These three do N numbers in a row.
template <class T, int N>
struct Apply {
  Activation act;
  const T *x, *residual;  // residual may be null
  T* y;
  __device__ void operator()(int64_t t) const {
    const int64_t i = t * N;
    const Numbers<T, N> from = load<N>(x + i), more = residual ? load<N>(residual + i) : Numbers<T, N>{};
    Numbers<T, N> to;
    for (int k = 0; k < N; ++k) {
      const float v = value(act, to_float(from.v[k]));
      to.v[k] = from_float<T>(residual ? v + to_float(more.v[k]) : v);
    }
    store(to, y + i);
  }
};

// dx = gradient act'(x_pre), rounded once
template <class T, int N>
struct MultiplyByDerivative {
  Activation act;
  const T* x_pre;
  const float* gradient;
  T* dx;
  __device__ void operator()(int64_t t) const {
    const int64_t i = t * N;
    const Numbers<T, N> x = load<N>(x_pre + i);
    const Numbers<float, N> g = load<N>(gradient + i);
    Numbers<T, N> to;
    for (int k = 0; k < N; ++k) to.v[k] = from_float<T>(g.v[k] * derivative(act, to_float(x.v[k])));
    store(to, dx + i);
  }
};

// pre = sum + bias, y = act(sum + bias) + residual, each rounded once. N divides columns.
template <class T, int N>
struct Finish {
  Activation act;
  const float* sum;
  int64_t columns;
  const T *bias, *residual;  // may be null, and pre
  T *pre, *y;
  __device__ void operator()(int64_t t) const {
    const int64_t i = t * N;
    Numbers<float, N> x = load<N>(sum + i);
    if (bias) {
      const Numbers<T, N> b = load<N>(bias + i % columns);
      for (int k = 0; k < N; ++k) x.v[k] += to_float(b.v[k]);
    }
    const Numbers<T, N> more = residual ? load<N>(residual + i) : Numbers<T, N>{};
    Numbers<T, N> before, to;
    for (int k = 0; k < N; ++k) {
      before.v[k] = from_float<T>(x.v[k]);
      const float v = value(act, x.v[k]);
      to.v[k] = from_float<T>(residual ? v + to_float(more.v[k]) : v);
    }
    if (pre) store(before, pre + i);
    store(to, y + i);
  }
};

template <class T>
struct BiasTerms {
  const T* dy;
  int64_t columns;
  __device__ void operator()(int64_t row, int64_t c, float* sum) const { sum[0] += to_float(dy[row * columns + c]); }
};

// db += the sums of dy's columns
void bias_backward(Context& ctx, Tensor dy, Tensor db) {
  if (!db) return;
  with_working(dy.dtype(), [&](auto element) {
    using T = decltype(element);
    add_column_sums<1>(ctx, dy.dim(0), dy.dim(1), BiasTerms<T>{dy.data<T>(), dy.dim(1)}, {{db.data<float>()}});
  });
}

// dw += dy^T x
void weight_backward(Context& ctx, Tensor dy, Tensor x, const Matrix& dw) {
  product(ctx, {.a = matrix(dy).transposed(), .b = matrix(x), .c = dw, .added = dw});
}

}  // namespace

void apply_activation(Context& ctx, Activation act, Tensor x, Tensor residual, Tensor y) {
  with_working(x.dtype(), [&](auto element) {
    using T = decltype(element);
    const T* more = residual ? residual.data<T>() : nullptr;
    with_numbers_a_thread(
        [&](auto numbers) {
          constexpr int N = decltype(numbers)::value;
          for_each(ctx, x.numel() / N, Apply<T, N>{act, x.data<T>(), more, y.data<T>()});
        },
        x.numel(), x.data<T>(), more, y.data<T>());
  });
}

// Products that more is done with are in f32, in scratch unless to is f32 itself: rounded in between, they would make
// bf16's error twice as large.
namespace {

Tensor wide(Context& ctx, const Tensor& to) {
  return to.dtype() == DType::f32 ? to : ctx.empty(DType::f32, to.shape());
}

void finish(Context& ctx, const LinearArgs& a, Tensor sum, Tensor y, Tensor pre) {
  with_working(y.dtype(), [&](auto element) {
    using T = decltype(element);
    const auto data = [](const Tensor& t) { return t ? t.data<T>() : nullptr; };
    with_numbers_a_thread(
        [&](auto numbers) {
          constexpr int N = decltype(numbers)::value;
          for_each(ctx, y.numel() / N,
                   Finish<T, N>{a.act, sum.data<float>(), y.dim(1), data(a.b), data(a.residual), data(pre), data(y)});
        },
        y.dim(1), sum.data<float>(), data(a.b), data(a.residual), data(pre), data(y));
  });
}

}  // namespace

// cuBLASLt's own GELU is the tanh form.
void linear_forward(Context& ctx, const LinearArgs& a, Tensor y, Tensor pre) {
  const auto scope = ctx.scope("linear");
  const Matrix x = matrix(a.x), w = matrix(a.w).transposed();
  if (a.act == Activation::none && !pre)
    return product(ctx, {.a = x, .b = w, .c = matrix(y), .bias = a.b.raw(), .added = matrix(a.residual)});
  const bool is_read = a.residual && !pre;  // residual may be y
  const Tensor sum = is_read ? ctx.empty(DType::f32, y.shape()) : wide(ctx, pre ? pre : y);
  product(ctx, {.a = x, .b = w, .c = matrix(sum)});
  finish(ctx, a, sum, y, pre);
}

void linear_backward(Context& ctx, const LinearBackwardArgs& a, Tensor dy, Tensor dx, Tensor dw, Tensor db) {
  const auto scope = ctx.scope("linear");
  bias_backward(ctx, dy, db);
  if (dw) weight_backward(ctx, dy, a.x, matrix(dw));
  if (!dx) return;
  const bool plain = a.x_act == Activation::none;
  const Tensor gradient = plain ? dx : wide(ctx, dx);
  product(ctx, {.a = matrix(dy), .b = matrix(a.w), .c = matrix(gradient)});
  if (plain) return;
  with_working(dx.dtype(), [&](auto element) {
    using T = decltype(element);
    const T* x = a.x_pre.data<T>();
    with_numbers_a_thread(
        [&](auto numbers) {
          constexpr int N = decltype(numbers)::value;
          for_each(ctx, dx.numel() / N, MultiplyByDerivative<T, N>{a.x_act, x, gradient.data<float>(), dx.data<T>()});
        },
        dx.numel(), x, gradient.data<float>(), dx.data<T>());
  });
}

OwnedTensor prepack_linear(Context&, Tensor) { return {}; }
OwnedTensor prepack_skip_linear(Context&, Tensor) { return {}; }

// Two products that add up in f32: y itself would round the first of them to its dtype.
void skip_linear_forward(Context& ctx, const SkipLinearArgs& a, Tensor y) {
  const auto scope = ctx.scope("skip_linear");
  const int64_t k = a.x.dim(1);
  const Matrix w = matrix(a.w);
  const Tensor sum = wide(ctx, y);
  product(ctx, {.a = matrix(a.x), .b = w.column_range(0, k).transposed(), .c = matrix(sum)});
  product(ctx,
          {.a = matrix(a.skip), .b = w.column_range(k, 2 * k).transposed(), .c = matrix(sum), .added = matrix(sum)});
  if (!a.b && sum.raw() == y.raw()) return;
  finish(ctx, {.b = a.b}, sum, y, {});
}

void skip_linear_backward(Context& ctx, const SkipLinearArgs& a, Tensor dy, Tensor dx, Tensor dskip, Tensor dw,
                          Tensor db) {
  const auto scope = ctx.scope("skip_linear");
  const int64_t k = a.x.dim(1);
  bias_backward(ctx, dy, db);
  if (dw) {
    weight_backward(ctx, dy, a.x, matrix(dw).column_range(0, k));
    weight_backward(ctx, dy, a.skip, matrix(dw).column_range(k, 2 * k));
  }
  const Matrix w = matrix(a.w);
  if (dskip) product(ctx, {.a = matrix(dy), .b = w.column_range(k, 2 * k), .c = matrix(dskip)});
  if (dx) product(ctx, {.a = matrix(dy), .b = w.column_range(0, k), .c = matrix(dx)});
}

}  // namespace uvic::cuda
