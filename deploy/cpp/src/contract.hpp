// deploy.yaml, the contract between the export and every program that runs the exported network. deploy/README.md
// documents its keys; deploy/python/rtseg_inference/contract.py is this file's twin.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace rtseg {

/// Smallest, most common and largest input shape, in the order of the input's layout; -1 means unbounded.
struct ShapeRange {
  std::vector<int> min, opt, max;

  /// Whether `shape` lies in the range, bounds included.
  bool contains(const std::vector<int>& shape) const;
  std::string text() const;
};

/// How an image is resized before the network sees it.
struct ResizeRule {
  std::string rule;           ///< "exact", "fit", "long", "short" or "limit"
  int height = 0, width = 0;  ///< exact, fit: the target
  int size = 0;               ///< long, short: the length of that side
  double min = 0, max = 0;    ///< short: max; limit: both; 0 is no limit
  int divisor = 0;            ///< both sides are rounded up to a multiple of it; 0 is off
  std::string interpolation = "linear";
};

/// The image is put into the top left corner of this size, and the rest filled with `value`.
struct PadRule {
  int height, width;
  double value;
};

/// How far a runtime may be from the golden output.
struct Tolerance {
  double rms_error;  ///< root mean square of the output's error, as a share of that of the output
  double agreement;  ///< smallest share of the mask's pixels that must agree
};

/// The stored input and output that every runtime is held to.
struct Golden {
  std::string image;                           ///< 8-bit BGR image file
  std::string mask;                            ///< image file with the class id of each pixel of it
  std::optional<std::string> output;           ///< .npy of the network's output; none where the output is the mask
  int step = 1;                                ///< every step-th row and column of the output was kept
  std::map<std::string, Tolerance> tolerance;  ///< by precision
};

/// How TensorRT engines are built.
struct TensorRT {
  ShapeRange shape;  ///< bounded
  int workspace_mb = 0;
  int min_subgraph_size = 0;
  std::vector<std::string> fp32_ops;  ///< what overflows in fp16
};

/// What deploy.yaml says, checked.
struct Contract {
  std::string folder, model, params;
  std::string paddle_version;
  std::string input_name, input_dtype, input_layout;
  std::string color;  ///< order of the channels that the graph takes: "RGB" or "BGR"
  ShapeRange shape;
  std::optional<ResizeRule> resize;
  std::optional<PadRule> pad;
  double scale = 1;
  std::array<double, 3> mean{}, std{};
  std::string output_op, output_dtype;
  int num_classes = 0;
  std::vector<std::array<unsigned char, 3>> palette;  ///< RGB of each class
  Golden golden;
  TensorRT tensorrt;
  std::map<std::string, std::string> sha256;  ///< by file name

  /// Path of one of the model's files.
  std::string path(const std::string& name) const;
  /// Whether the graph takes camera images, 8-bit BGR, and normalises them by itself.
  bool raw_input() const { return input_dtype == "uint8"; }
  /// Whether the program is in Paddle 3's form; otherwise it is .pdmodel, what TensorRT subgraphs need.
  bool is_json() const;
};

/// Read and check folder/deploy.yaml and the files that it names. Throws InputError if it is missing, damaged, of
/// another schema, or names a file that is missing or has changed.
Contract read_contract(const std::string& folder);

}  // namespace rtseg
