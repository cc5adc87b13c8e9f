#pragma once

#include <functional>
#include <string>

#include "app/bench_run.h"
#include "kernels/core/context.h"

namespace uvic {

// Median seconds of f and all it gave ctx to do, after three calls that warm up, over at least `least` calls and
// `seconds`.
double timed(Context& ctx, double seconds, size_t least, const std::function<void()>& f);

// A record on stdout: the version, threads and instruction set, then the entries of a JSON object.
void print_record(Context& ctx, const std::string& entries);
// One for every scope that was timed.
void print_profile(Context& ctx);

// Figures of networks that are not trained: features, encode, decode and text.
void bench_frozen(Context& ctx, const BenchRequest& request, DType dtype);

}  // namespace uvic
