// Skeletons drawn into an image, by the same calls as in rtseg_inference/pose_drawing.py.
#pragma once

#include <opencv2/core.hpp>
#include <utility>
#include <vector>

#include "pose.hpp"

namespace rtseg {

/// Draw the skeleton of a person into `image`; keypoints with a score of `threshold` or less, and their links, are left
/// out.
void draw(cv::Mat& image, const std::vector<Keypoint>& keypoints, const std::vector<std::pair<int, int>>& links,
          double threshold);

}  // namespace rtseg
