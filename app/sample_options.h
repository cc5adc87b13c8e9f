#pragma once

#include "app/sample_run.h"

namespace CLI {
class App;
}

namespace uvic {

// Declares on app the options that say how a model makes an image: conditions, guidance, solver, device, dtype. They go
// straight into request, which must outlive the parsing.
void declare_sampling_options(CLI::App& app, SampleRequest& request);

}  // namespace uvic
