// A mask in forms that other programs read: areas of the classes as JSON, and COCO's annotations.
// rtseg_inference/results.py and coco_file.py give the same values.
#pragma once

#include <map>
#include <opencv2/core.hpp>
#include <string>
#include <vector>

#include "files.hpp"

namespace rtseg {

/// The classes of a mask with their pixels, their share of the image, and the mean of `confidence`, CV_32F, at these
/// pixels, null where that is empty; as the text of a JSON file.
std::string class_areas(const cv::Mat& mask, const std::vector<std::string>& names, const cv::Mat& confidence);

/// COCO's uncompressed code of each class in a mask, by class id: lengths of runs of pixels outside and inside the class
/// in turn, by columns.
std::map<int, std::vector<int>> run_lengths(const cv::Mat& mask);

/// Writes annotations as they come, under a temporary name; `close` renames it. Memory grows only with the number of
/// images, by what the file states of them. The category of a class is its id. Throws InputError if it cannot be written.
class CocoFile {
 public:
  CocoFile(const std::string& path, const std::vector<std::string>& names);

  /// Add a mask, and the path of its image within the input folder.
  void add(const std::string& file, const cv::Mat& mask);
  void close();

 private:
  PartialFile file_;
  std::string images_;
  int image_count_ = 0, annotation_count_ = 0;
};

}  // namespace rtseg
