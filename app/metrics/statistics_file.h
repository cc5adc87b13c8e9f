#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "app/metrics/moments.h"

namespace uvic {

// How features were made. Distances between features made in different ways mean nothing.
struct FeatureKind {
  std::string protocol;  // "tf1", "pytorch", "clean"; empty: unknown, and so is all that follows
  std::string network;   // SHA-256 of the file of weights
  std::string pool;      // of Mixed_7c: "max" or "average"
  bool unit = false;     // images were scaled to [0, 1]
  bool operator==(const FeatureKind&) const = default;
};

// A set of images as mean and covariance of its features.
struct Statistics {
  Gaussian pool3;
  std::optional<Gaussian> spatial;
  FeatureKind kind;
  int64_t images = 0;  // 0: unknown
};

// Whether a file holds statistics: an .npz with mu or sigma, or a .pt of NumPy arrays, as torch-fidelity keeps them.
bool holds_statistics(const std::filesystem::path& path);

// From pytorch-fid's mu and sigma, torch-fidelity's, or ADM's with mu_s and sigma_s, f32 or f64; kind and number of
// images from the array "uvic" that write_statistics adds, which other tools ignore. Throws Error naming the file and
// the array that is missing, does not fit, holds what is not finite or is no covariance.
Statistics read_statistics(const std::filesystem::path& path);

// Throws Error unless path ends in .npz or .pt.
void check_statistics_name(const std::filesystem::path& path);

// All in f64; as .pt, for torch-fidelity, the means in f32 as it has them. Path is the old file or the whole new one.
// Throws Error naming path.
void write_statistics(const std::filesystem::path& path, const Statistics& statistics);

}  // namespace uvic
