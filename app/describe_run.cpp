#include "app/loaded_model.h"
#include "app/trainer.h"

namespace uvic {

std::string describe_run(const RunConfig& config) {
  ParamStore store({});
  const UViC net(store, config.model);
  const double params = static_cast<double>(store.count());
  const double step_flops = 3 * config.model.forward_flops() * config.train.batch_size;
  const DType dtype = dtype_of_name(config.train.dtype);
  // Master, gradient, two moments, averages; working copy.
  const double bytes_each = (4 + static_cast<double>(config.train.ema_rate.size())) * 4 + (dtype == DType::f32 ? 0 : 2);
  char text[256];
  std::snprintf(text, sizeof text,
                "%.2f M parameters, %d tokens, %.4f TFLOP a step of %d images, %.1f MiB of weights and state, %s\n",
                params / 1e6, config.model.tokens(), step_flops / 1e12, config.train.batch_size,
                params * bytes_each / (1 << 20), name_of(dtype));
  return text;
}

}  // namespace uvic
