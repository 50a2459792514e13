#include "geometry.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "error.hpp"
#include "image_headers.hpp"

namespace rtseg {
namespace {

/// Sides in pixels, which the resize rule may make longer than any image.
struct Sides {
  std::int64_t height, width;
};

/// Sides after resizing. Halves round to even, as Python's round does.
Sides resized(cv::Size size, const Resize& resize) {
  const double longer = std::max(size.height, size.width), shorter = std::min(size.height, size.width);
  double scale = 1;
  switch (resize.rule) {
    case Rule::kExact:
      size = {resize.width, resize.height};
      break;
    case Rule::kFit:  // the largest size of the image's proportions inside the target, in either orientation
      scale = std::min(std::max(resize.height, resize.width) / longer, std::min(resize.height, resize.width) / shorter);
      break;
    case Rule::kLong:
      scale = resize.size / longer;
      break;
    case Rule::kShort: {
      double side = resize.size;
      if (resize.max && side / shorter * longer > *resize.max) side = std::trunc(*resize.max / longer * shorter);
      scale = side / shorter;
      break;
    }
    case Rule::kLimit:
      if (resize.max && longer > *resize.max) {
        scale = *resize.max / longer;
      } else if (resize.min && longer < *resize.min) {
        scale = *resize.min / longer;
      }
      break;
  }
  const auto finish = [&](int n) {
    constexpr double kEndless = 1e15;
    const auto rounded = static_cast<std::int64_t>(std::min(std::nearbyint(n * scale), kEndless));
    return resize.divisor ? (rounded + *resize.divisor - 1) / *resize.divisor * *resize.divisor : rounded;
  };
  return {finish(size.height), finish(size.width)};
}

double area(const Sides& sides) { return static_cast<double>(sides.height) * static_cast<double>(sides.width); }

}  // namespace

Geometry geometry(const Contract& contract, cv::Size image) {
  constexpr std::int64_t kMillion = 1'000'000;
  const Preprocessing& preprocess = contract.preprocess;
  Sides content{image.height, image.width};
  if (preprocess.resize) content = resized(image, *preprocess.resize);
  const Sides network = preprocess.pad ? Sides{preprocess.pad->height, preprocess.pad->width} : content;
  const std::int64_t limit = pixel_limit();
  const bool nothing = content.height < 1 || content.width < 1;
  if (nothing || std::max(area(content), area(network)) > static_cast<double>(limit))
    throw InputError("expected an image that the model resizes and pads to 1 to " + std::to_string(limit / kMillion) +
                     " million pixels, got " + std::to_string(image.width) + " x " + std::to_string(image.height) +
                     ", which becomes " + std::to_string(content.width) + " x " + std::to_string(content.height) +
                     "; crop the image");
  if (content.height > network.height || content.width > network.width)
    throw InputError("expected an image of at most " + std::to_string(network.height) + " x " +
                     std::to_string(network.width) + " pixels, which the model pads to that size, got " +
                     std::to_string(content.height) + " x " + std::to_string(content.width) + "; shrink the image");
  const auto size = [](const Sides& sides) {
    return cv::Size(static_cast<int>(sides.width), static_cast<int>(sides.height));
  };
  return {image, size(content), size(network)};
}

}  // namespace rtseg
