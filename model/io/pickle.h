#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "model/io/torch_value.h"

namespace uvic {

// What a pickle may ask for beyond plain data. Nothing is looked up or executed by name: a host knows a fixed list.
class PickleHost {
 public:
  virtual ~PickleHost() = default;
  // Whether "module name" may be mentioned at all.
  virtual bool allows(const std::string& global) const = 0;
  // The result of calling an allowed global. Throws Error on wrong arguments.
  virtual TorchValue* call(const std::string& global, const std::vector<const TorchValue*>& args) = 0;
  // The object behind a persistent id.
  virtual TorchValue* persistent(const TorchValue& id) = 0;
  // Gives an object of the host's its state; false: it is none of them.
  virtual bool build(TorchValue& /*object*/, const TorchValue& /*state*/) { return false; }
  // Whether strings of bytes may occur, which become a std::string.
  virtual bool takes_bytes() const { return false; }
};

// Reads one Python pickle from the front of bytes and leaves bytes at what follows it. Understands the opcodes that
// torch.save writes for state dicts, optimizer states and numbers, in protocols 2 to 5; any other opcode, a global that
// the host does not allow, a stack that does not fit or a cut-off file throws an Error. Memory is bounded by the
// number of bytes and TorchValues::kMaxValues, the depth of its own recursion is none.
// The caller runs check_tree on the result before it uses it.
const TorchValue* read_pickle(std::span<const std::byte>& bytes, PickleHost& host, TorchValues& values);

}  // namespace uvic
