#include "model/params.h"

#include <cmath>

#include "kernels/ops/linear.h"
#include "kernels/ops/pointwise.h"

namespace uvic {
namespace {

constexpr int64_t kAlign = 32;  // elements: 64 bytes in bf16, so that every tensor starts on a cache line

float initial_value(const ParamStore::Param& p, uint64_t seed, uint32_t id, int64_t i) {
  const Random4 r = philox({seed, id, Stream::initial_weights, 0}, static_cast<uint32_t>(i / 4));
  switch (p.init) {
    case Init::zeros: return 0;
    case Init::ones: return 1;
    case Init::normal_002: return 0.02f * normal(r).v[i % 4];
    case Init::normal_1: return normal(r).v[i % 4];
    case Init::uniform_fan_in: return (2 * uniform(r.v[i % 4]) - 1) / std::sqrt(static_cast<float>(p.fan_in));
  }
  return 0;
}

}  // namespace

const char* name_of(Role role) {
  constexpr const char* kNames[] = {"master", "working", "grad", "m", "v", "ema", "ema1", "ema2", "ema3"};
  return kNames[static_cast<size_t>(role)];
}

int ParamStore::add(std::string name, Shape shape, Init init, int64_t fan_in) {
  UVIC_CHECK(working_.empty(), "ParamStore::add('", name, "') after the store was allocated");
  UVIC_CHECK(find(name) < 0, "ParamStore::add: '", name, "' is there already");
  params_.push_back({std::move(name), shape, size_, init, fan_in});
  size_ += (shape.numel() + kAlign - 1) / kAlign * kAlign;
  return static_cast<int>(params_.size()) - 1;
}

int ParamStore::add_linear(std::string name, int64_t out, int64_t in, int inputs) {
  const int id = add(std::move(name), {out, inputs * in}, Init::normal_002);
  params_.back().inputs = inputs;
  return id;
}

void ParamStore::prepack(Context& ctx) {
  prepacked_.clear();
  for (size_t id = 0; id < params_.size(); ++id) {
    const Tensor w = value(static_cast<int>(id));
    switch (params_[id].inputs) {
      case 1: prepacked_.push_back(prepack_linear(ctx, w)); break;
      case 2: prepacked_.push_back(prepack_skip_linear(ctx, w)); break;
      default: prepacked_.emplace_back();
    }
  }
}

int64_t ParamStore::count() const {
  int64_t n = 0;
  for (const Param& p : params_) n += p.shape.numel();
  return n;
}

int ParamStore::find(const std::string& name) const {
  for (size_t i = 0; i < params_.size(); ++i)
    if (params_[i].name == name) return static_cast<int>(i);
  return -1;
}

void ParamStore::allocate_for_inference(DType dtype) {
  dtype_ = dtype;
  owned(Role::working) = OwnedTensor(device_, dtype, {size_});
  working_ = owned(Role::working).tensor;
}

void ParamStore::allocate_for_training(DType dtype, size_t averages) {
  UVIC_CHECK(1 <= averages && averages <= kEmaRoles.size(), "ParamStore: ", averages, " averages, wanted 1 to ",
             kEmaRoles.size());
  dtype_ = dtype;
  for (const Role role : {Role::master, Role::grad, Role::m, Role::v})
    owned(role) = OwnedTensor(device_, DType::f32, {size_});
  for (size_t k = 0; k < averages; ++k) owned(kEmaRoles[k]) = OwnedTensor(device_, DType::f32, {size_});
  if (dtype != DType::f32) owned(Role::working) = OwnedTensor(device_, dtype, {size_});
  working_ = dtype == DType::f32 ? owned(Role::master).tensor : owned(Role::working).tensor;
}

Tensor ParamStore::flat(Role role) const { return role == Role::working ? working_ : owned(role).tensor; }

Tensor ParamStore::view(Role role, int id) const {
  const Tensor all = flat(role);
  if (all.empty()) return {};
  const Param& p = params_[static_cast<size_t>(id)];
  return all.rows(p.offset, p.offset + p.shape.numel()).view(p.shape);
}

void ParamStore::initialise(Context& ctx, uint64_t seed) {
  prepacked_.clear();
  const bool training = !flat(Role::master).empty();
  OwnedTensor host({}, DType::f32, {size_});
  float* out = host.tensor.data<float>();
  for (size_t id = 0; id < params_.size(); ++id) {
    const Param& p = params_[id];
    for (int64_t i = 0; i < p.shape.numel(); ++i)
      out[p.offset + i] = initial_value(p, seed, static_cast<uint32_t>(id), i);
  }
  if (!training) return cast(ctx, host.tensor, working_);
  cast(ctx, host.tensor, flat(Role::master));
  for (const Role role : kEmaRoles)
    if (const Tensor ema = flat(role)) cast(ctx, host.tensor, ema);
  use(ctx, Role::master);
}

void ParamStore::use(Context& ctx, Role role) {
  UVIC_CHECK(role == Role::master || role == Role::ema, "ParamStore::use(", name_of(role), ")");
  if (dtype_ == DType::f32) {
    working_ = flat(role);
  } else {
    cast(ctx, flat(role), working_);
  }
}

}  // namespace uvic
