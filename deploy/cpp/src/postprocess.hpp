// From the network's output to class ids at the image's size.
#pragma once

#include <cstdint>
#include <opencv2/core.hpp>
#include <vector>

#include "geometry.hpp"

namespace rtseg {

/// Planes of one image's logits or probabilities, (C, h, w) float32, one after the other.
struct Planes {
  const float* data;
  int count;
  cv::Size size;

  const float* plane(int k) const { return data + static_cast<std::size_t>(k) * size.area(); }
};

/// Class ids at the image's size: CV_8U, or CV_16U for more than 256 classes. Planes at any resolution are resized
/// bilinearly (half-pixel centres) before the argmax; the first of equal classes wins. Uses sparse_argmax where it
/// applies and full_argmax otherwise; the ids are the same.
cv::Mat argmax(const Planes& planes, const Geometry& sizes);

/// The same by computing each class at each pixel: upsample to the network's input, drop the padding, resize to the
/// image, as the model's own last step and PaddleSeg's predict do.
cv::Mat full_argmax(const Planes& planes, const Geometry& sizes);

/// The same for low-resolution planes where the image was not resized, at a fraction of the cost, and pixel for pixel
/// equal to full_argmax.
///
/// Bilinear interpolation keeps order: a class that is above another at the four corners of a cell of the
/// low-resolution grid is above it everywhere in the cell, in floating point too, as rounding keeps order and the
/// margin asked for is wider than the rounding errors. So a cell whose corners agree is filled without interpolation,
/// and in the others only the classes that can win are interpolated.
cv::Mat sparse_argmax(const Planes& planes, cv::Size network, cv::Size image);

/// Class ids at the network's input -> at the image's size, by nearest-neighbour.
cv::Mat restore_ids(const cv::Mat& ids, const Geometry& sizes);

/// The probability of each pixel's class, which is the largest, CV_32F at the image's size, from planes of logits or of
/// probabilities.
cv::Mat confidence(const Planes& planes, const Geometry& sizes, bool probabilities);

}  // namespace rtseg
