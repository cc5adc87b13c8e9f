// Between images and tokens: a training step makes each of these passes once.

#include "kernels/ops/tokens.h"

#include "tests/bench/cases.h"

namespace uvic {
namespace {

Tensor images(const UViCConfig& c, DType dtype, Job& job) {
  return job.random(dtype, {kBatch, c.in_chans, c.img_size, c.img_size});
}
// Of n tokens an image, as wide as a patch has numbers.
Tensor patches(const UViCConfig& c, int64_t n, DType dtype, Job& job) {
  return job.random(dtype, {kBatch, n, c.patch_size * c.patch_size * c.in_chans});
}
Tensor tokens(const UViCConfig& c, int64_t n, DType dtype, Job& job) {
  return job.random(dtype, {kBatch, n, c.embed_dim});
}

void finish(Job& job, double bytes, const Tensor& labelled, std::function<void()> run) {
  job.bytes = bytes;
  job.label = labelled.shape().str();
  job.run = std::move(run);
}
double sum_of_bytes(const Tensor& a, const Tensor& b) { return static_cast<double>(a.bytes() + b.bytes()); }

void patchify_job(Context& ctx, const UViCConfig& c, DType dtype, Job& job) {
  const Tensor image = images(c, DType::f32, job), to = patches(c, c.patches(), dtype, job);
  finish(job, sum_of_bytes(image, to), image, [=, &ctx, p = c.patch_size] { patchify(ctx, image, p, to); });
}

void patchify_backward_job(Context& ctx, const UViCConfig& c, DType dtype, Job& job) {
  const Tensor image = images(c, DType::f32, job), from = patches(c, c.patches(), dtype, job);
  finish(job, sum_of_bytes(image, from), image,
         [=, &ctx, p = c.patch_size] { patchify_backward(ctx, from, p, image); });
}

void unpatchify_job(Context& ctx, const UViCConfig& c, DType dtype, Job& job) {
  const Tensor image = images(c, dtype, job), from = patches(c, c.tokens(), dtype, job);
  finish(job, sum_of_bytes(image, from), image, [=, &ctx, p = c.patch_size] { unpatchify(ctx, from, p, image); });
}

void unpatchify_backward_job(Context& ctx, const UViCConfig& c, DType dtype, Job& job) {
  const Tensor image = images(c, dtype, job), to = patches(c, c.tokens(), dtype, job);
  finish(job, sum_of_bytes(image, to), image, [=, &ctx, p = c.patch_size] { unpatchify_backward(ctx, image, p, to); });
}

void timestep_job(Context& ctx, const UViCConfig& c, DType dtype, Job& job) {
  const Tensor t = job.random(DType::f32, {kBatch}, 1000), out = job.zeros(dtype, {kBatch, c.embed_dim});
  finish(job, sum_of_bytes(t, out), out, [=, &ctx] { timestep_embedding(ctx, t, out); });
}

// Networks without labels have no table; theirs is of ImageNet's size.
Tensor table(const UViCConfig& c, DType dtype, Job& job) {
  return job.random(dtype, {c.num_classes > 0 ? c.num_classes : 1001, c.embed_dim});
}

void embedding_forward_job(Context& ctx, const UViCConfig& c, DType dtype, Job& job) {
  const Tensor from = table(c, dtype, job), out = job.zeros(dtype, {kBatch, c.embed_dim});
  const Tensor index = job.zeros(DType::i32, {kBatch});
  finish(job, sum_of_bytes(out, out), from, [=, &ctx] { embedding_forward(ctx, from, index, out); });
}

void embedding_backward_job(Context& ctx, const UViCConfig& c, DType dtype, Job& job) {
  const Tensor dtable = table(c, DType::f32, job), dout = job.zeros(dtype, {kBatch, c.embed_dim});
  const Tensor index = job.zeros(DType::i32, {kBatch});
  finish(job, static_cast<double>(dout.bytes() + 8 * static_cast<size_t>(dout.numel())), dtable,
         [=, &ctx] { embedding_backward(ctx, index, dout, dtable); });
}

void place_job(Context& ctx, const UViCConfig& c, DType dtype, Job& job) {
  const Tensor src = tokens(c, c.patches(), dtype, job), x = tokens(c, c.tokens(), dtype, job);
  const Tensor pos = job.random(dtype, {c.tokens(), c.embed_dim});
  finish(job, sum_of_bytes(src, src) + static_cast<double>(pos.bytes()), x,
         [=, &ctx, first = c.extras()] { place_tokens(ctx, src, pos, first, x); });
}

void take_job(Context& ctx, const UViCConfig& c, DType dtype, Job& job) {
  const Tensor dx = tokens(c, c.tokens(), dtype, job), dsrc = tokens(c, c.patches(), dtype, job);
  finish(job, sum_of_bytes(dsrc, dsrc), dx, [=, &ctx, first = c.extras()] { take_tokens(ctx, dx, first, dsrc); });
}

void position_backward_job(Context& ctx, const UViCConfig& c, DType dtype, Job& job) {
  const Tensor dx = tokens(c, c.tokens(), dtype, job), dpos = job.zeros(DType::f32, {c.tokens(), c.embed_dim});
  finish(job, static_cast<double>(dx.bytes() + 2 * dpos.bytes()), dx, [=, &ctx] { position_backward(ctx, dx, dpos); });
}

const bool registered = [] {
  const auto add = [](const char* op, const MakeJob& make) {
    register_cases(op, networks(), working_dtypes(), best_isa_only(), make);
  };
  add("patchify/forward", patchify_job);
  add("patchify/backward", patchify_backward_job);
  add("unpatchify/forward", unpatchify_job);
  add("unpatchify/backward", unpatchify_backward_job);
  add("timestep_embedding/forward", timestep_job);
  add("embedding/forward", embedding_forward_job);
  add("embedding/backward", embedding_backward_job);
  add("place_tokens/forward", place_job);
  add("take_tokens/backward", take_job);
  add("position/backward", position_backward_job);
  return true;
}();

}  // namespace
}  // namespace uvic
