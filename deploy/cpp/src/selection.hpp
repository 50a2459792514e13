// The fastest configuration on this machine among those that reproduce the golden output; selection.py in C++.
#pragma once

#include <memory>
#include <opencv2/core.hpp>
#include <optional>
#include <string>
#include <vector>

#include "contract.hpp"
#include "predictor.hpp"

namespace rtseg {

/// The outcome of trying one configuration.
struct Trial {
  std::string name;
  std::optional<double> milliseconds;  ///< for one image, from pixels to mask; none if it failed
  std::string note;                    ///< how it compared with the golden output, or why it was dropped

  std::string text() const;
};

/// Try each backend of `device` that computes in `precision`. Times are taken on `image`, or on the golden image if it
/// is empty; `trials` gets what was tried. Throws InputError if none reproduces the golden output.
std::unique_ptr<Predictor> fastest(const Contract& contract, const std::string& device, const std::string& precision,
                                   int threads, const cv::Mat& image, std::vector<Trial>& trials);

}  // namespace rtseg
