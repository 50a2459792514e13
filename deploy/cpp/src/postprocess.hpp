// From the network's output to class ids at the image's size.
#pragma once

#include <cstdint>
#include <functional>
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

/// OpenCV's type of class ids: CV_8U, or CV_16U for more than 256 classes.
int id_type(int classes);

/// Class ids at the image's size: CV_8U, or CV_16U for more than 256 classes. Planes at any resolution are resized
/// bilinearly (half-pixel centres) before the argmax; the first of equal classes wins. Uses sparse_argmax where it
/// applies and full_argmax otherwise; the ids are the same.
cv::Mat argmax(const Planes& planes, const Geometry& sizes);

/// Memory for a plane at the network's and at the image's size, which one call after the other may use.
struct Scratch {
  cv::Mat network, image;
};

/// Plane k at the image's size: upsampled to the network's input, without the padding, and resized to the image, as the
/// model's own last step and PaddleSeg's predict do. It refers to the memory of `planes` or of `scratch`.
cv::Mat restore(const Planes& planes, int k, const Geometry& sizes, Scratch& scratch);

/// The number of the first of the largest planes, all CV_32F and of one size, at each pixel. Only one is there at a time.
cv::Mat largest(int count, const std::function<cv::Mat(int)>& plane);

/// The same by computing each class at each pixel.
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

/// The probability of each pixel's class, which is the largest, CV_32F, from planes of logits or of probabilities, all
/// CV_32F and of one size. Only one is there at a time.
cv::Mat confidence(int count, const std::function<cv::Mat(int)>& plane, bool probabilities);

/// The same at the image's size.
cv::Mat confidence(const Planes& planes, const Geometry& sizes, bool probabilities);

}  // namespace rtseg
