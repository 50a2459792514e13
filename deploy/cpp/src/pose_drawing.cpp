#include "pose_drawing.hpp"

#include <algorithm>
#include <cmath>
#include <opencv2/imgproc.hpp>

namespace rtseg {
namespace {

/// Of links and keypoints in turn, BGR.
const cv::Scalar kColors[] = {{0, 165, 255}, {80, 220, 80},  {255, 144, 30}, {60, 60, 255},
                              {255, 220, 0}, {200, 80, 255}, {0, 230, 230},  {180, 130, 70}};
constexpr std::size_t kColorCount = sizeof kColors / sizeof *kColors;
constexpr int kSide = 400;        // pixels of an image's longer side for each pixel of a line's width
constexpr double kRadius = 1.5;   // of a keypoint's circle, in widths of a line
const cv::Scalar kDark(32, 32, 32);

}  // namespace

void draw(cv::Mat& image, const std::vector<Keypoint>& keypoints, const std::vector<std::pair<int, int>>& links,
          double threshold) {
  const int width = std::max(1, (std::max(image.rows, image.cols) + kSide / 2) / kSide);
  const int radius = static_cast<int>(std::ceil(kRadius * width));
  std::vector<cv::Point> points;
  for (const auto& [place, score] : keypoints)
    points.emplace_back(static_cast<int>(std::floor(place.x + 0.5)), static_cast<int>(std::floor(place.y + 0.5)));
  for (std::size_t i = 0; i < links.size(); ++i) {
    const auto& [first, second] = links[i];
    if (std::min(keypoints[first].score, keypoints[second].score) > threshold)
      cv::line(image, points[first], points[second], kColors[i % kColorCount], width, cv::LINE_AA);
  }
  for (std::size_t k = 0; k < points.size(); ++k) {
    if (!(keypoints[k].score > threshold)) continue;
    cv::circle(image, points[k], radius, kColors[k % kColorCount], -1, cv::LINE_AA);
    cv::circle(image, points[k], radius, kDark, 1, cv::LINE_AA);
  }
}

}  // namespace rtseg
