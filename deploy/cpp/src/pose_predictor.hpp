// The predictor for poses: images and the boxes of their persons in, keypoints out.
#pragma once

#include <memory>
#include <opencv2/core.hpp>
#include <vector>

#include "contract.hpp"
#include "network.hpp"
#include "pose.hpp"
#include "pose_boxes.hpp"
#include "predictor.hpp"
#include "preprocess.hpp"

namespace rtseg {

/// The keypoints of one person.
struct Person {
  ScoredBox box;                    ///< as it was given
  std::vector<Keypoint> keypoints;  ///< in pixels of the image; of one that was not found, the place has no meaning

  /// The box's score times the mean of the keypoints' scores above 0.2, by which persons are ranked in COCO.
  double score() const;
};

/// The persons of one image, in the order of its boxes.
struct PoseResult {
  std::vector<Person> persons;
  Timings timings;
};

/// An exported model for poses, ready to run.
class PosePredictor {
 public:
  /// Throws InputError if the folder is damaged, or this machine cannot run the model in this configuration.
  PosePredictor(Contract contract, const Configuration& configuration);

  const Contract& contract() const { return contract_; }
  const Configuration& configuration() const { return configuration_; }
  std::vector<std::string> on_processor() const { return network_->on_processor(); }  ///< see Network

  /// The persons in the boxes of each of the (H, W) CV_8UC3 BGR images; the network takes up to `batch_size` at once,
  /// from any of the images. Throws InputError if a box has no area inside its image.
  std::vector<PoseResult> predict(const std::vector<cv::Mat>& images, const std::vector<std::vector<ScoredBox>>& boxes,
                                  int batch_size);

  /// The same, where each image is one person.
  std::vector<PoseResult> predict(const std::vector<cv::Mat>& images);

  /// Find the golden person and compare it with what the network gave before its export.
  Verification verify();

 private:
  struct Crop;

  Heatmaps run(const std::vector<cv::Mat>& crops, Timings& timings);
  std::vector<Person> estimate(const std::vector<Crop>& crops, Timings& timings);

  Contract contract_;
  Configuration configuration_;
  Preprocessor preprocess_;
  std::unique_ptr<Network> network_;
};

/// The box of a whole image.
ScoredBox whole_image(cv::Size size);

/// Throws InputError unless each box has an area inside an image of that size.
void check_boxes(const std::vector<ScoredBox>& boxes, cv::Size size);

}  // namespace rtseg
