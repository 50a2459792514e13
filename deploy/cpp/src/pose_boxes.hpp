// Boxes of persons from JSON: COCO's annotations, COCO's results, and the bbox.json of PaddleDetection's infer.py.
// rtseg_inference/pose_boxes.py is the same in Python: both read and refuse the same files, with the same messages.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace rtseg {

constexpr std::int64_t kPersonCategory = 1;  ///< of persons in COCO

/// A box and its score.
struct ScoredBox {
  std::array<double, 4> corners{};  ///< left, top, right, bottom in pixels
  double score = 1;
};

/// What a run needs to know of one image.
struct ImageBoxes {
  std::int64_t image_id = 0;
  std::optional<std::vector<ScoredBox>> boxes;  ///< none for the whole image
  std::int64_t category = kPersonCategory;
  std::optional<std::pair<std::int64_t, std::int64_t>> size;  ///< width and height that the file states
};

/// One person in each image, which fills it. `names` are the paths of the images in the input's folder.
std::vector<ImageBoxes> whole_images(const std::vector<std::string>& names);

/// The boxes of the file `path` for each image of the input, and a line on what was used and left out: boxes with a score
/// below `least_score`, of other categories than `category` and of images that are not in the input. Throws InputError if
/// the file is missing, too large, not JSON, of another form, or has several categories where none is chosen.
std::pair<std::vector<ImageBoxes>, std::string> match_boxes(const std::string& path,
                                                            const std::vector<std::string>& names, double least_score,
                                                            std::optional<std::int64_t> category);

}  // namespace rtseg
