#include "model/io/torch_tensors.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "kernels/core/text.h"

namespace uvic {
namespace {

using Args = std::vector<const TorchValue*>;

constexpr const char* kOrderedDict = "collections OrderedDict";
constexpr const char* kRebuildTensor = "torch._utils _rebuild_tensor_v2";
constexpr const char* kRebuildParameter = "torch._utils _rebuild_parameter";

struct StorageType {
  const char* global;
  DType dtype;
};
constexpr StorageType kStorageTypes[] = {{"torch FloatStorage", DType::f32},     {"torch HalfStorage", DType::f16},
                                         {"torch BFloat16Storage", DType::bf16}, {"torch DoubleStorage", DType::f64},
                                         {"torch LongStorage", DType::i64},      {"torch IntStorage", DType::i32},
                                         {"torch ByteStorage", DType::u8},       {"torch BoolStorage", DType::boolean}};

const StorageType* find_storage_type(const std::string& global) {
  const auto* found = std::find_if(std::begin(kStorageTypes), std::end(kStorageTypes),
                                   [&](const StorageType& t) { return global == t.global; });
  return found == std::end(kStorageTypes) ? nullptr : found;
}

template <class T>
const T& arg(const Args& args, size_t i, const char* what) {
  const T* x = i < args.size() ? args[i]->as<T>() : nullptr;
  UVIC_CHECK(x, what, ": argument ", i, i < args.size() ? concat(" is a ", args[i]->type_name()) : " is missing");
  return *x;
}

int64_t count_arg(const Args& args, size_t i, const char* what) {
  const auto n = arg<int64_t>(args, i, what);
  UVIC_CHECK(n >= 0, what, ": argument ", i, " is ", n);
  return n;
}

Shape shape_arg(const Args& args, size_t i, const char* what) {
  const auto& list = arg<TorchValue::List>(args, i, what);
  UVIC_CHECK(list.items.size() <= size_t{Shape::kMaxRank}, what, ": a tensor of rank ", list.items.size(), "; at most ",
             Shape::kMaxRank);
  Shape shape;
  for (size_t d = 0; d < list.items.size(); ++d) shape.push_back(count_arg(list.items, d, what));
  return shape;
}

// Bytes of a contiguous tensor. Extents of 0 count as 1 in the search for overflow, so that no product of some of them
// overflows later either.
uint64_t checked_bytes(const Shape& shape, DType dtype) {
  int64_t bytes = static_cast<int64_t>(size_of(dtype));
  for (const int64_t d : shape)
    UVIC_CHECK(!__builtin_mul_overflow(bytes, std::max<int64_t>(d, 1), &bytes), "a tensor of shape ", shape,
               " overflows");
  return static_cast<uint64_t>(shape.numel()) * size_of(dtype);
}

// One past the last element that a tensor touches; throws on overflow.
int64_t checked_end(const Shape& shape, const Shape& stride, int64_t offset) {
  if (shape.numel() == 0) return offset;
  int64_t end = offset;
  bool overflow = __builtin_add_overflow(end, 1, &end);
  for (int i = 0; i < shape.rank(); ++i) {
    int64_t reach = 0;
    overflow |= __builtin_mul_overflow(shape[i] - 1, stride[i], &reach) || __builtin_add_overflow(end, reach, &end);
  }
  UVIC_CHECK(!overflow, "a tensor of shape ", shape, " and stride ", stride, " overflows");
  return end;
}

bool is_contiguous(const Shape& shape, const Shape& stride) {
  int64_t want = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    if (shape[i] != 1 && stride[i] != want) return false;
    want *= shape[i];
  }
  return true;
}

void copy_strided(const std::byte* src, const Shape& stride, Tensor dst) {
  const size_t size = size_of(dst.dtype());
  auto* out = static_cast<std::byte*>(dst.raw());
  std::array<int64_t, Shape::kMaxRank> at{};
  uint64_t from = 0;  // unsigned: the stride of an extent of 1 is arbitrary, and may wrap before it is taken back
  for (int64_t n = dst.numel(); n > 0; --n, out += size) {
    std::memcpy(out, src + from * size, size);
    for (int d = dst.rank() - 1; d >= 0; --d) {  // odometer: the last index runs fastest
      auto& i = at[static_cast<size_t>(d)];
      from += static_cast<uint64_t>(stride[d]);
      if (++i < dst.dim(d)) break;
      from -= static_cast<uint64_t>(i) * static_cast<uint64_t>(stride[d]);
      i = 0;
    }
  }
}

}  // namespace

bool TorchTensors::allows(const std::string& global) const {
  return global == kOrderedDict || global == kRebuildTensor || global == kRebuildParameter || find_storage_type(global);
}

TorchValue* TorchTensors::call(const std::string& global, const Args& args) {
  if (global == kOrderedDict) {
    UVIC_CHECK(args.empty(), "OrderedDict with ", args.size(), " arguments; wanted none");
    return values_.add({TorchValue::Dict{}});
  }
  if (global == kRebuildTensor) return rebuild_tensor(args);
  UVIC_CHECK(global == kRebuildParameter, "pickle: calls ", quote(global));
  // (data, requires_grad, backward_hooks): a parameter is its data.
  UVIC_CHECK(args.size() == 3, "_rebuild_parameter: ", args.size(), " arguments; wanted 3");
  arg<Tensor>(args, 0, "_rebuild_parameter");
  return const_cast<TorchValue*>(args[0]);  // one of values_, all of which are ours to change
}

// ("storage", type, key, location, numel), in the legacy format with a sixth item: None, or (view key, offset, numel)
// of a part of the storage that the first five describe.
TorchValue* TorchTensors::persistent(const TorchValue& id) {
  constexpr const char* kWhat = "persistent id";
  const auto* list = id.as<TorchValue::List>();
  UVIC_CHECK(list && (list->items.size() == 5 || list->items.size() == 6),
             "a persistent id is no storage of PyTorch's");
  const Args& items = list->items;
  UVIC_CHECK(arg<std::string>(items, 0, kWhat) == "storage", "a persistent id is a ",
             quote(arg<std::string>(items, 0, kWhat)), "; wanted \"storage\"");
  const std::string& type_name = arg<TorchValue::Global>(items, 1, kWhat).name;
  const StorageType* type = find_storage_type(type_name);
  UVIC_CHECK(type, "a storage of type ", quote(type_name));
  const std::string& key = arg<std::string>(items, 2, kWhat);
  arg<std::string>(items, 3, kWhat);  // the device it was on, of no interest
  const int64_t numel = count_arg(items, 4, kWhat);
  const uint64_t bytes = checked_bytes({numel}, type->dtype);

  const auto [known, is_new] = index_.emplace(key, storages_.size());
  if (is_new) {
    spend(bytes);
    storages_.push_back({key, type->dtype, numel, {}, false});
  }
  const Storage& storage = storages_[known->second];
  UVIC_CHECK(storage.dtype == type->dtype && storage.numel == numel, "storage ", quote(key),
             " is described twice: ", storage.numel, " of ", storage.dtype, ", ", numel, " of ", type->dtype);

  TorchValue::Storage part{known->second, 0, numel};
  if (items.size() == 6 && !items[5]->as<TorchValue::None>()) {
    const Args& view = arg<TorchValue::List>(items, 5, kWhat).items;
    UVIC_CHECK(view.size() == 3, "a storage view of ", view.size(), " items; wanted 3");
    part.offset = count_arg(view, 1, "storage view");
    part.numel = count_arg(view, 2, "storage view");
    UVIC_CHECK(part.offset <= numel && part.numel <= numel - part.offset, "a view of elements ", part.offset, " to ",
               part.offset, " + ", part.numel, " of storage ", quote(key), ", which has ", numel);
  }
  return values_.add({part});
}

// (storage, offset, size, stride, requires_grad, backward_hooks[, metadata])
TorchValue* TorchTensors::rebuild_tensor(const Args& args) {
  constexpr const char* kWhat = "_rebuild_tensor_v2";
  UVIC_CHECK(args.size() == 6 || args.size() == 7, kWhat, ": ", args.size(), " arguments; wanted 6 or 7");
  const auto part = arg<TorchValue::Storage>(args, 0, kWhat);
  const int64_t offset = count_arg(args, 1, kWhat);
  const Shape shape = shape_arg(args, 2, kWhat), stride = shape_arg(args, 3, kWhat);
  const Storage& storage = storages_[part.index];
  UVIC_CHECK(shape.rank() == stride.rank(), kWhat, ": shape ", shape, " and stride ", stride, " differ in rank");
  checked_bytes(shape, storage.dtype);
  const int64_t end = checked_end(shape, stride, offset);
  UVIC_CHECK(end <= part.numel, "a tensor of shape ", shape, ", stride ", stride, " and offset ", offset,
             " reaches element ", end, " of storage ", quote(storage.key), ", which has ", part.numel);
  TorchValue* value = values_.add({Tensor(nullptr, storage.dtype, shape)});
  pending_.push_back({value, part.index, part.offset + offset, stride});
  return value;
}

TorchTensors::Storage* TorchTensors::find(const std::string& key) {
  const auto found = index_.find(key);
  return found == index_.end() ? nullptr : &storages_[found->second];
}

void TorchTensors::spend(uint64_t bytes) {
  UVIC_CHECK(bytes <= budget_, "its tensors would take more than ", kMaxGrowth, " times the size of the file");
  budget_ -= bytes;
}

void TorchTensors::materialise() {
  alignas(64) static std::byte nothing[1];  // a tensor without elements still has an address: null means "no tensor"
  for (const Pending& p : pending_) {
    const Storage& storage = storages_[p.storage];
    auto& tensor = std::get<Tensor>(p.value->value);
    if (tensor.numel() == 0) {
      tensor = Tensor(nothing, storage.dtype, tensor.shape());
      continue;
    }
    auto* first = static_cast<std::byte*>(storage.data.data()) + static_cast<size_t>(p.offset) * size_of(storage.dtype);
    if (is_contiguous(tensor.shape(), p.stride)) {
      tensor = Tensor(first, storage.dtype, tensor.shape());
      continue;
    }
    spend(tensor.bytes());
    copies_.emplace_back(Device{}, storage.dtype, tensor.shape());
    copy_strided(first, p.stride, copies_.back().tensor);
    tensor = copies_.back().tensor;
  }
  pending_.clear();
}

}  // namespace uvic
