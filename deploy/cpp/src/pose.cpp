#include "pose.hpp"

#include <algorithm>
#include <cmath>
#include <opencv2/core/utility.hpp>
#include <opencv2/imgproc.hpp>

namespace rtseg {
namespace {

constexpr int kDarkKernel = 11;

double sign(float value) {
  return value > 0 ? 1 : value < 0 ? -1 : 0;
}

/// A quarter of a cell towards the larger neighbour.
cv::Point2d quarter_shift(const cv::Mat& map, int x, int y) {
  cv::Point2d shift;
  if (1 < x && x < map.cols - 1 && 0 < y && y < map.rows)
    shift.x = 0.25 * sign(map.at<float>(y, x + 1) - map.at<float>(y, x - 1));
  if (1 < y && y < map.rows - 1 && 0 < x && x < map.cols)
    shift.y = 0.25 * sign(map.at<float>(y + 1, x) - map.at<float>(y - 1, x));
  return shift;
}

/// A heatmap under a Gaussian, with zeros around it, and the maximum as before.
cv::Mat smoothed(const cv::Mat& map) {
  constexpr int kBorder = (kDarkKernel - 1) / 2;
  cv::Mat padded, blurred;
  cv::copyMakeBorder(map, padded, kBorder, kBorder, kBorder, kBorder, cv::BORDER_CONSTANT, cv::Scalar(0));
  cv::GaussianBlur(padded, blurred, {kDarkKernel, kDarkKernel}, 0);
  cv::Mat smooth = blurred(cv::Rect(kBorder, kBorder, map.cols, map.rows)).clone();
  double before = 0, after = 0;
  cv::minMaxLoc(map, nullptr, &before);
  cv::minMaxLoc(smooth, nullptr, &after);
  const float factor = static_cast<float>(before) / static_cast<float>(after);
  for (float& value : cv::Mat_<float>(smooth)) value *= factor;
  return smooth;
}

/// To the maximum of a Taylor expansion of the smoothed heatmap's logarithm.
cv::Point2d dark_shift(const cv::Mat& map, int x, int y) {
  if (!(1 < x && x < map.cols - 2 && 1 < y && y < map.rows - 2)) return {};
  const cv::Mat smooth = smoothed(map);
  for (const float value : cv::Mat_<float>(smooth))
    if (!std::isfinite(value)) return {};
  const auto at = [&](int row, int column) {
    return std::log(std::max<double>(smooth.at<float>(y + row - 2, x + column - 2), 1e-10));
  };
  const double slope_x = (at(2, 3) - at(2, 1)) / 2, slope_y = (at(3, 2) - at(1, 2)) / 2;
  const double twist = (at(3, 3) - at(1, 3) - at(3, 1) + at(1, 1)) / 4;
  const double bend_x = (at(2, 4) - 2 * at(2, 2) + at(2, 0)) / 4, bend_y = (at(4, 2) - 2 * at(2, 2) + at(0, 2)) / 4;
  const double determinant = bend_x * bend_y - twist * twist;
  if (determinant == 0) return {};
  return {(twist * slope_y - bend_y * slope_x) / determinant, (twist * slope_x - bend_x * slope_y) / determinant};
}

}  // namespace

Corners clipped(const Corners& box, cv::Size image) {
  const auto within = [](double value, int side) { return std::min(std::max(value, 0.0), side - 1.0); };
  return {within(box[0], image.width), within(box[1], image.height), within(box[2], image.width),
          within(box[3], image.height)};
}

Region region_of(const Corners& box, const Pose& pose) {
  const double aspect = static_cast<double>(pose.width) / pose.height;
  const double width = (box[2] - box[0]) * pose.padding, height = (box[3] - box[1]) * pose.padding;
  return {{(box[0] + box[2]) / 2, (box[1] + box[3]) / 2},
          {std::max(width, height * aspect), std::max(height, width / aspect)}};
}

cv::Mat crop(const cv::Mat& image, const Region& region, const Pose& pose) {
  const double factor = pose.width / region.scale.x;
  const cv::Matx23d matrix(factor, 0, pose.width / 2.0 - factor * region.center.x,  //
                           0, factor, pose.height / 2.0 - factor * region.center.y);
  cv::ipp::setUseIPP(false);  // as in Preprocessor
  cv::Mat pixels;
  cv::warpAffine(image, pixels, matrix, {pose.width, pose.height}, cv::INTER_LINEAR);
  return pixels;
}

cv::Point2d to_image(cv::Point2d place, const Region& region, const Pose& pose) {
  return {place.x / pose.width * region.scale.x + region.center.x - region.scale.x / 2,
          place.y / pose.height * region.scale.y + region.center.y - region.scale.y / 2};
}

std::vector<Keypoint> decode(const Heatmaps& heatmaps, int person, Decoding rule) {
  std::vector<Keypoint> found;
  for (int k = 0; k < heatmaps.keypoints; ++k) {
    const float* values = heatmaps.map(person, k);
    const auto best = static_cast<int>(std::max_element(values, values + heatmaps.height * heatmaps.width) - values);
    Keypoint keypoint{{-1, -1}, values[best]};
    if (keypoint.score > 0) {
      const int x = best % heatmaps.width, y = best / heatmaps.width;
      const cv::Mat map(heatmaps.height, heatmaps.width, CV_32F, const_cast<float*>(values));
      keypoint.place = cv::Point2d(x, y);
      if (rule == Decoding::kQuarter) keypoint.place += quarter_shift(map, x, y);
      if (rule == Decoding::kDark) keypoint.place += dark_shift(map, x, y);
    }
    keypoint.place *= kStride;
    found.push_back(keypoint);
  }
  return found;
}

void average_flipped(Heatmaps& heatmaps, const Heatmaps& mirrored, const Pose& pose) {
  const int width = heatmaps.width;
  for (int person = 0; person < heatmaps.count; ++person)
    for (int k = 0; k < heatmaps.keypoints; ++k) {
      float* row = heatmaps.map(person, k);
      const float* other = mirrored.map(person, pose.flip_indices[k]);
      for (int y = 0; y < heatmaps.height; ++y, row += width, other += width)
        for (int x = 0; x < width; ++x) {
          const int from = pose.shift ? std::max(x - 1, 0) : x;  // the first column keeps its values
          row[x] = (row[x] + other[width - 1 - from]) / 2;
        }
    }
}

}  // namespace rtseg
