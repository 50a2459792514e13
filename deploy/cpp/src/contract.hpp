// deploy.yaml: what the export promises to every program that runs the exported network. deploy/README.md documents its
// keys; deploy/python/rtseg_inference/contract.py has the same types in Python, and the same messages.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "int8_contract.hpp"
#include "pose_contract.hpp"

namespace rtseg {

enum class OutputOp { kArgmax, kSoftmax, kNone, kLogits, kHeatmaps };
enum class Rule { kExact, kFit, kLong, kShort, kLimit };
enum class Interpolation { kNearest, kLinear, kCubic, kArea };

/// Smallest, most common and largest input shape, in the order of the input's layout; -1 in `max` is unbounded.
struct ShapeRange {
  std::vector<int> min, opt, max;

  /// Whether `shape` lies in the range, bounds included.
  bool contains(const std::vector<int>& shape) const;
  std::string text() const;
};

/// The graph's only input: float32 NCHW, or uint8 NHWC BGR where the graph normalises camera images itself.
struct Input {
  std::string name, dtype, layout;
  std::string color;  ///< order of the channels: "RGB" or "BGR"
  ShapeRange shape;
};

/// How an image is resized before the network sees it.
struct Resize {
  Rule rule = Rule::kExact;
  int height = 0, width = 0;       ///< exact, fit: the target
  int size = 0;                    ///< long, short: the length of that side
  std::optional<double> max, min;  ///< short (max), limit: the longest and shortest that the longer side may be
  std::optional<int> divisor;      ///< both sides are rounded up to a multiple of it
  Interpolation interpolation = Interpolation::kLinear;
};

/// The image goes into the top left corner of this size; the rest is filled with `value`.
struct Pad {
  int height, width;
  double value;
};

/// What happens to an 8-bit image before the network: resize, pad, then (x * scale - mean) / std.
struct Preprocessing {
  bool in_graph = false;  ///< the graph does all of this
  std::optional<Resize> resize;
  std::optional<Pad> pad;
  double scale = 1;
  std::array<double, 3> mean{}, std{};  ///< per channel, in the order of the input's color
};

/// The graph's only output.
struct Output {
  OutputOp op = OutputOp::kArgmax;
  std::string dtype;
  int num_classes = 0;  ///< or the number of keypoints
};

/// How far a runtime may be from the golden output.
struct Tolerance {
  double rms_error;  ///< root mean square of the output's error, as a share of the root mean square of the output
  double agreement;  ///< smallest share of the mask's pixels, or of the person's keypoints, that must agree
  std::optional<double> pixels;  ///< how far keypoints may be apart to agree
};

/// The stored input and output that every runtime is checked against.
struct Golden {
  std::string image;                           ///< 8-bit BGR image file
  std::optional<std::string> mask;             ///< image file with the class id of each pixel of it; none for poses
  std::optional<std::string> output;           ///< .npy of the network's output; none for argmax
  int step = 1;                                ///< every step-th row and column of the output was kept
  std::map<std::string, Tolerance> tolerance;  ///< by precision; "tf32" may be missing, "int8" is
  std::optional<GoldenPerson> person;          ///< for poses

  /// The tolerance of `precision`; fp16's for tf32 where the file states none: their mantissas are as long.
  const Tolerance& tolerance_of(const std::string& precision) const;
};

/// How TensorRT engines are built.
struct TensorRT {
  ShapeRange shape;  ///< bounded
  int workspace_mb = 0;
  int min_subgraph_size = 0;
  std::vector<std::string> fp32_ops;  ///< operators that would overflow in fp16
};

/// The `rtseg` section of the deploy.yaml in `folder`.
struct Contract {
  std::string folder, model, params;
  std::map<std::string, std::string> sha256;  ///< by file name
  std::string paddle_version, network;
  Input input;
  Preprocessing preprocess;
  Output output;
  std::vector<std::string> classes;                   ///< none for poses
  std::vector<std::array<unsigned char, 3>> palette;  ///< RGB of each class
  Golden golden;
  TensorRT tensorrt;
  std::optional<std::string> onnx;       ///< file name of the ONNX form, where it was written
  std::optional<std::string> onnx_fp16;  ///< file name of the ONNX form in half precision, where it was written
  std::optional<Int8> int8;              ///< the ONNX form in INT8, where it was written
  std::optional<Pose> pose;              ///< of a network for poses

  /// Path of one of the model's files.
  std::string path(const std::string& name) const;
  /// File name of the ONNX form that computes in `precision`. Throws NotInstalled if the export did not write it.
  std::string onnx_name(const std::string& precision) const;
  /// Whether the graph takes camera images, 8-bit BGR, and normalises them itself.
  bool raw_input() const { return input.dtype == "uint8"; }
  /// Whether the program is in Paddle 3's form; otherwise it is .pdmodel, which TensorRT subgraphs need.
  bool is_json() const;
};

/// Read and check folder/deploy.yaml and the files that it names. Throws InputError if it is missing, damaged, of
/// another schema, or names a file that is missing or has changed.
Contract read_contract(const std::string& folder);

}  // namespace rtseg
