// Reading images: decoding, cropping, and whole batches from folders and shards, with as many decoding threads as
// cores.

#include <benchmark/benchmark.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "app/data/tar_writer.h"
#include "app/dataset.h"
#include "app/resize.h"
#include "kernels/core/error.h"
#include "kernels/core/philox.h"
#include "model/io/file.h"

namespace uvic {
namespace {

namespace fs = std::filesystem;

// Edges, gradients and a little noise: 400 x 300 pixels take 20 to 30 kB as JPEG, as photos of that size do.
Image picture(int height, int width, uint32_t seed) {
  Image image{height, width, {}};
  Random4 r{};
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) {
      const auto pixel = static_cast<uint32_t>(y * width + x);
      if (pixel % 4 == 0) r = philox({seed, 0, Stream::initial_noise, 0}, pixel / 4);
      const int block = 60 * ((x / 50 + y / 40 + static_cast<int>(seed)) % 3),
                noise = static_cast<int>(r.v[pixel % 4] >> 28);
      image.rgb.insert(image.rgb.end(),
                       {static_cast<uint8_t>(block + noise + x / 4), static_cast<uint8_t>(block + noise + y / 3),
                        static_cast<uint8_t>(200 - block + noise)});
    }
  return image;
}

class Files {
 public:
  Files() { fs::create_directories(root_); }
  ~Files() { fs::remove_all(root_); }

  // Files of that many pictures, as a folder or as four shards.
  fs::path make(int count, int height, int width, bool shards) {
    const fs::path at = root_ / concat(height, "x", width, shards ? "-tar" : "");
    if (fs::exists(at)) return at;
    fs::create_directories(at / "a");
    for (int s = 0; s < 4; ++s) {
      std::unique_ptr<TarWriter> tar;
      if (shards) tar = std::make_unique<TarWriter>(at / concat(s, ".tar"));
      for (int i = s; i < count; i += 4) {
        const std::vector<uint8_t> jpeg = encode_jpeg(picture(height, width, static_cast<uint32_t>(i)), 90);
        const std::string name = concat("a/", i, ".jpg");
        if (tar) tar->add(name, jpeg);
        if (!tar) {
          AtomicFile file(at / name);
          file.write(jpeg.data(), jpeg.size());
          file.commit();
        }
      }
      if (tar) tar->commit();
    }
    return at;
  }

 private:
  fs::path root_ = fs::temp_directory_path() / concat("uvic-data-bench-", ::getpid());
};
Files files;

void images_a_second(benchmark::State& state, int64_t images) {
  state.counters["images/s"] =
      benchmark::Counter(static_cast<double>(state.iterations() * images), benchmark::Counter::kIsRate);
}

void decode(benchmark::State& state) {
  const std::vector<uint8_t> jpeg = encode_jpeg(picture(300, 400, 1), 90);
  for (auto step : state) benchmark::DoNotOptimize(decode_image(jpeg, "x"));
  state.SetLabel(concat(jpeg.size(), " bytes"));
  images_a_second(state, 1);
}

void crop(benchmark::State& state, int size, Image (*how)(const Image&, int)) {
  const Image image = picture(300, 400, 1);
  for (auto step : state) benchmark::DoNotOptimize(how(image, size));
  images_a_second(state, 1);
}
Image random_crop(const Image& image, int size) { return random_crop_arr(image, size, 0.5f, 0.5f, 0.5f); }

void load(benchmark::State& state, int height, int width, int size, bool shards) {
  DataConfig config;
  config.path = files.make(512, height, width, shards).string();
  config.reading = shards ? "sequential" : "auto";
  config.shuffle_buffer = 128;
  config.cache_mb = 0;  // what a set costs that does not fit in memory
  config.workers = static_cast<int>(std::thread::hardware_concurrency());
  const Dataset data(config);
  constexpr int64_t kBatch = 64;
  BatchLoader loader(data, config, {.batch_size = kBatch, .image_size = size});
  loader.next();
  for (auto step : state) benchmark::DoNotOptimize(loader.next());
  images_a_second(state, kBatch);
}

BENCHMARK(decode)->Name("decode/400x300")->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(crop, 400x300_to_64, 64, center_crop_arr)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(crop, 400x300_to_256, 256, center_crop_arr)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(crop, 400x300_random_to_64, 64, random_crop)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(load, folder_32x32, 32, 32, 32, false)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(load, shards_32x32, 32, 32, 32, true)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(load, folder_400x300_to_64, 300, 400, 64, false)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(load, shards_400x300_to_64, 300, 400, 64, true)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace uvic
