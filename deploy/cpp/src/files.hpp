// Finding and reading images, writing files atomically, and where caches are kept.
#pragma once

#include <opencv2/core.hpp>
#include <opencv2/imgcodecs.hpp>
#include <string>
#include <vector>

namespace rtseg {

/// An image of the input, and the path of its results within the output folder, without extension.
struct ImageFile {
  std::string path, name;
};

/// The image file `path`, or the images of that folder and the folders below it, in the order of their names. Throws
/// InputError if there are none.
std::vector<ImageFile> find_images(const std::string& path);

/// Decode an image file, by default to (H, W) CV_8UC3 BGR. Throws InputError if it is missing, empty, or not an image
/// that OpenCV can decode.
cv::Mat read_image(const std::string& path, int flags = cv::IMREAD_COLOR);

/// Encode by the extension of `path` and write the file atomically. Throws InputError if it cannot be written.
void write_image(const std::string& path, const cv::Mat& image);

/// Create a folder if necessary. Throws InputError if it is not a folder that can be written.
void make_folder(const std::string& path);

/// Where compiled networks are kept: $RTSEG_CACHE, or ~/.cache/rtseg_inference.
std::string cache_root();

}  // namespace rtseg
