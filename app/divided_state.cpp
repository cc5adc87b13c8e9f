#include "app/divided_state.h"

#include "kernels/ops/transfer.h"

namespace uvic {

DividedState::DividedState(Exchange& exchange, bool divided)
    : exchange_(exchange), divided_(divided && !exchange.processes().alone()) {}

void DividedState::in_first(ParamStore& store, const std::function<void()>& work) {
  if (!exchange_.processes().first()) {
    if (divided_) answer(store);
    return;
  }
  if (!divided_) return work();
  asking_ = &store;
  work();
  asking_ = nullptr;
  ask(Request::done);
}

void DividedState::ask(Request request, Role role, int64_t begin, int64_t end) const {
  int64_t words[] = {static_cast<int64_t>(request), static_cast<int64_t>(role), begin, end};
  exchange_.processes().copy_from_first(words);
}

void DividedState::answer(ParamStore& store) {
  Context& ctx = exchange_.ctx();
  for (;;) {
    int64_t words[4] = {};
    exchange_.processes().copy_from_first(words);
    const auto request = static_cast<Request>(words[0]);
    const auto role = static_cast<Role>(words[1]);
    if (request == Request::done) return;
    if (request == Request::use) {
      store.use(ctx, role);
      continue;
    }
    const FlatPart here = store.part().overlap({words[2], words[3]});
    if (here.count() == 0) continue;
    const Tensor own = store.own(role, here);
    if (request == Request::fetch) {
      exchange_.processes().send(on_host(ctx, own).tensor, 0);
    } else {
      const OwnedTensor host = host_for(ctx, own);
      exchange_.processes().receive(host.tensor, 0);
      upload(ctx, host.tensor, own);
    }
  }
}

void DividedState::gather(Tensor weights, Role role) {
  if (asking_) ask(Request::use, role);
  exchange_.gather(weights);
}

void DividedState::of_others(int64_t begin, Tensor values, const std::function<void(int, Tensor)>& use) const {
  for (int process = 1; process < count(); ++process) {
    const FlatPart theirs = part_of(asking_->size(), process, count()).overlap({begin, begin + values.numel()});
    if (theirs.count() > 0) use(process, values.rows(theirs.begin - begin, theirs.end - begin));
  }
}

void DividedState::fetch(Role role, int64_t begin, Tensor values) {
  UVIC_CHECK(asking_, "DividedState::fetch(", name_of(role), ") outside in_first()");
  ask(Request::fetch, role, begin, begin + values.numel());
  of_others(begin, values, [&](int process, Tensor part) { exchange_.processes().receive(part, process); });
}

void DividedState::send(Role role, int64_t begin, Tensor values) {
  if (!asking_) return;
  ask(Request::send, role, begin, begin + values.numel());
  of_others(begin, values, [&](int process, Tensor part) { exchange_.processes().send(part, process); });
}

}  // namespace uvic
