// Top-down pose estimation around the network: a person's box to the network's input, heatmaps back to keypoints.
// rtseg_inference/pose.py is the same in Python, and names its sources.
#pragma once

#include <array>
#include <opencv2/core.hpp>
#include <vector>

#include "pose_contract.hpp"

namespace rtseg {

constexpr int kStride = 4;  ///< pixels of the network's input for each cell of a heatmap

using Corners = std::array<double, 4>;  ///< left, top, right, bottom in pixels

/// The upright rectangle of an image that becomes the network's input.
struct Region {
  cv::Point2d center, scale;  ///< scale: width and height, in the input's aspect ratio
};

/// A keypoint in pixels; its score is the maximum of its heatmap, 0 or below if it was not found.
struct Keypoint {
  cv::Point2d place;
  float score = 0;
};

/// The heatmaps (B, K, h, w) of a batch.
struct Heatmaps {
  int count = 0, keypoints = 0, height = 0, width = 0;
  std::vector<float> values;

  float* map(int person, int keypoint) {
    return &values[(static_cast<std::size_t>(person) * keypoints + keypoint) * height * width];
  }
  const float* map(int person, int keypoint) const { return const_cast<Heatmaps*>(this)->map(person, keypoint); }
};

/// A box cut off at the first and last pixels of its image.
Corners clipped(const Corners& box, cv::Size image);

/// The region around a box: `padding` times as large, then its smaller side grown to the aspect ratio of the input.
Region region_of(const Corners& box, const Pose& pose);

/// The region at the size of the network's input, linearly interpolated, black outside the image.
cv::Mat crop(const cv::Mat& image, const Region& region, const Pose& pose);

/// A place in the network's input -> in the image.
cv::Point2d to_image(cv::Point2d place, const Region& region, const Pose& pose);

/// The keypoints of a person in pixels of the network's input. One that was not found is at -kStride.
std::vector<Keypoint> decode(const Heatmaps& heatmaps, int person, Decoding rule);

/// The mean of the heatmaps and those of the mirrored persons, as the network gave them.
void average_flipped(Heatmaps& heatmaps, const Heatmaps& mirrored, const Pose& pose);

}  // namespace rtseg
