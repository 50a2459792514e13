#include "geometry.hpp"

#include <algorithm>
#include <cmath>

#include "error.hpp"

namespace rtseg {
namespace {

/// Size after a resize rule. Halves round to even, as Python's round does.
cv::Size resized(cv::Size size, const ResizeRule& rule) {
  const double longer = std::max(size.height, size.width), shorter = std::min(size.height, size.width);
  double scale = 1;
  if (rule.rule == "exact") {
    size = {rule.width, rule.height};
  } else if (rule.rule == "fit") {  // the largest of the image's proportions in the target, whichever way it is turned
    scale = std::min(std::max(rule.height, rule.width) / longer, std::min(rule.height, rule.width) / shorter);
  } else if (rule.rule == "long") {
    scale = rule.size / longer;
  } else if (rule.rule == "short") {
    double side = rule.size;
    if (rule.max > 0 && side / shorter * longer > rule.max) side = std::trunc(rule.max / longer * shorter);
    scale = side / shorter;
  } else if (rule.rule == "limit") {
    if (rule.max > 0 && longer > rule.max) {
      scale = rule.max / longer;
    } else if (rule.min > 0 && longer < rule.min) {
      scale = rule.min / longer;
    }
  }
  const auto finish = [&](int n) {
    const int rounded = static_cast<int>(std::nearbyint(n * scale));
    return rule.divisor > 0 ? (rounded + rule.divisor - 1) / rule.divisor * rule.divisor : rounded;
  };
  return {finish(size.width), finish(size.height)};
}

}  // namespace

Geometry geometry(const Contract& contract, cv::Size image) {
  const cv::Size content = contract.resize ? resized(image, *contract.resize) : image;
  if (!contract.pad) return {image, content, content};
  const cv::Size network(contract.pad->width, contract.pad->height);
  if (content.height > network.height || content.width > network.width)
    throw InputError("expected an image of at most " + std::to_string(network.height) + " x " +
                     std::to_string(network.width) + " pixels, which the model pads to that size, got " +
                     std::to_string(content.height) + " x " + std::to_string(content.width) + "; shrink the image");
  return {image, content, network};
}

}  // namespace rtseg
