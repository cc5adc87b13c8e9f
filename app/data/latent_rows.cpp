#include "app/data/latent_rows.h"

#include "app/data/order.h"
#include "kernels/core/error.h"
#include "kernels/core/philox.h"
#include "kernels/core/text.h"
#include "model/io/finite.h"

namespace uvic {
namespace {

Shape batched(int64_t rows, const Shape& one) {
  Shape shape{rows};
  for (const int64_t d : one) shape.push_back(d);
  return shape;
}

}  // namespace

LatentRows::LatentRows(const LatentSource& data, const DataConfig& config, const LoaderOptions& options,
                       int64_t in_flight)
    : data_(data),
      samples_(samples(data, config)),
      seed_(options.seed),
      memory_(options.memory),
      choose_flip_(config.random_flip),
      bad_(data.info().path, samples_, config.max_bad_share),
      orders_(
          [seed = options.seed, n = samples_](int64_t epoch) {
            return EpochOrder{epoch_order(seed, epoch, n), {}};
          },
          samples_, in_flight) {
  if (choose_flip_ && !data.info().flips)
    throw Error(concat(data.info().path, ": no latents of mirrored images are here, but data.random_flip is true"),
                "set data.random_flip=false, or give uvic-encode images --flip");
}

Batch LatentRows::empty_batch(int64_t rows) const {
  Batch batch;
  batch.latents = OwnedTensor(memory_, DType::f32, batched(rows, data_.info().latent));
  if (data_.info().context.rank() > 0)
    batch.context = OwnedTensor(memory_, DType::f32, batched(rows, data_.info().context));
  return batch;
}

int32_t LatentRows::make(int64_t sample, Batch& batch, int64_t row) {
  const int64_t epoch = sample / samples_;
  const Tensor latent = batch.latents.tensor.rows(row, row + 1);
  const Tensor context = batch.context.tensor ? batch.context.tensor.rows(row, row + 1) : Tensor{};
  int64_t i = orders_.of(epoch)->images[static_cast<size_t>(sample % samples_)];
  for (int64_t tries = 0; tries < samples_; ++tries, i = (i + 1) % samples_) {
    if (bad_.contains(i)) continue;
    const int64_t image = samples_ == data_.size() ? i : i / 2;
    const Random4 r = philox({seed_, static_cast<uint32_t>(epoch), Stream::crop_flip, static_cast<uint32_t>(i)}, 0);
    const bool flipped = choose_flip_ ? r.v[0] >> 31 : samples_ != data_.size() && i % 2;
    const auto caption = static_cast<int64_t>(uint64_t{r.v[1]} * static_cast<uint64_t>(data_.captions(image)) >> 32);
    try {
      const int32_t label = data_.read(image, flipped, caption, latent, context);
      UVIC_CHECK(all_finite(latent) && (!context || all_finite(context)), data_.name(image),
                 ": a number is not finite");
      return label;
    } catch (const Error& e) {
      bad_.add(i, escape(e.what()));
    }
  }
  fail(data_.info().path, ": every latent is broken");
}

}  // namespace uvic
