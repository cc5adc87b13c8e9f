#include "model/io/pickle.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <unordered_map>

#include "kernels/core/text.h"

namespace uvic {
namespace {

// Names and codes of Python's pickletools.
enum Opcode : uint8_t {
  kMark = '(',
  kStop = '.',
  kBinInt = 'J',
  kBinInt1 = 'K',
  kBinInt2 = 'M',
  kLong1 = 0x8a,
  kBinFloat = 'G',
  kNone = 'N',
  kNewTrue = 0x88,
  kNewFalse = 0x89,
  kBinUnicode = 'X',
  kShortBinUnicode = 0x8c,
  kEmptyTuple = ')',
  kTuple = 't',
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kEmptyList = ']',
  kAppend = 'a',
  kAppends = 'e',
  kEmptyDict = '}',
  kSetItem = 's',
  kSetItems = 'u',
  kBinGet = 'h',
  kLongBinGet = 'j',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kMemoize = 0x94,
  kGlobal = 'c',
  kStackGlobal = 0x93,
  kReduce = 'R',
  kBuild = 'b',
  kBinPersId = 'Q',
  kProto = 0x80,
  kFrame = 0x95
};

class Machine {
 public:
  Machine(std::span<const std::byte> bytes, PickleHost& host, TorchValues& values)
      : bytes_(bytes), host_(host), values_(values) {}

  const TorchValue* run() {
    for (;;) {
      const size_t at = position_;
      const auto opcode = read<uint8_t>();
      if (opcode == kStop) break;
      UVIC_CHECK(step(opcode), "pickle: opcode ", hex(opcode), " at byte ", at, " is not one that a state dict needs");
    }
    UVIC_CHECK(stack_.size() == 1 && marks_.empty(), "pickle: ends with ", stack_.size(), " objects on the stack");
    return stack_.back();
  }

  size_t position() const { return position_; }

 private:
  using List = TorchValue::List;
  using Dict = TorchValue::Dict;

  static std::string hex(uint8_t byte) {
    constexpr char kDigits[] = "0123456789abcdef";
    return {'0', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
  }

  // ---- bytes
  std::span<const std::byte> take(uint64_t n) {
    UVIC_CHECK(n <= bytes_.size() - position_, "pickle: cut short at byte ", bytes_.size());
    position_ += static_cast<size_t>(n);
    return bytes_.subspan(position_ - static_cast<size_t>(n), static_cast<size_t>(n));
  }

  template <class T>
  T read() {  // little-endian
    T x;
    std::memcpy(&x, take(sizeof x).data(), sizeof x);
    return x;
  }

  std::string text(uint64_t n) {
    const auto t = take(n);
    return {reinterpret_cast<const char*>(t.data()), t.size()};
  }

  std::string line() {
    const auto rest = bytes_.subspan(position_);
    const auto end = std::find(rest.begin(), rest.end(), std::byte{'\n'});
    const std::string s = text(static_cast<uint64_t>(end - rest.begin()));
    take(1);
    return s;
  }

  int64_t long1() {
    const auto digits = take(read<uint8_t>());
    UVIC_CHECK(digits.size() <= sizeof(int64_t), "pickle: an integer of ", digits.size(), " bytes");
    if (digits.empty()) return 0;
    uint64_t x = std::to_integer<uint8_t>(digits.back()) & 0x80 ? ~uint64_t{0} : 0;  // the sign fills what is above
    std::memcpy(&x, digits.data(), digits.size());
    return static_cast<int64_t>(x);
  }

  double big_endian_double() {  // the one number that pickle writes this way round
    uint64_t x = 0;
    for (const std::byte b : take(sizeof x)) x = x << 8 | std::to_integer<uint8_t>(b);
    return std::bit_cast<double>(x);
  }

  // ---- stack: what lies below the last mark is out of reach
  void push(TorchValue* v) { stack_.push_back(v); }
  void push_new(decltype(TorchValue::value) v) { push(values_.add({std::move(v)})); }

  TorchValue* pop() {
    UVIC_CHECK(stack_.size() > (marks_.empty() ? 0 : marks_.back()), "pickle: nothing on the stack at byte ",
               position_);
    TorchValue* v = stack_.back();
    stack_.pop_back();
    return v;
  }

  std::vector<const TorchValue*> pop_to_mark() {
    UVIC_CHECK(!marks_.empty(), "pickle: no mark at byte ", position_);
    std::vector<const TorchValue*> items(stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back()), stack_.end());
    stack_.resize(marks_.back());
    marks_.pop_back();
    return items;
  }

  template <class T>
  T& top() {
    UVIC_CHECK(stack_.size() > (marks_.empty() ? 0 : marks_.back()), "pickle: nothing on the stack at byte ",
               position_);
    T* v = std::get_if<T>(&stack_.back()->value);
    UVIC_CHECK(v, "pickle: a ", stack_.back()->type_name(), " is not what the opcode at byte ", position_, " works on");
    return *v;
  }

  template <class T>
  const T& expect(const TorchValue& v) {
    const T* x = v.as<T>();
    UVIC_CHECK(x, "pickle: a ", v.type_name(), " is not what the opcode at byte ", position_, " takes");
    return *x;
  }

  // ---- what opcodes do
  void tuple(std::vector<const TorchValue*> items) { push_new(List{std::move(items), true}); }

  void tuple_of(size_t n) {
    std::vector<const TorchValue*> items(n);
    while (n > 0) items[--n] = pop();
    tuple(std::move(items));
  }

  void append(const std::vector<const TorchValue*>& items) {
    auto& list = top<List>();
    UVIC_CHECK(!list.is_tuple, "pickle: appends to a tuple");
    list.items.insert(list.items.end(), items.begin(), items.end());
  }

  void set_items(const std::vector<const TorchValue*>& items) {
    UVIC_CHECK(items.size() % 2 == 0, "pickle: a key without a value");
    auto& dict = top<Dict>();
    for (size_t i = 0; i < items.size(); i += 2) dict.items.emplace_back(items[i], items[i + 1]);
  }

  void get(uint32_t slot) {
    const auto found = memo_.find(slot);
    UVIC_CHECK(found != memo_.end(), "pickle: reads memo ", slot, ", which was never written");
    push(found->second);
  }

  void put(uint32_t slot) {
    TorchValue* v = pop();
    memo_[slot] = v;
    push(v);
  }

  void global(std::string name) {
    UVIC_CHECK(host_.allows(name), "pickle: global ", quote(name), " is not allowed");
    push_new(TorchValue::Global{std::move(name)});
  }

  // False if the opcode is unknown.
  bool step(uint8_t opcode) {
    switch (opcode) {
      case kProto: {
        const auto version = read<uint8_t>();
        UVIC_CHECK(version >= 2 && version <= 5, "pickle: protocol ", int{version}, "; 2 to 5 can be read");
        return true;
      }
      case kFrame:
        UVIC_CHECK(read<uint64_t>() <= bytes_.size() - position_, "pickle: a frame is cut short");
        return true;
      case kMark: marks_.push_back(stack_.size()); return true;
      case kNone: push_new(TorchValue::None{}); return true;
      case kNewTrue: push_new(true); return true;
      case kNewFalse: push_new(false); return true;
      case kBinInt: push_new(int64_t{read<int32_t>()}); return true;
      case kBinInt1: push_new(int64_t{read<uint8_t>()}); return true;
      case kBinInt2: push_new(int64_t{read<uint16_t>()}); return true;
      case kLong1: push_new(long1()); return true;
      case kBinFloat: push_new(big_endian_double()); return true;
      case kBinUnicode: push_new(text(read<uint32_t>())); return true;
      case kShortBinUnicode: push_new(text(read<uint8_t>())); return true;
      case kEmptyTuple: tuple({}); return true;
      case kTuple: tuple(pop_to_mark()); return true;
      case kTuple1: tuple_of(1); return true;
      case kTuple2: tuple_of(2); return true;
      case kTuple3: tuple_of(3); return true;
      case kEmptyList: push_new(List{}); return true;
      case kAppend: append({pop()}); return true;
      case kAppends: append(pop_to_mark()); return true;
      case kEmptyDict: push_new(Dict{}); return true;
      case kSetItem: {
        const TorchValue* value = pop();
        const TorchValue* key = pop();
        set_items({key, value});
        return true;
      }
      case kSetItems: set_items(pop_to_mark()); return true;
      case kBinGet: get(read<uint8_t>()); return true;
      case kLongBinGet: get(read<uint32_t>()); return true;
      case kBinPut: put(read<uint8_t>()); return true;
      case kLongBinPut: put(read<uint32_t>()); return true;
      case kMemoize: put(static_cast<uint32_t>(memo_.size())); return true;
      case kGlobal: {
        const std::string module = line();
        global(module + " " + line());
        return true;
      }
      case kStackGlobal: {
        const auto& name = expect<std::string>(*pop());
        global(expect<std::string>(*pop()) + " " + name);
        return true;
      }
      case kReduce: {
        const TorchValue* args = pop();
        const TorchValue* callee = pop();
        push(host_.call(expect<TorchValue::Global>(*callee).name, expect<List>(*args).items));
        return true;
      }
      case kBuild:  // attributes of an OrderedDict: state dicts carry _metadata, which says nothing about weights
        pop();
        top<Dict>();
        return true;
      case kBinPersId: push(host_.persistent(*pop())); return true;
      default: return false;
    }
  }

  std::span<const std::byte> bytes_;
  size_t position_ = 0;
  PickleHost& host_;
  TorchValues& values_;
  std::vector<TorchValue*> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint32_t, TorchValue*> memo_;  // a map: slots are any 32-bit number
};

}  // namespace

const TorchValue* read_pickle(std::span<const std::byte>& bytes, PickleHost& host, TorchValues& values) {
  Machine machine(bytes, host, values);
  const TorchValue* root = machine.run();
  bytes = bytes.subspan(machine.position());
  return root;
}

}  // namespace uvic
