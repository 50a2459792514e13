#include "geometry.hpp"

#include <algorithm>
#include <cmath>

#include "error.hpp"

namespace rtseg {
namespace {

/// Size after resizing. Halves round to even, as Python's round does.
cv::Size resized(cv::Size size, const Resize& resize) {
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
    const int rounded = static_cast<int>(std::nearbyint(n * scale));
    return resize.divisor ? (rounded + *resize.divisor - 1) / *resize.divisor * *resize.divisor : rounded;
  };
  return {finish(size.width), finish(size.height)};
}

}  // namespace

Geometry geometry(const Contract& contract, cv::Size image) {
  const Preprocessing& preprocess = contract.preprocess;
  const cv::Size content = preprocess.resize ? resized(image, *preprocess.resize) : image;
  if (!preprocess.pad) return {image, content, content};
  const cv::Size network(preprocess.pad->width, preprocess.pad->height);
  if (content.height > network.height || content.width > network.width)
    throw InputError("expected an image of at most " + std::to_string(network.height) + " x " +
                     std::to_string(network.width) + " pixels, which the model pads to that size, got " +
                     std::to_string(content.height) + " x " + std::to_string(content.width) + "; shrink the image");
  return {image, content, network};
}

}  // namespace rtseg
