// The sizes that an image passes through on its way to the network and back.
#pragma once

#include <opencv2/core.hpp>

#include "contract.hpp"

namespace rtseg {

/// Image, resized to `content`, padded at the right and the bottom to `network`.
struct Geometry {
  cv::Size image, content, network;
};

/// How the contract's resize and pad rules treat an image of that size. Throws InputError if the image is larger than
/// what it is to be padded to, or would be resized to nothing or to more pixels than pixel_limit().
Geometry geometry(const Contract& contract, cv::Size image);

}  // namespace rtseg
