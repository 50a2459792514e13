// The pose section of deploy.yaml; rtseg_inference/pose_contract.py is the same in Python.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace rtseg {

class Node;

enum class Decoding { kQuarter, kNone, kDark };

/// What surrounds a network that gives heatmaps of one person's keypoints.
struct Pose {
  int width = 0, height = 0;  ///< of the network's input, multiples of 4
  double padding = 1;         ///< the size of what is cut out, as a multiple of the person's box
  Decoding decode = Decoding::kQuarter;
  bool flip_test = false;              ///< take the mean with the heatmaps of the mirrored person
  bool shift = false;                  ///< move the mirrored heatmaps right by a cell
  std::vector<std::string> keypoints;  ///< names
  std::vector<int> flip_indices;       ///< for each keypoint the one that it becomes in a mirror
  std::vector<std::pair<int, int>> links;          ///< pairs of keypoints to draw a line between
  std::optional<std::vector<double>> sigmas;       ///< of each keypoint for OKS
};

/// What the trained network finds in the golden image, before its export.
struct GoldenPerson {
  std::array<double, 4> box{};                   ///< left, top, right, bottom in pixels
  std::vector<std::array<double, 3>> keypoints;  ///< x, y and score of each
};

/// The section, checked. Throws InputError if a key is missing, or its value is not what the schema allows.
Pose read_pose(const Node& node);

/// The keys `box` and `keypoints` of the golden section, for `count` keypoints. Throws InputError likewise.
GoldenPerson read_golden_person(const Node& node, std::size_t count);

}  // namespace rtseg
