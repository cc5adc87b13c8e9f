#pragma once

#include <csignal>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "app/metrics/features.h"
#include "app/metrics/frechet.h"
#include "app/metrics/kid.h"
#include "app/sample_run.h"

namespace uvic {

// What uvic-fid is asked. A side is images (see open_images), an .npz of statistics, or a model to sample from; a may
// also be a training run, of which every checkpoint is scored.
struct FidRequest {
  std::string a, b;
  std::vector<std::string> metrics{"fid"};  // fid, sfid, is, kid, pr
  int64_t num = 0, num_ref = 0;             // images of a and of b; 0: all. A model needs a number.
  FeatureOptions features;
  KidOptions kid;
  int neighbours = 3;
  uint64_t seed = 0;     // image i of a model has seed + i
  SampleRequest sample;  // how a model makes images: everything but model, seeds and outputs
  const volatile std::sig_atomic_t* stop = nullptr;  // becomes non-zero in one of the processes: all end soon
};

struct FidSide {
  std::string path;
  std::string kind;    // "images", "statistics" or "model"
  std::string sha256;  // of the file of statistics or weights
  int64_t images = 0;  // 0: unknown
  int64_t step = 0;    // of a model
};

struct FidResult {
  FidSide a, b;
  FeatureKind kind;                                    // of the features; empty where neither side says
  std::string network;                                 // the file; empty where both sides are statistics
  std::vector<std::pair<std::string, double>> values;  // by metric: "fid", "is_mean", ...
  std::vector<std::string> warnings;
};

struct FidOutcome {
  std::vector<FidResult> results;  // in the first process: those that were finished
  bool interrupted = false;        // some were not
};

// Scores a against b, once a checkpoint by rising step. Every process makes the call; the first one gets the results
// and reports progress. Throws Error if a side cannot be read, has fewer images than asked for, was made in another way
// than the other, or lacks what a metric needs.
FidOutcome compare_sets(const FidRequest& request, Processes& processes);

// a's statistics, spatial ones too, to out (by the first process), which is the old file or the whole new one. Throws
// Error as above, and if out cannot be written, before the work where that can be known.
FidOutcome write_reference(const FidRequest& request, const std::filesystem::path& out, Processes& processes);

}  // namespace uvic
