#include "app/image_source.h"

#include "app/dataset.h"
#include "model/io/npz.h"

namespace uvic {
namespace {

class DatasetImages : public ImageSource {
 public:
  explicit DatasetImages(const std::string& path)
      : data_([&] {
          DataConfig config;
          config.path = path;
          return config;
        }()) {}
  int64_t size() const override { return data_.size(); }
  std::function<Image()> fetch(int64_t i) override {
    return [this, i] { return data_.load(i); };
  }

 private:
  Dataset data_;
};

class NpzImages : public ImageSource {
 public:
  explicit NpzImages(const std::string& path) : stream_(NpzFile(path).open("arr_0")) {
    const NpyHeader& h = stream_.header;
    UVIC_CHECK(
        h.dtype() == DType::u8 && h.shape.rank() == 4 && h.shape[3] == 3 && h.shape[1] * h.shape[2] <= kMaxPixels, path,
        ": arr_0 is ", h.dtype(), " ", h.shape, ", not RGB images [N, h, w, 3] u8");
    UVIC_CHECK(h.shape.numel() > 0, path, ": arr_0 is ", h.shape, ": it holds no images");
    UVIC_CHECK(!h.fortran_order, path, ": arr_0 is in Fortran order, in which images cannot be read one by one");
  }
  int64_t size() const override { return stream_.header.shape[0]; }
  std::function<Image()> fetch(int64_t i) override {
    const Shape& shape = stream_.header.shape;
    Image image{static_cast<int>(shape[1]), static_cast<int>(shape[2]), {}};
    image.rgb.resize(static_cast<size_t>(shape[1] * shape[2] * 3));
    stream_.data.skip(static_cast<uint64_t>(i - next_) * image.rgb.size());
    stream_.data.read(image.rgb.data(), image.rgb.size());
    next_ = i + 1;
    if (next_ == size()) stream_.data.expect_end();
    return [image = std::move(image)] { return image; };
  }

 private:
  NpzFile::Stream stream_;
  int64_t next_ = 0;
};

}  // namespace

std::unique_ptr<ImageSource> open_images(const std::string& path) {
  if (path.ends_with(".npz")) return std::make_unique<NpzImages>(path);
  return std::make_unique<DatasetImages>(path);
}

}  // namespace uvic
