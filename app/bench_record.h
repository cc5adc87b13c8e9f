#pragma once

#include <functional>
#include <string>
#include <vector>

#include "app/bench_run.h"
#include "kernels/core/context.h"

namespace uvic {

// Entries of a record that say what ran.
constexpr const char* kWorkEntries[] = {"what", "model", "attn", "kind", "dtype", "batch", "steps", "shape", "threads"};
// Those of seconds, those of the rate that goes with each, and what part of the work was timed.
struct BenchFigure {
  const char *seconds, *rate, *pass;
};
constexpr BenchFigure kBenchFigures[] = {{"step_s", "tflops", ""},
                                         {"step_queued_s", "step_queued_tflops", "queued"},
                                         {"seconds", "tflops", ""},
                                         {"forward_s", "forward_tflops", "forward"},
                                         {"both_s", "both_tflops", "forward and backward"},
                                         {"forward_queued_s", "forward_queued_tflops", "forward, queued"},
                                         {"both_queued_s", "both_queued_tflops", "forward and backward, queued"}};

double median(std::vector<double> x);

// Median seconds of f and all it gave ctx to do, after three calls that warm up, over at least `least` calls and
// `seconds`.
double timed(Context& ctx, double seconds, size_t least, const std::function<void()>& f);
// The same where nobody waits for each call, as in a network on a GPU: the host's part is hidden behind the device's.
double timed_queued(Context& ctx, double seconds, const std::function<void()>& f);
// Mean seconds of f, already warm, which itself keeps the host from going too far ahead of ctx's work.
double timed_running(Context& ctx, double seconds, int least, const std::function<void()>& f);

// A record on stdout: the version, threads and instruction set, then the entries of a JSON object.
void print_record(Context& ctx, const std::string& entries);
// One for every scope that was timed.
void print_profile(Context& ctx);

// Figures of networks that are not trained: features, encode, decode and text.
void bench_frozen(Context& ctx, const BenchRequest& request, DType dtype);

}  // namespace uvic
