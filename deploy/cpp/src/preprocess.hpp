// From camera images to the network's input, as described in deploy.yaml: resize, pad, colour order, normalise.
#pragma once

#include <array>
#include <cstdint>
#include <opencv2/core.hpp>
#include <vector>

#include "contract.hpp"

namespace rtseg {

/// One batch in the layout of the contract, in `raw` if the graph normalises and in `values` otherwise.
struct Batch {
  std::vector<int> shape;
  std::vector<float> values;
  std::vector<std::uint8_t> raw;
};

/// Turns 8-bit BGR images into one batch, bit for bit as the Python package does.
class Preprocessor {
 public:
  explicit Preprocessor(Contract contract);

  /// (H, W) CV_8UC3 BGR images -> (B, 3, h, w) floats, or (B, H, W, 3) bytes. Throws InputError if the images do not
  /// get one size or the batch lies outside the shapes that the model was exported for.
  Batch operator()(const std::vector<cv::Mat>& images) const;

  /// The shape of the batch that images of these sizes make. Throws InputError as the call itself.
  std::vector<int> input_shape(const std::vector<cv::Size>& images) const;

  const Contract& contract() const { return contract_; }

 private:
  void fill(const cv::Mat& image, cv::Size network, float* out) const;
  float normalise(float pixel, int channel) const;

  Contract contract_;
  std::array<int, 3> order_;                      ///< channel of the BGR image for each channel of the network
  std::array<std::array<float, 256>, 3> tables_;  ///< normalised value of each 8-bit pixel
};

}  // namespace rtseg
