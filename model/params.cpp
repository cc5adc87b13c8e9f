#include "model/params.h"

#include <cmath>

#include "kernels/ops/linear.h"
#include "kernels/ops/pointwise.h"
#include "kernels/ops/transfer.h"
#include "model/io/convert.h"

namespace uvic {
namespace {

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
  size_ += (shape.numel() + kFlatAlign - 1) / kFlatAlign * kFlatAlign;
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

void ParamStore::allocate_for_training(DType dtype, size_t averages, StoreParts* parts) {
  UVIC_CHECK(1 <= averages && averages <= kEmaRoles.size(), "ParamStore: ", averages, " averages, wanted 1 to ",
             kEmaRoles.size());
  dtype_ = dtype;
  parts_ = parts;
  part_ = parts ? part_of(size_, parts->index(), parts->count()) : FlatPart{0, size_};
  const int64_t whole = part_.count() * (parts ? parts->count() : 1);
  const auto allocate = [&](Role role, DType type) {
    owned(role) = OwnedTensor(device_, type, {divided(role) ? part_.count() : whole});
  };
  for (const Role role : {Role::master, Role::grad, Role::m, Role::v}) allocate(role, DType::f32);
  for (size_t k = 0; k < averages; ++k) allocate(kEmaRoles[k], DType::f32);
  if (dtype != DType::f32) allocate(Role::working, dtype);
  working_ = flat(dtype == DType::f32 ? Role::master : Role::working);
}

bool ParamStore::divided(Role role) const {
  return parts_ && role != Role::working && role != Role::grad && (role != Role::master || dtype_ != DType::f32);
}

Tensor ParamStore::padded(Role role) const {
  return owned(role == Role::working && dtype_ == DType::f32 ? Role::master : role).tensor;
}

Tensor ParamStore::flat(Role role) const {
  if (role == Role::working && working_) return working_;
  const Tensor all = owned(role).tensor;
  return all.empty() || divided(role) ? all : all.rows(0, size_);
}

Tensor ParamStore::own(Role role, FlatPart elements) const {
  const int64_t begin = divided(role) ? part_.begin : 0;
  return padded(role).rows(elements.begin - begin, elements.end - begin);
}

Tensor ParamStore::view(Role role, int id) const {
  const Tensor all = flat(role);
  if (all.empty()) return {};
  UVIC_CHECK(!divided(role), "ParamStore: ", name_of(role), " is divided among ", parts_->count(), " processes");
  const Param& p = params_[static_cast<size_t>(id)];
  return all.rows(p.offset, p.offset + p.shape.numel()).view(p.shape);
}

OwnedTensor ParamStore::get(Context& ctx, Role role, int id) const {
  if (!divided(role)) return on_host(ctx, view(role, id));
  const Param& p = params_[static_cast<size_t>(id)];
  OwnedTensor all({}, DType::f32, p.shape);
  const Tensor values = all.tensor.view({p.shape.numel()});
  const FlatPart here = part_.overlap({p.offset, p.offset + values.numel()});
  if (here.count() > 0) download(ctx, own(role, here), values.rows(here.begin - p.offset, here.end - p.offset));
  parts_->fetch(role, p.offset, values);
  return all;
}

void ParamStore::set(Context& ctx, Role role, int id, Tensor value) {
  if (!parts_) return convert(ctx, value, view(role, id));
  const Param& p = params_[static_cast<size_t>(id)];
  const OwnedTensor all({}, DType::f32, {p.shape.numel()});
  convert(value, all.tensor);
  if (!divided(role)) {
    cast(ctx, all.tensor.view(p.shape), view(role, id));
  } else if (const FlatPart here = part_.overlap({p.offset, p.offset + p.shape.numel()}); here.count() > 0) {
    upload(ctx, all.tensor.rows(here.begin - p.offset, here.end - p.offset), own(role, here));
  }
  parts_->send(role, p.offset, all.tensor);
}

void ParamStore::initialise(Context& ctx, uint64_t seed) {
  prepacked_.clear();
  const int64_t covered = parts_ ? part_.count() * parts_->count() : size_;
  OwnedTensor host({}, DType::f32, {covered});
  float* out = host.tensor.data<float>();
  for (size_t id = 0; id < params_.size(); ++id) {
    const Param& p = params_[id];
    for (int64_t i = 0; i < p.shape.numel(); ++i)
      out[p.offset + i] = initial_value(p, seed, static_cast<uint32_t>(id), i);
  }
  for (const Role role : {Role::master, Role::ema, Role::ema1, Role::ema2, Role::ema3})
    if (flat(role)) cast(ctx, divided(role) ? host.tensor.rows(part_.begin, part_.end) : host.tensor, padded(role));
  working_ = {};  // an average's, perhaps
  working_ = flat(dtype_ == DType::f32 && flat(Role::master) ? Role::master : Role::working);
  if (working_.raw() == flat(Role::master).raw()) return;
  for (size_t id = 0; id < params_.size(); ++id) {  // one at a time: a GPU takes scratch for what the host hands it
    const Param& p = params_[id];
    cast(ctx, host.tensor.rows(p.offset, p.offset + p.shape.numel()).view(p.shape), value(static_cast<int>(id)));
  }
}

void ParamStore::use(Context& ctx, Role role) {
  UVIC_CHECK(role == Role::master || role == Role::ema, "ParamStore::use(", name_of(role), ")");
  if (!parts_ && dtype_ == DType::f32) {
    working_ = flat(role);
  } else if (!parts_) {
    cast(ctx, flat(role), working_);
  } else {
    const Tensor weights = own(Role::working);
    if (dtype_ != DType::f32) {
      cast(ctx, own(role), weights);
    } else if (role == Role::ema) {
      if (aside_.tensor.empty()) {
        aside_ = OwnedTensor(device_, DType::f32, weights.shape());
        cast(ctx, weights, aside_.tensor);
      }
      cast(ctx, own(Role::ema), weights);
    } else if (aside_.tensor) {
      cast(ctx, aside_.tensor, weights);
      aside_ = {};
    }
    parts_->gather(padded(Role::working), role);
  }
}

void ParamStore::gather() {
  if (parts_) parts_->gather(padded(Role::working), Role::master);
}

}  // namespace uvic
