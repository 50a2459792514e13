// A video's flicker, and less of it by a mean over time. rtseg_inference/video.py does the same, and says more about how.
#pragma once

#include <opencv2/core.hpp>
#include <string>
#include <vector>

#include "contract.hpp"
#include "geometry.hpp"

namespace rtseg {

/// Finds where a frame shows what the frame before it shows.
class Stillness {
 public:
  /// A cell of 4 x 4 pixels that stands still may change by `motion` of 255 grey levels.
  explicit Stillness(int motion) : motion_(motion) {}

  /// The next frame, CV_8UC3 -> its cells, CV_8U, 255 for those that stand still; empty without one of its size before it.
  cv::Mat next(const cv::Mat& image);

 private:
  int motion_;
  cv::Mat cells_;
  cv::Size size_;
};

/// Counts the pixels that stand still, and those of them whose class changes.
class Flicker {
 public:
  /// The next frame's class ids, and what Stillness says of the frame.
  void add(const cv::Mat& mask, const cv::Mat& still);
  /// What the log says; empty if no two frames could be compared.
  std::string text() const;

 private:
  cv::Mat mask_;
  double compared_ = 0, still_ = 0, changed_ = 0;  ///< pixels
};

/// The mean of a network's outputs over the frames since a place last moved, of up to `frames` of them.
class RunningMean {
 public:
  explicit RunningMean(int frames) : frames_(frames) {}

  /// Replace the next frame's logits or probabilities, (classes, h, w) float32, by their mean.
  void apply(float* planes, int classes, cv::Size size, const cv::Mat& still, const Geometry& sizes);

 private:
  int frames_;
  std::vector<float> mean_;
  cv::Mat count_;  ///< of frames, CV_32F
};

/// The frames of a video in their order.
struct Clip {
  /// Average up to `frames` frames where the picture stands still; 1 for none.
  Clip(int frames, int motion) : steady(frames > 1), stillness(motion), mean(frames) {}

  bool steady;
  Stillness stillness;
  RunningMean mean;
  Flicker flicker;
};

/// Throws InputError if there is nothing to average: tiles, or a model that gives class ids.
void check_steady(const Contract& contract, bool tiled);

}  // namespace rtseg
