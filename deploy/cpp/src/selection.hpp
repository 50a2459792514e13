// The fastest configuration on this machine among those that reproduce the golden output; selection.py in C++.
#pragma once

#include <memory>
#include <opencv2/core.hpp>
#include <optional>
#include <string>
#include <vector>

#include "contract.hpp"
#include "pose_predictor.hpp"
#include "predictor.hpp"

namespace rtseg {

/// The outcome of trying one configuration.
struct Trial {
  std::string name;
  std::optional<double> milliseconds;  ///< for one image, from pixels to mask; none if it failed
  std::string note;                    ///< how it compared with the golden output, or why it was dropped or left out
  bool left_out = false;               ///< its engine, or the form of the model that it runs, is not there

  std::string text() const;
};

/// Try each backend of the device that computes in the precision; "auto" is fp32 on a CPU, and on a GPU each of fp32,
/// TF32 and fp16. A model that has an INT8 form is timed in that too, which is chosen only if it is asked for. The
/// device, the precision, the threads and `strict` of `wanted` count, not its backend. Times are taken on `image`, or on
/// the golden image if it is empty; `trials` gets what was tried. Throws InputError if none reproduces the golden
/// output. `Predictor` is that of the task: Predictor or PosePredictor.
template <typename Predictor>
std::unique_ptr<Predictor> fastest(const Contract& contract, const Configuration& wanted, const cv::Mat& image,
                                   std::vector<Trial>& trials);

}  // namespace rtseg
