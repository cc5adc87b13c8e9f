#pragma once

#include <functional>

#include "app/exchange.h"
#include "model/params.h"

namespace uvic {

// The optimizer's state of a run, divided among its processes (ZeRO-1: Rajbhandari et al., arXiv 1910.02054): each
// keeps and updates its part of moments, averages and bf16's master weights. The new working weights are gathered, to
// the same bits as if every process had updated all. Or not divided: then every process has all of it.
class DividedState final : public StoreParts {
 public:
  // exchange must outlive this.
  DividedState(Exchange& exchange, bool divided);

  // What ParamStore takes: null if the state is not divided.
  StoreParts* parts() { return divided_ ? this : nullptr; }

  // Does work in the first process alone, which may get, set and use() all of store there. Where store is divided the
  // others answer until it is done. All processes make the call; if work throws, the first must end the job.
  void in_first(ParamStore& store, const std::function<void()>& work);

  int index() const override { return exchange_.processes().rank(); }
  int count() const override { return exchange_.processes().size(); }
  void gather(Tensor weights, Role role) override;
  void fetch(Role role, int64_t begin, Tensor values) override;
  void send(Role role, int64_t begin, Tensor values) override;

 private:
  enum class Request : int64_t { use, fetch, send, done };

  void ask(Request request, Role role = {}, int64_t begin = 0, int64_t end = 0) const;
  void answer(ParamStore& store);
  // Calls use(process, its elements of values) for each other process that keeps some.
  void of_others(int64_t begin, Tensor values, const std::function<void(int, Tensor)>& use) const;

  Exchange& exchange_;
  bool divided_;
  const ParamStore* asking_ = nullptr;  // in the first process, while the others answer: the store
};

}  // namespace uvic
