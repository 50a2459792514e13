// What rtseg_infer does with a model for poses: COCO's results, and pictures. rtseg_inference/pose_cli.py in Python.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "media.hpp"
#include "options.hpp"
#include "pose_boxes.hpp"
#include "pose_predictor.hpp"

namespace rtseg {

/// Which boxes each image has, by its place in the input.
struct PosePlan {
  std::optional<std::vector<std::string>> names;  ///< paths of the images in the input's folder; nothing for a video
  std::vector<ImageBoxes> images;
};

/// The plan of a run; prints what of --boxes was used. Throws InputError if the file of boxes cannot be used for this
/// input.
PosePlan plan_poses(const Options& options, const Source& source);

/// Find the persons of all images and write the results; images that fail are reported and skipped. Ctrl-C ends it after
/// what is being done, and what was found is still written. Returns the exit status.
int estimate_poses(PosePredictor& predictor, const Options& options, Source& source, const PosePlan& plan);

}  // namespace rtseg
