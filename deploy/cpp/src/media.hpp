// Where images come from, and videos as results; rtseg_inference/media.py is the same in Python.
#pragma once

#include <memory>
#include <opencv2/core.hpp>
#include <opencv2/videoio.hpp>
#include <optional>
#include <string>
#include <vector>

#include "files.hpp"
#include "images.hpp"

namespace rtseg {

/// One image of a source, or the reason why it could not be read.
struct Frame {
  std::string name;  ///< path within the output folder, without suffix
  std::string file;  ///< path within the input, for COCO's form
  cv::Mat image;     ///< CV_8UC3 BGR, empty if it could not be read
  std::string error;
};

/// Why an image has no result.
std::string reason_of(const std::exception& error);

/// Images one after the other.
class Source {
 public:
  virtual ~Source() = default;

  /// The next image; nothing at the end.
  virtual std::optional<Frame> next() = 0;

  /// Frames per second of a video; 0 for images.
  virtual double fps() const { return 0; }

  /// Paths of the images in the input's folder; nothing for a video.
  virtual std::optional<std::vector<std::string>> relative() const { return {}; }

  /// A line about the files that are no images; empty if there are none.
  virtual std::string not_taken() const { return ""; }
};

/// An image, the images of a folder, or a video, whose results go to `save_dir`. Throws InputError if it does not exist,
/// holds no images, cannot be opened, or would be overwritten by its own results.
std::unique_ptr<Source> open_source(const std::string& path, const std::string& save_dir);

/// An MP4 under a temporary name, which `keep` renames; without it, the file is removed in the end. Its codec takes even
/// sizes only: the last row or column of odd ones is there twice. Frames of another size than `size` are resized to it.
class VideoFile {
 public:
  /// Throws InputError if the file, or this format, cannot be written.
  VideoFile(const std::string& path, double fps, cv::Size size);

  void write(const cv::Mat& image);

  /// Finish the file. Throws InputError if it cannot be written.
  void keep();

 private:
  cv::Size size_;
  PartialFile file_;
  cv::VideoWriter writer_;
};

}  // namespace rtseg
