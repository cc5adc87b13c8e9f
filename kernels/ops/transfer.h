#pragma once

#include <span>

#include "kernels/core/context.h"

namespace uvic {

// The border between the host and ctx's device. Ops work on the device; whoever looks at numbers, or brings them, does
// so on the host. On a CPU the two are one memory: on_device, on_host and host_for then give back what they are given.

// to, on ctx's device, = from, on the host or there; dtype and shape agree. In order with ctx's work, not waited for:
// from may change at once, but if it is pinned only after what synchronizes.
void upload(Context& ctx, Tensor from, Tensor to);
// The way back: to, on the host, = from, on ctx's device. Waits for all that ctx has to do, and for the copy.
void download(Context& ctx, Tensor from, Tensor to);
// The values [n], in ctx's arena.
Tensor upload(Context& ctx, std::span<const float> values);
Tensor upload(Context& ctx, std::span<const int32_t> values);

// from, on the host, where ops of ctx can read it: itself, or uploaded to ctx's arena.
Tensor on_device(Context& ctx, Tensor from);
// The same for what is kept: from itself, or a copy in memory of ctx's device. May be empty.
OwnedTensor on_device(Context& ctx, OwnedTensor from);

// t, on ctx's device, where the host can read it: itself, owning nothing, or a copy, of which waits for all that ctx
// has to do.
OwnedTensor on_host(Context& ctx, Tensor t);
// Where the host writes what upload() then takes to t, on ctx's device: t itself, owning nothing, or memory like it.
OwnedTensor host_for(Context& ctx, Tensor t);

}  // namespace uvic
