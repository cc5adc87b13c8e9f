#pragma once

#include "kernels/core/context.h"

namespace uvic {

// What f returns. An Error of its also says in which scope of ctx it arose: which layer asked for memory that is not
// there.
template <class F>
auto in_scope(Context& ctx, const F& f) {
  try {
    return f();
  } catch (const Error& e) {
    const std::string scope = ctx.take_failed_scope();
    throw Error(scope.empty() ? e.what() : concat(e.what(), " (in ", scope, ")"), e.hint());
  }
}

}  // namespace uvic
