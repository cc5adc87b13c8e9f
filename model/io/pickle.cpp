#include "model/io/pickle.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <unordered_map>

#include "kernels/core/text.h"

namespace uvic {
namespace {

class Machine {
 public:
  Machine(std::span<const std::byte> bytes, PickleHost& host, TorchValues& values)
      : bytes_(bytes), host_(host), values_(values) {}

  const TorchValue* run() {
    for (;;) {
      const size_t at = position_;
      const auto opcode = read<uint8_t>();
      if (opcode == '.') break;
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
    std::string s = text(static_cast<uint64_t>(end - rest.begin()));
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

  std::vector<const TorchValue*> pop_many(size_t n) {
    std::vector<const TorchValue*> items(n);
    while (n > 0) items[--n] = pop();
    return items;
  }

  // ---- what opcodes do
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

  void global(const std::string& module, const std::string& name) {
    std::string full = module + " " + name;
    UVIC_CHECK(host_.allows(full), "pickle: global ", quote(full), " is not allowed");
    push_new(TorchValue::Global{std::move(full)});
  }

  void global() {
    const std::string module = line();
    global(module, line());
  }

  void stack_global() {
    const auto names = pop_many(2);
    global(expect<std::string>(*names[0]), expect<std::string>(*names[1]));
  }

  void reduce() {
    const auto items = pop_many(2);
    push(host_.call(expect<TorchValue::Global>(*items[0]).name, expect<List>(*items[1]).items));
  }

  // Attributes of an OrderedDict, but for the host's: a state dict carries _metadata, which says nothing about weights.
  void build() {
    const TorchValue* state = pop();
    TorchValue* object = pop();
    push(object);
    if (!host_.build(*object, *state)) top<Dict>();
  }

  bool binary(uint64_t n) { return host_.takes_bytes() && (push_new(text(n)), true); }

  void protocol() {
    const auto version = read<uint8_t>();
    UVIC_CHECK(version >= 2 && version <= 5, "pickle: protocol ", int{version}, "; 2 to 5 can be read");
  }

  void frame() {  // a hint for readers of streams
    UVIC_CHECK(read<uint64_t>() <= bytes_.size() - position_, "pickle: a frame is cut short");
  }

  // False if the opcode is unknown. The names are those of Python's pickletools.
  bool step(uint8_t opcode) {
    switch (opcode) {
      case 0x80: protocol(); return true;                                // PROTO
      case 0x95: frame(); return true;                                   // FRAME
      case '(': marks_.push_back(stack_.size()); return true;            // MARK
      case 'N': push_new(TorchValue::None{}); return true;               // NONE
      case 0x88: push_new(true); return true;                            // NEWTRUE
      case 0x89: push_new(false); return true;                           // NEWFALSE
      case 'J': push_new(int64_t{read<int32_t>()}); return true;         // BININT
      case 'K': push_new(int64_t{read<uint8_t>()}); return true;         // BININT1
      case 'M': push_new(int64_t{read<uint16_t>()}); return true;        // BININT2
      case 0x8a: push_new(long1()); return true;                         // LONG1
      case 'G': push_new(big_endian_double()); return true;              // BINFLOAT
      case 'X': push_new(text(read<uint32_t>())); return true;           // BINUNICODE
      case 0x8c: push_new(text(read<uint8_t>())); return true;           // SHORT_BINUNICODE
      case 'C': return binary(read<uint8_t>());                          // SHORT_BINBYTES
      case 'B': return binary(read<uint32_t>());                         // BINBYTES
      case ')': push_new(List{{}, true}); return true;                   // EMPTY_TUPLE
      case 't': push_new(List{pop_to_mark(), true}); return true;        // TUPLE
      case 0x85: push_new(List{pop_many(1), true}); return true;         // TUPLE1
      case 0x86: push_new(List{pop_many(2), true}); return true;         // TUPLE2
      case 0x87: push_new(List{pop_many(3), true}); return true;         // TUPLE3
      case ']': push_new(List{}); return true;                           // EMPTY_LIST
      case 'a': append(pop_many(1)); return true;                        // APPEND
      case 'e': append(pop_to_mark()); return true;                      // APPENDS
      case '}': push_new(Dict{}); return true;                           // EMPTY_DICT
      case 's': set_items(pop_many(2)); return true;                     // SETITEM
      case 'u': set_items(pop_to_mark()); return true;                   // SETITEMS
      case 'h': get(read<uint8_t>()); return true;                       // BINGET
      case 'j': get(read<uint32_t>()); return true;                      // LONG_BINGET
      case 'q': put(read<uint8_t>()); return true;                       // BINPUT
      case 'r': put(read<uint32_t>()); return true;                      // LONG_BINPUT
      case 0x94: put(static_cast<uint32_t>(memo_.size())); return true;  // MEMOIZE
      case 'c': global(); return true;                                   // GLOBAL
      case 0x93: stack_global(); return true;                            // STACK_GLOBAL
      case 'R': reduce(); return true;                                   // REDUCE
      case 'b': build(); return true;                                    // BUILD
      case 'Q': push(host_.persistent(*pop())); return true;             // BINPERSID
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
