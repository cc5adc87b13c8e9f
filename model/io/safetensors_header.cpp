#include "model/io/safetensors_header.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "kernels/core/text.h"

namespace uvic {
namespace {

struct DTypeName {
  const char* name;
  DType dtype;
};
constexpr DTypeName kDTypes[] = {{"F64", DType::f64},   {"F32", DType::f32},     {"F16", DType::f16},
                                 {"BF16", DType::bf16}, {"I64", DType::i64},     {"I32", DType::i32},
                                 {"U8", DType::u8},     {"BOOL", DType::boolean}};

using Entry = SafetensorsHeader::Entry;

// Takes the header apart as it is parsed. Events, and not a tree, because a tree forgets that a key came twice and a
// million nested brackets would exhaust the stack; here everything that the format does not name is refused at once.
class HeaderReader final : public nlohmann::json_sax<nlohmann::json> {
 public:
  SafetensorsHeader header;

  bool start_object(size_t) override {
    UVIC_CHECK(level_ == Level::outside || level_ == Level::root, where(), ": an object is not expected here");
    if (level_ == Level::outside) {
      level_ = Level::root;
    } else {
      level_ = name_ == SafetensorsHeader::kMetadata ? Level::metadata : Level::tensor;
      entry_ = {name_, {}, {}, 0, 0};
      fields_.clear();
    }
    return true;
  }

  bool key(std::string& key) override {
    if (level_ == Level::root) {
      name_ = key;
      UVIC_CHECK(names_.insert(key).second, "the header names ", quote(key), " twice");
    } else {
      field_ = key;
      UVIC_CHECK(fields_.insert(key).second, where(), ": key ", quote(key), " occurs twice");
    }
    return true;
  }

  bool end_object() override {
    if (level_ == Level::tensor) finish_tensor();
    level_ = level_ == Level::root ? Level::outside : Level::root;
    return true;
  }

  bool string(std::string& text) override {
    if (level_ == Level::metadata) {
      header.metadata[field_] = text;
      return true;
    }
    UVIC_CHECK(level_ == Level::tensor && field_ == "dtype", where(), ": a string is not expected here");
    for (const auto& [name, dtype] : kDTypes) {
      if (text == name) {
        entry_.dtype = dtype;
        return true;
      }
    }
    fail(where(), ": dtype ", quote(text), " is not one of F64, F32, F16, BF16, I64, I32, U8, BOOL");
  }

  bool start_array(size_t) override {
    UVIC_CHECK(level_ == Level::tensor && (field_ == "shape" || field_ == "data_offsets"), where(),
               ": an array is not expected here");
    level_ = Level::array;
    numbers_.clear();
    return true;
  }

  bool number_unsigned(number_unsigned_t number) override {
    UVIC_CHECK(level_ == Level::array, where(), ": a number is not expected here");
    UVIC_CHECK(number <= uint64_t{std::numeric_limits<int64_t>::max()}, where(), ": ", field_, " holds ", number);
    UVIC_CHECK(numbers_.size() < size_t{Shape::kMaxRank}, where(), ": ", field_, " has more than ", Shape::kMaxRank,
               " numbers");
    numbers_.push_back(static_cast<int64_t>(number));
    return true;
  }

  bool end_array() override {
    level_ = Level::tensor;
    if (field_ == "shape") {
      entry_.shape = Shape(numbers_.begin(), numbers_.end());
    } else {
      UVIC_CHECK(numbers_.size() == 2, where(), ": data_offsets has ", numbers_.size(), " numbers, wanted 2");
      entry_.begin = static_cast<uint64_t>(numbers_[0]);
      entry_.end = static_cast<uint64_t>(numbers_[1]);
    }
    return true;
  }

  bool number_integer(number_integer_t number) override { fail(where(), ": ", field_, " holds ", number); }
  bool number_float(number_float_t, const string_t& text) override {
    fail(where(), ": ", field_, " holds ", quote(text));
  }
  bool null() override { fail(where(), ": null is not expected here"); }
  bool boolean(bool) override { fail(where(), ": true or false is not expected here"); }
  bool binary(binary_t&) override { fail(where(), ": binary data is not expected here"); }
  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception&) override {
    fail("the header is not valid JSON (at its byte ", position, ")");
  }

 private:
  enum class Level { outside, root, metadata, tensor, array };

  std::string where() const { return names_.empty() ? "the header" : "tensor " + quote(name_); }

  void finish_tensor() {
    for (const char* field : {"dtype", "shape", "data_offsets"})
      UVIC_CHECK(fields_.contains(field), where(), ": ", field, " is missing");
    UVIC_CHECK(fields_.size() == 3, where(), ": has keys beside dtype, shape and data_offsets");
    UVIC_CHECK(entry_.begin <= entry_.end, where(), ": data_offsets [", entry_.begin, ", ", entry_.end,
               "] are reversed");
    // Extents of 0 count as 1 while looking for overflow, so that no product of some of them overflows later either.
    int64_t bytes = static_cast<int64_t>(size_of(entry_.dtype));
    for (const int64_t d : entry_.shape)
      UVIC_CHECK(!__builtin_mul_overflow(bytes, std::max<int64_t>(d, 1), &bytes), where(), ": shape ", entry_.shape,
                 " overflows");
    const uint64_t want = static_cast<uint64_t>(entry_.shape.numel()) * size_of(entry_.dtype);
    UVIC_CHECK(entry_.end - entry_.begin == want, where(), ": ", entry_.dtype, " ", entry_.shape, " takes ", want,
               " bytes, data_offsets span ", entry_.end - entry_.begin);
    header.entries.push_back(entry_);
  }

  Level level_ = Level::outside;
  std::string name_, field_;
  std::set<std::string> names_, fields_;
  std::vector<int64_t> numbers_;
  Entry entry_;
};

// Every byte of the data section belongs to exactly one tensor: no overlap, no gap, no tail in which to hide anything.
void check_layout(std::vector<Entry>& entries, uint64_t data_bytes) {
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;  // an empty tensor before the one it touches
  });
  uint64_t covered = 0;
  for (const Entry& e : entries) {
    UVIC_CHECK(e.end <= data_bytes, "tensor ", quote(e.name), ": data_offsets [", e.begin, ", ", e.end,
               "] lie outside the ", data_bytes, " bytes of data");
    UVIC_CHECK(e.begin == covered, "tensor ", quote(e.name), ": data begins at ", e.begin,
               ", but the tensors before it end at ", covered);
    covered = e.end;
  }
  UVIC_CHECK(covered == data_bytes, data_bytes - covered, " bytes after the last tensor");
}

}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view text, uint64_t data_bytes) {
  HeaderReader reader;
  nlohmann::json::sax_parse(text, &reader);
  check_layout(reader.header.entries, data_bytes);
  return std::move(reader.header);
}

const char* safetensors_name(DType dtype) {
  for (const DTypeName& d : kDTypes)
    if (d.dtype == dtype) return d.name;
  return "?";
}

}  // namespace uvic
