// The predictor: camera images in, class ids out.
#pragma once

#include <chrono>
#include <memory>
#include <opencv2/core.hpp>
#include <optional>
#include <string>
#include <vector>

#include "contract.hpp"
#include "network.hpp"
#include "npy.hpp"
#include "preprocess.hpp"
#include "tiling.hpp"
#include "video.hpp"

namespace rtseg {

/// Milliseconds that one call took, for the whole batch.
struct Timings {
  double pre = 0, run = 0, post = 0;
};

/// The segmentation of one image.
struct Result {
  cv::Mat mask;  ///< class ids at the image's size, CV_8U or CV_16U
  Timings timings;
  cv::Mat confidence;  ///< CV_32F, the probability of each pixel's class; empty unless asked for and known
};

/// How a configuration compares with the golden output.
struct Verification {
  std::optional<double> rms_error;  ///< see Tolerance; none where the output is class ids
  double agreement = 0;             ///< share of the mask's pixels, or of the person's keypoints, that agree
  bool passed = false;
  std::string unit = "pixels";
  std::optional<std::string> cost;  ///< of the precision on the validation set, where the contract states it

  std::string text() const;
};

/// An exported model, ready to run.
class Predictor {
 public:
  /// Throws InputError if the folder is damaged, or this machine cannot run the model in this configuration.
  Predictor(Contract contract, const Configuration& configuration);

  const Contract& contract() const { return contract_; }
  const Configuration& configuration() const { return configuration_; }
  std::vector<std::string> on_processor() const { return network_->on_processor(); }  ///< see Network

  /// From now on bring images to the model's sizes like that, with up to `batch` tiles as one batch.
  void bring_to_size(const Fit& fit, int batch);

  /// From now on take images for the frames of a video, of which up to `steady` are averaged where the picture stands
  /// still: where it changes by at most `motion` grey levels. Throws InputError if there is nothing to average.
  void follow_video(int steady, int motion);

  /// How much the masks of a video flicker, for the log; empty if there is nothing to say.
  std::string flicker() const { return clip_ ? clip_->flicker.text() : ""; }

  /// Segment (H, W) CV_8UC3 BGR images as one batch, or in tiles one after the other. They may differ in size where the
  /// model's resize rule brings them to one. A graph that gives class ids knows no confidence. Throws InputError if an
  /// image lies outside the shapes that the model was exported for.
  std::vector<Result> predict(const std::vector<cv::Mat>& images, bool with_confidence = false);

  /// Run the golden image, or those of INT8, and compare with what the network gave before its export.
  Verification verify();

 private:
  std::vector<Result> segment(const std::vector<cv::Mat>& images, bool with_confidence,
                              const std::vector<cv::Mat>& still);
  void steady(NetworkOutput& output, const std::vector<cv::Mat>& images, const std::vector<cv::Mat>& still);
  Verification verify_int8(const Int8& int8);
  double agreement(const NetworkOutput& output, cv::Size image, const std::string& mask) const;
  bool fits(const std::vector<cv::Mat>& images) const;
  Result predict_in_tiles(const cv::Mat& image, bool with_confidence);
  std::vector<cv::Mat> planes(NetworkOutput& output, int index, cv::Size image) const;
  NetworkOutput run(const std::vector<cv::Mat>& images, Timings& timings);
  cv::Mat to_mask(const NetworkOutput& output, int index, cv::Size image) const;
  cv::Mat confidence_of(const NetworkOutput& output, int index, cv::Size image) const;

  Contract contract_;
  Configuration configuration_;
  Preprocessor preprocess_;
  std::unique_ptr<Network> network_;
  Fit fit_;
  int tiles_at_once_ = 1;
  std::optional<Clip> clip_;
};

/// Of timing.
using Clock = std::chrono::steady_clock;

/// Milliseconds since `start`, which becomes now.
double lap(Clock::time_point& start);

/// Root mean square of the difference between (C, h, w) `found`, of which every step-th row and column counts, and
/// `golden`, as a share of that of `golden`. Throws InputError if that has another shape.
double relative_error(const float* found, const std::vector<int>& shape, const Array& golden, int step);

/// The contract for this configuration: TensorRT engines, in Paddle and in ONNX Runtime, accept fewer shapes.
Contract bounded(Contract contract, const Configuration& configuration);

}  // namespace rtseg
