#pragma once

#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>

namespace uvic {

// The one exception libraries throw: bad input, a failed system call, a shape that does not fit. Only main catches it,
// prints what() on one line, then the hint on the next. what() names the op or file, the argument, what was got and
// what was wanted.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& what, std::string hint = {}) : std::runtime_error(what), hint_(std::move(hint)) {}
  const std::string& hint() const { return hint_; }

 private:
  std::string hint_;
};

template <class... Parts>
std::string concat(const Parts&... parts) {
  std::ostringstream s;
  (s << ... << parts);
  return s.str();
}

template <class... Parts>
[[noreturn, gnu::cold, gnu::noinline]] void fail(const Parts&... parts) {
  throw Error(concat(parts...));
}

}  // namespace uvic

// The message is built only on failure, so a check may stand in a hot path.
#define UVIC_CHECK(cond, ...)    \
  do {                           \
    if (!(cond)) [[unlikely]]    \
      ::uvic::fail(__VA_ARGS__); \
  } while (0)
