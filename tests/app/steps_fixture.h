#pragma once

// A run's steps without the run: its data, model and draws on a device.

#include "app/loaded_model.h"
#include "app/run_steps.h"
#include "app/training_data.h"
#include "tests/app/tiny_run.h"

namespace uvic::test {

struct StepsFixture {
  StepsFixture(const RunConfig& c, Device device)
      : config(c),
        ctx({.device = device, .threads = 1}),
        data(config.data),
        model(ctx, config.model, dtype_of_name(config.train.dtype, device), config.train.seed),
        draws(config, schedule_of(config.diffusion.schedule)),
        loader(data.load({.batch_size = config.train.batch_size,
                          .image_size = config.model.img_size,
                          .seed = config.train.seed,
                          .rows = rows,
                          .memory = host_memory_for(device)})),
        gradients(exchange, model.store.flat(Role::grad)),
        steps(ctx, config, model, draws, *loader, processes, gradients, rows) {}

  std::vector<double> weights() { return values(model.store.flat(Role::master)); }

  const RunConfig config;
  const Rows rows{0, config.train.batch_size};
  Processes processes{World{}};
  Context ctx;
  Exchange exchange{ctx, processes};
  TrainingData data;
  TrainedModel model;
  TrainingDraws draws;
  std::unique_ptr<BatchLoader> loader;
  GradientSum gradients;
  RunSteps steps;
};

}  // namespace uvic::test
