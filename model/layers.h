#pragma once

#include <string>

#include "kernels/ops/linear.h"
#include "model/params.h"

namespace uvic {

// A layer is its parameters plus one op call, and the mirror of it. Activations are rows: [N, features]. Results come
// from the arena unless a place is given. Saved == nullptr means inference: nothing is kept.

class Linear {
 public:
  Linear(ParamStore& store, const std::string& name, int64_t in, int64_t out, bool bias);

  struct Saved {
    Tensor x, pre;
  };
  // act(x w^T + b) + residual, into y if it is given.
  Tensor forward(Context& ctx, Tensor x, Saved* s, Activation act = Activation::none, Tensor residual = {},
                 Tensor y = {}) const;
  // dy is the gradient of x w^T + b. Overwrites dx (skipped if empty), adds to the parameters' gradients. Where x is
  // the result x_act(x_pre) of another layer, dx is the gradient of x_pre, and s need not hold x.
  void backward(Context& ctx, const Saved& s, Tensor dy, Tensor dx, Activation x_act = Activation::none,
                Tensor x_pre = {}) const;

  // For ops that are several layers at once. bias() and its gradient are empty if there is none.
  Tensor weight() const;
  Tensor bias() const;
  Tensor prepacked() const;
  Tensor weight_grad() const;
  Tensor bias_grad() const;

 private:
  const ParamStore* store_;
  int64_t out_;
  int weight_, bias_;
};

// [x ; skip] w^T + b.
class SkipLinear {
 public:
  SkipLinear(ParamStore& store, const std::string& name, int64_t width);

  struct Saved {
    Tensor x, skip;
  };
  Tensor forward(Context& ctx, Tensor x, Tensor skip, Saved* s) const;
  // Overwrites dx and dskip.
  void backward(Context& ctx, const Saved& s, Tensor dy, Tensor dx, Tensor dskip) const;

 private:
  const ParamStore* store_;
  int weight_, bias_;
};

class LayerNorm {
 public:
  LayerNorm(ParamStore& store, const std::string& name, int64_t width);

  struct Saved {
    Tensor x, stats;
  };
  Tensor forward(Context& ctx, Tensor x, Saved* s) const;
  // Adds to dx.
  void backward(Context& ctx, const Saved& s, Tensor dy, Tensor dx) const;

 private:
  const ParamStore* store_;
  int weight_, bias_;
};

// 3x3 convolution, stride 1, zero padding, as many channels out as in; f32 result.
class Conv3x3 {
 public:
  Conv3x3(ParamStore& store, const std::string& name, int64_t channels);

  struct Saved {
    Tensor x;
  };
  void forward(Context& ctx, Tensor x, Saved* s, Tensor y) const;
  // Overwrites dx.
  void backward(Context& ctx, const Saved& s, Tensor dy, Tensor dx) const;

 private:
  const ParamStore* store_;
  int weight_, bias_;
};

// s's member, or null where s is null: passes "inference" down.
template <class S, class T>
T* part(S* s, T S::*member) {
  return s ? &(s->*member) : nullptr;
}

}  // namespace uvic
