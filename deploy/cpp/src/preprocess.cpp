#include "preprocess.hpp"

#include <algorithm>
#include <cstdint>
#include <opencv2/core/utility.hpp>
#include <opencv2/imgproc.hpp>
#include <string>
#include <utility>

#include "error.hpp"
#include "geometry.hpp"
#include "image_headers.hpp"
#include "npy.hpp"

namespace rtseg {
namespace {

int opencv_method(Interpolation interpolation) {
  switch (interpolation) {
    case Interpolation::kNearest:
      return cv::INTER_NEAREST;
    case Interpolation::kCubic:
      return cv::INTER_CUBIC;
    case Interpolation::kArea:
      return cv::INTER_AREA;
    case Interpolation::kLinear:
      break;
  }
  return cv::INTER_LINEAR;
}

/// Rows of one channel as floats.
cv::Mat floats(const cv::Mat& image, int channel) {
  cv::Mat pixels;
  cv::extractChannel(image, pixels, channel);
  pixels.convertTo(pixels, CV_32F);
  return pixels;
}

/// cv::resize of one channel with INTER_LINEAR and with its arithmetic, row by row: the floats of a large image take much
/// memory.
cv::Mat resize_rows(const cv::Mat& image, int channel, cv::Size size) {
  cv::Mat resized(size, CV_32F), wide;
  const double scale = 1.0 / (static_cast<double>(size.height) / image.rows);
  for (int y = 0; y < size.height; ++y) {
    auto share = static_cast<float>((y + 0.5) * scale - 0.5);
    const int floor = cvFloor(share);
    share -= static_cast<float>(floor);
    cv::Mat pair;
    for (const int row : {floor, floor + 1})
      pair.push_back(floats(image.row(std::clamp(row, 0, image.rows - 1)), channel));
    cv::resize(pair, wide, cv::Size(size.width, 2), 0, 0, cv::INTER_LINEAR);
    const float* const above = wide.ptr<float>(0);
    const float* const below = wide.ptr<float>(1);
    float* const row = resized.ptr<float>(y);
    for (int x = 0; x < size.width; ++x) row[x] = above[x] * (1 - share) + below[x] * share;
  }
  return resized;
}

/// One channel of an image at `size`, as floats.
cv::Mat resize_channel(const cv::Mat& image, int channel, cv::Size size, int method) {
  cv::ipp::setUseIPP(false);  // its resize differs in the last bits from OpenCV's own, and from machine to machine
  if (method == cv::INTER_LINEAR && static_cast<std::int64_t>(image.total()) > kLarge)
    return resize_rows(image, channel, size);
  cv::Mat resized;
  cv::resize(floats(image, channel), resized, size, 0, 0, method);
  return resized;
}

}  // namespace

Preprocessor::Preprocessor(Contract contract) : contract_(std::move(contract)), tables_{} {
  order_ = contract_.input.color == "RGB" ? std::array<int, 3>{2, 1, 0} : std::array<int, 3>{0, 1, 2};
  for (int c = 0; c < 3; ++c)
    for (int value = 0; value < 256; ++value) tables_[c][value] = normalise(static_cast<float>(value), c);
}

Batch Preprocessor::operator()(const std::vector<cv::Mat>& images) const {
  std::vector<cv::Size> sizes;
  for (const cv::Mat& image : images) {
    if (image.type() != CV_8UC3) throw InputError("expected 8-bit BGR images of three channels; convert the image");
    sizes.push_back(image.size());
  }
  Batch batch;
  batch.shape = input_shape(sizes);
  const bool raw = contract_.raw_input();
  const int axis = raw ? 1 : 2;
  const cv::Size size(batch.shape[axis + 1], batch.shape[axis]);
  const std::size_t volume = 3 * static_cast<std::size_t>(size.area());
  if (raw) {
    batch.raw.reserve(images.size() * volume);
    for (const cv::Mat& image : images)
      for (int y = 0; y < image.rows; ++y)
        batch.raw.insert(batch.raw.end(), image.ptr(y), image.ptr(y) + 3 * static_cast<std::size_t>(image.cols));
  } else {
    batch.values.resize(images.size() * volume);
    for (std::size_t i = 0; i < images.size(); ++i) fill(images[i], size, &batch.values[i * volume]);
  }
  return batch;
}

std::vector<int> Preprocessor::input_shape(const std::vector<cv::Size>& images) const {
  const bool raw = contract_.raw_input();
  const auto size_of = [&](cv::Size image) { return raw ? image : geometry(contract_, image).network; };
  const cv::Size size = size_of(images.at(0));
  for (const cv::Size& image : images)
    if (size_of(image) != size)
      throw InputError("expected the images of a batch to have one size, got " + shape_text({size.height, size.width}) +
                       " and " + shape_text({size_of(image).height, size_of(image).width}) +
                       "; predict them one at a time");
  const int count = static_cast<int>(images.size());
  const std::vector<int> shape =
      raw ? std::vector<int>{count, size.height, size.width, 3} : std::vector<int>{count, 3, size.height, size.width};
  if (!contract_.input.shape.contains(shape))
    throw InputError("the model takes " + contract_.input.layout + " inputs of " + contract_.input.shape.text() +
                     ", got " + shape_text(shape) +
                     "; resize the image (in commands: --fit resize or tile), or export the model for this size");
  const std::int64_t pixels = std::int64_t{count} * size.height * size.width, limit = pixel_limit();
  if (contract_.input.shape.min[0] > 1 && pixels > limit)  // filled up with copies
    throw InputError("expected at most " + std::to_string(limit / 1'000'000) + " million pixels in the model's batch of " +
                     std::to_string(contract_.input.shape.min[0]) + ", got " + std::to_string(count) + " images of " +
                     std::to_string(size.width) + " x " + std::to_string(size.height) +
                     "; shrink them, or raise RTSEG_MEGAPIXELS");
  return shape;
}

/// Write the normalised image (H, W, 3) to out (3, h, w).
void Preprocessor::fill(const cv::Mat& image, cv::Size network, float* out) const {
  const Preprocessing& preprocess = contract_.preprocess;
  const cv::Size content = geometry(contract_, image.size()).content;
  const bool as_stored = !preprocess.resize || content == image.size();
  for (int c = 0; c < 3; ++c) {
    cv::Mat resized;
    if (!as_stored)
      resized = resize_channel(image, order_[c], content, opencv_method(preprocess.resize->interpolation));
    float* plane = out + static_cast<std::size_t>(c) * network.area();
    if (preprocess.pad)
      std::fill(plane, plane + network.area(), normalise(static_cast<float>(preprocess.pad->value), c));
    for (int y = 0; y < content.height; ++y) {
      float* row = plane + static_cast<std::size_t>(y) * network.width;
      if (as_stored) {  // 8-bit pixels take one of 256 values
        const std::uint8_t* pixels = image.ptr(y) + order_[c];
        for (int x = 0; x < content.width; ++x) row[x] = tables_[c][pixels[3 * x]];
      } else {
        const float* pixels = resized.ptr<float>(y);
        for (int x = 0; x < content.width; ++x) row[x] = normalise(pixels[x], c);
      }
    }
  }
}

/// As in PaddleSeg, with which the weights were trained: division by 255 in float32, then each step in float64, rounded
/// to float32.
float Preprocessor::normalise(float pixel, int channel) const {
  const double scale = contract_.preprocess.scale;
  const float scaled = scale == 1.0 / 255 ? pixel / 255.0F : pixel * static_cast<float>(scale);
  const auto centred = static_cast<float>(scaled - contract_.preprocess.mean[channel]);
  return static_cast<float>(centred / contract_.preprocess.std[channel]);
}

}  // namespace rtseg
