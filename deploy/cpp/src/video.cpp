#include "video.hpp"

#include <algorithm>
#include <cstdio>
#include <opencv2/imgproc.hpp>

#include "error.hpp"

namespace rtseg {
namespace {

constexpr int kCell = 4;  // pixels

/// For each of `count` values along one side of the network's output, the cell around its place in the frame.
std::vector<int> cells_of(int count, int network, int content, int cells) {
  std::vector<int> found;
  for (int i = 0; i < count; ++i) {
    const double centre = (i + 0.5) * (network / static_cast<double>(count));  // in pixels of the network's input
    found.push_back(std::min(static_cast<int>(centre * (cells / static_cast<double>(content))), cells - 1));
  }
  return found;
}

}  // namespace

cv::Mat Stillness::next(const cv::Mat& image) {
  const cv::Mat before = size_ == image.size() ? cells_ : cv::Mat();
  const cv::Size cells((image.cols + kCell - 1) / kCell, (image.rows + kCell - 1) / kCell);
  size_ = image.size();
  cells_ = cv::Mat();
  cv::resize(image, cells_, cells, 0, 0, cv::INTER_AREA);
  if (before.empty()) return {};
  cv::Mat change, still;
  cv::absdiff(cells_, before, change);
  std::vector<cv::Mat> channels;
  cv::split(change, channels);
  cv::compare(cv::max(cv::max(channels[0], channels[1]), channels[2]), motion_, still, cv::CMP_LE);
  return still;
}

void Flicker::add(const cv::Mat& mask, const cv::Mat& still) {
  const cv::Mat before = mask_;
  mask_ = mask;
  if (still.empty() || before.empty()) return;
  cv::Mat whole;
  cv::resize(still, whole, mask.size(), 0, 0, cv::INTER_NEAREST);
  compared_ += static_cast<double>(mask.total());
  still_ += cv::countNonZero(whole);
  changed_ += cv::countNonZero(whole & (mask != before));
}

std::string Flicker::text() const {
  if (compared_ == 0) return "";
  char text[120];
  std::snprintf(text, sizeof text, "flicker: %.2f%% of the pixels that stand still change their class (%.1f%% stand still)",
                100 * (still_ > 0 ? changed_ / still_ : 0), 100 * (still_ / compared_));
  return text;
}

void RunningMean::apply(float* planes, int classes, cv::Size size, const cv::Mat& still, const Geometry& sizes) {
  const auto area = static_cast<std::size_t>(size.area());
  const std::size_t volume = area * classes;
  if (still.empty() || mean_.size() != volume || count_.size() != size) {
    count_ = cv::Mat::ones(size, CV_32F);
    mean_.assign(planes, planes + volume);
    return;
  }
  const std::vector<int> rows = cells_of(size.height, sizes.network.height, sizes.content.height, still.rows);
  const std::vector<int> columns = cells_of(size.width, sizes.network.width, sizes.content.width, still.cols);
  std::vector<float> weights;
  for (int y = 0; y < size.height; ++y)
    for (int x = 0; x < size.width; ++x) {
      auto& count = count_.at<float>(y, x);
      const bool moves = still.at<unsigned char>(rows[y], columns[x]) == 0;
      count = moves ? 1.0F : std::min(count + 1, static_cast<float>(frames_));
      weights.push_back(1 / count);
    }
  for (std::size_t first = 0; first < volume; first += area)
    for (std::size_t i = 0; i < area; ++i) {
      float& mean = mean_[first + i];
      mean = planes[first + i] = planes[first + i] * weights[i] + mean * (1 - weights[i]);
    }
}

void check_steady(const Contract& contract, bool tiled) {
  if (tiled)
    throw InputError(
        "expected --steady with whole frames, got tiles; leave --tile out, or add --fit resize for a model of one size");
  if (contract.output.op == OutputOp::kArgmax)
    throw InputError(
        "expected --steady with a model that gives logits or probabilities, got one that gives class ids; export it "
        "with --output_op logits");
}

}  // namespace rtseg
