// NumPy pickles an array as _reconstruct(ndarray, (0,), b"b") with the state (1, shape, dtype, fortran order, data), a
// dtype as dtype("f4", False, True) with the state (3, "<", ...), and a number as scalar(dtype, data). Here the first
// two are lists of their state while the pickle is read; lists of objects hold the elements in place of data.

#include "model/io/npy_objects.h"

#include <algorithm>

#include "kernels/core/text.h"
#include "model/io/npy.h"
#include "model/io/pickle.h"

namespace uvic {
namespace {

using List = TorchValue::List;

constexpr const char* kGlobals[] = {"numpy.core.multiarray _reconstruct",
                                    "numpy._core.multiarray _reconstruct",
                                    "numpy.core.multiarray scalar",
                                    "numpy._core.multiarray scalar",
                                    "numpy ndarray",
                                    "numpy dtype",
                                    "_codecs encode"};

// Protocol 2 has no bytes: they are text of the code points 0 to 255, and _codecs.encode(text, "latin1").
std::string latin1(const std::string& utf8) {
  std::string bytes;
  for (size_t i = 0; i < utf8.size(); ++i) {
    const auto c = static_cast<unsigned char>(utf8[i]);
    if (c < 0x80) {
      bytes += utf8[i];
      continue;
    }
    UVIC_CHECK((c == 0xc2 || c == 0xc3) && i + 1 < utf8.size(), "pickle: bytes that are not latin-1");
    bytes += static_cast<char>((c & 3) << 6 | (static_cast<unsigned char>(utf8[++i]) & 0x3f));
  }
  return bytes;
}

template <class T>
const T& item(const List& list, size_t i, const char* what) {
  const T* x = i < list.items.size() ? list.items[i]->as<T>() : nullptr;
  UVIC_CHECK(x, "pickle: not ", what, " as NumPy writes it");
  return *x;
}

class NumpyHost : public PickleHost {
 public:
  explicit NumpyHost(TorchValues& values) : values_(values) {}

  bool allows(const std::string& global) const override {
    return std::find(std::begin(kGlobals), std::end(kGlobals), global) != std::end(kGlobals);
  }
  bool takes_bytes() const override { return true; }
  TorchValue* persistent(const TorchValue&) override { fail("pickle: a persistent id is not of NumPy"); }

  TorchValue* call(const std::string& global, const std::vector<const TorchValue*>& args) override {
    const List list{args};
    if (global == "_codecs encode") return values_.add({latin1(item<std::string>(list, 0, "bytes"))});
    if (global == "numpy dtype") return values_.add({List{{values_.add({item<std::string>(list, 0, "a dtype")})}}});
    if (global.ends_with(" _reconstruct")) return values_.add({List{}});
    UVIC_CHECK(global.ends_with(" scalar") && args.size() == 2, "pickle: calls ", global,
               " in a way that NumPy does not");
    TorchValue* shape = values_.add({List{{}, true}});
    TorchValue *zero = values_.add({int64_t{0}}), *no = values_.add({false});
    return values_.add({List{{zero, shape, args[0], no, args[1]}}});
  }

  bool build(TorchValue& object, const TorchValue& state) override {
    auto* own = std::get_if<List>(&object.value);
    const auto* more = state.as<List>();
    if (!own || own->is_tuple || !more) return false;
    own->items.insert(own->items.end(), more->items.begin(), more->items.end());
    return true;
  }

 private:
  TorchValues& values_;
};

// Of one that has been built; its kind is O for objects.
NpyHeader header_of(const List& array) {
  NpyHeader header;
  for (const TorchValue* dim : item<List>(array, 1, "an array").items) {
    const auto* extent = dim->as<int64_t>();
    UVIC_CHECK(extent && *extent >= 0 && *extent <= int64_t{1} << 24 && header.shape.rank() < 4,
               "pickle: an array of a shape that cannot be");
    header.shape.push_back(*extent);
  }
  const List& dtype = item<List>(array, 2, "an array");
  const std::string descr = item<std::string>(dtype, 2, "a dtype") + item<std::string>(dtype, 0, "a dtype");
  if (descr == "|O8" || descr == "|O4") {
    header.kind = 'O';
  } else {
    UVIC_CHECK(set_dtype(header, descr), "pickle: an array of dtype ", quote(descr), " cannot be read; numbers can");
  }
  header.fortran_order = item<bool>(array, 3, "an array");
  return header;
}

NpyObject object_of(const TorchValue& value) {
  if (const auto* text = value.as<std::string>()) return *text;
  const auto* array = value.as<List>();
  UVIC_CHECK(array && array->items.size() == 5, "pickle: an element is a ", value.type_name(),
             "; wanted an array, a number or a text");
  const NpyHeader header = header_of(*array);
  UVIC_CHECK(header.kind != 'O', "pickle: an array of objects within one");
  const auto& data = item<std::string>(*array, 4, "an array");
  return npy_elements(header, std::as_bytes(std::span(data)), "pickle");
}

}  // namespace

std::vector<NpyObject> read_npy_objects(std::span<const std::byte> bytes, const std::string& name) {
  const NpyHeader header = take_npy_header(bytes, name, true);
  std::vector<NpyObject> objects;
  if (header.kind != 'O') {
    objects.emplace_back(npy_elements(header, bytes, name));
    return objects;
  }
  try {
    TorchValues values;
    NumpyHost host(values);
    const TorchValue* root = read_pickle(bytes, host, values);
    UVIC_CHECK(bytes.empty(), bytes.size(), " bytes after the pickle");
    const auto* array = root->as<List>();
    UVIC_CHECK(array && array->items.size() == 5 && header_of(*array).kind == 'O', "pickle: not an array of objects");
    for (const TorchValue* element : item<List>(*array, 4, "an array").items) objects.push_back(object_of(*element));
  } catch (const Error& e) {
    fail(name, ": ", e.what());
  }
  return objects;
}

std::vector<std::pair<std::string, OwnedTensor>> read_pickled_arrays(std::span<const std::byte> bytes,
                                                                     const std::string& name) {
  std::vector<std::pair<std::string, OwnedTensor>> arrays;
  try {
    TorchValues values;
    NumpyHost host(values);
    const TorchValue* root = read_pickle(bytes, host, values);
    UVIC_CHECK(bytes.empty(), bytes.size(), " bytes after the pickle");
    const auto* dict = root->as<TorchValue::Dict>();
    UVIC_CHECK(dict, "pickle: a ", root->type_name(), ", not a dict of arrays");
    for (const auto& [key, value] : dict->items) {
      const auto* word = key->as<std::string>();
      UVIC_CHECK(word, "pickle: a key is a ", key->type_name());
      NpyObject object = object_of(*value);
      auto* array = std::get_if<OwnedTensor>(&object);
      UVIC_CHECK(array, "pickle: ", quote(*word), " is a str, not an array");
      arrays.emplace_back(*word, std::move(*array));
    }
  } catch (const Error& e) {
    fail(name, ": ", e.what());
  }
  return arrays;
}

}  // namespace uvic
