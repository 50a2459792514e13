// The command line of rtseg_infer; deploy/python's command has the same flags and defaults.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "configuration.hpp"
#include "drawing.hpp"
#include "tiling.hpp"

namespace rtseg {

/// What --help prints.
extern const char kUsage[];

struct Options {
  std::string model, input, save_dir = "./output/inference";
  bool masks = true, overlays = true, json = false, coco = false;
  Style style;
  Configuration configuration{"cpu", kAuto, "fp32", 0, "", false};
  FitOptions fit;
  int batch_size = 1;
  int max_frames = 0;  ///< 0: all
  int steady = 1, motion = 8;  ///< of a video
  std::string boxes;        ///< file; empty: each image is one person
  std::optional<int> category;
  double box_score = 0.3, keypoint_score = 0.3;
  bool verify = false, help = false;
};

/// Throws InputError if a flag is unknown, or has no value or another than it takes.
Options parse_options(const std::vector<std::string>& args);

/// Throws InputError if something is asked for that only a model of the other kind, for poses or for segmentation, does.
void refuse_flags(const Options& options, bool pose);

/// Throws InputError if something is asked for that only a video can have.
void refuse_video_flags(const Options& options, bool video);

}  // namespace rtseg
