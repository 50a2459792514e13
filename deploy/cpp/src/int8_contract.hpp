// The int8 section of deploy.yaml; rtseg_inference/int8_contract.py is the same in Python.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace rtseg {

class Node;

/// A frame of the validation set, and its mask before the network was quantised.
struct GoldenFrame {
  std::string image;  ///< 8-bit BGR image file
  std::string mask;   ///< image file with the class id of each pixel
};

/// What is left in INT8 in one backend.
struct Int8Result {
  double miou;       ///< on the validation set, as a share of 1
  double agreement;  ///< smallest share of each frame's pixels that must keep their class
};

/// The ONNX form whose convolutions compute in 8-bit integers, and what that costs.
struct Int8 {
  std::string model;    ///< file name
  int weight_bits = 8;  ///< 8, or 7 for processors that need them; see processor.hpp
  int images = 0;       ///< of the validation set
  double miou_fp32 = 0;                        ///< on the validation set, as a share of 1
  std::map<std::string, Int8Result> backends;  ///< in which it was measured and is kept
  std::vector<GoldenFrame> frames;

  /// What is left in `backend`. Throws NotInstalled if the export did not measure it there, or did not keep it.
  const Int8Result& result(const std::string& backend) const;
  /// Such as "mIoU 60.35% instead of 60.36%".
  std::string cost(const std::string& backend) const;
  /// Names of the files that the section names.
  std::vector<std::string> files() const;
};

/// The section, checked. Throws InputError if a key is missing, or its value is not what the schema allows.
Int8 read_int8(const Node& node);

}  // namespace rtseg
