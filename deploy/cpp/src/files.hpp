// Writing files atomically, and where caches are kept.
#pragma once

#include <opencv2/core.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "error.hpp"

namespace rtseg {

/// Nothing more can be written: the disk is full, or is read only.
class DiskFull : public InputError {
 public:
  using InputError::InputError;
};

/// The image in the format of the extension of `path`. Throws InputError if OpenCV cannot write it in that format.
std::vector<unsigned char> encode_image(const std::string& path, const cv::Mat& image);

/// A file that is written under a temporary name in the folder of `path`, after what killed runs left there was removed.
/// The temporary name keeps the end of the name, by which many writers choose the format.
class PartialFile {
 public:
  /// Throws InputError if the folder cannot be written.
  explicit PartialFile(const std::string& path);
  ~PartialFile();
  PartialFile(const PartialFile&) = delete;
  PartialFile& operator=(const PartialFile&) = delete;

  const std::string& path() const { return temporary_; }

  /// Append. Throws InputError if it cannot be written.
  void write(std::string_view data);

  /// Write an image without its file in memory. OpenCV's writers of other formats may lose an error of the disk. Throws
  /// DiskFull if it cannot be written.
  void write_jpeg(const cv::Mat& image);

  /// Rename it to the path it is for. Without a call of this, the file is removed in the end. Throws InputError if it
  /// cannot be written.
  void keep();

 private:
  std::string path_, temporary_;
  int handle_ = -1;
};

/// Write a file atomically, and clear what killed runs left in its folder. Throws InputError if it cannot be written.
void write_file(const std::string& path, const std::vector<unsigned char>& data);

/// Create a folder if necessary. Throws InputError if it is not a folder that can be written.
void make_folder(const std::string& path);

/// Refuse a folder that is not one that can be written and cannot become one, before the work for what belongs there;
/// nothing is created. Throws InputError.
void check_folder(const std::string& path);

/// Where compiled networks are kept: $RTSEG_CACHE, or ~/.cache/rtseg_inference.
std::string cache_root();

}  // namespace rtseg
