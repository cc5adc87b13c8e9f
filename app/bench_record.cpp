#include "app/bench_record.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <vector>

namespace uvic {
namespace {

using Record = nlohmann::ordered_json;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace

double median(std::vector<double> x) {
  std::sort(x.begin(), x.end());
  return (x[(x.size() - 1) / 2] + x[x.size() / 2]) / 2;
}

double timed(Context& ctx, double seconds, size_t least, const std::function<void()>& f) {
  const auto complete = [&] {
    f();
    synchronize(ctx.device());
  };
  for (int i = 0; i < 3; ++i) complete();
  std::vector<double> times;
  for (const double start = now(); times.size() < least || now() - start < seconds;) {
    const double t = now();
    complete();
    times.push_back(now() - t);
  }
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
  return times[times.size() / 2];
}

double timed_queued(Context& ctx, double seconds, const std::function<void()>& f) {
  constexpr int kCalls = 10;
  const double all = timed(ctx, seconds, 3, [&] {
    for (int i = 0; i < kCalls; ++i) f();
  });
  return all / kCalls;
}

double timed_running(Context& ctx, double seconds, int least, const std::function<void()>& f) {
  synchronize(ctx.device());
  const double start = now();
  int calls = 0;
  for (; calls < least || now() - start < seconds; ++calls) f();
  synchronize(ctx.device());
  return (now() - start) / calls;
}

void print_record(Context& ctx, const std::string& entries) {
  Record out{{"uvic", UVIC_VERSION}, {"threads", ctx.threads()}, {"isa", name_of(ctx.isa())}};
  if (ctx.device().kind == DeviceKind::cuda) out["isa"] = ctx.device().str();
  out.update(Record::parse(entries));
  std::printf("%s\n", out.dump().c_str());
  std::fflush(stdout);
}

void print_profile(Context& ctx) {
  for (const auto& [scope, timing] : ctx.timings())
    print_record(
        ctx, Record{{"what", "scope"}, {"scope", scope}, {"calls", timing.calls}, {"seconds", timing.seconds}}.dump());
}

}  // namespace uvic
