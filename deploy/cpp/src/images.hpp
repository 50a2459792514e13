// What counts as an image file, how it is found and read, and what it may cost; docs/images.md states the rules.
// rtseg_inference/images.py is the same in Python.
#pragma once

#include <map>
#include <opencv2/core.hpp>
#include <opencv2/imgcodecs.hpp>
#include <string>
#include <vector>

namespace rtseg {

/// An image of the input, the path of its results within the output folder, without suffix, and its own path within the
/// input folder.
struct ImageFile {
  std::string path, name, relative;
};

/// The images of a file or a folder.
struct Found {
  std::vector<ImageFile> files;
  std::map<std::string, int> others;  ///< files that are no images, counted by suffix

  /// A line about the files that are no images; empty if there are none.
  std::string not_taken() const;
};

/// The image file `path`, or the images of that folder and the folders below it, in the order of their names. Names that
/// begin with a dot, and the folders `leave_out`, are left out; links to folders are not followed. Throws InputError if
/// there are none.
Found find_images(const std::string& path, const std::vector<std::string>& leave_out = {});

/// Whether a path has the name of a video.
bool is_video(const std::string& path);

/// The folders that a search of `source` leaves out, so that no run takes its own results for images: those for each of
/// `kinds` in `save_dir`, or all of `save_dir`. Throws InputError if the results would overwrite the images.
std::vector<std::string> result_folders(const std::string& source, const std::string& save_dir,
                                        const std::vector<std::string>& kinds);

/// Names for the results of `paths`, of which no two are equal, not even where upper and lower case are one. A name is
/// the path without its suffix, or with it where another file would have the same name, or where the suffix of a result
/// after it makes the name of a folder of results. What still is not unique gets a number.
std::vector<std::string> unique_names(const std::vector<std::string>& paths);

/// Decode an image file, by default to (H, W) CV_8UC3 BGR. Throws InputError if it is missing, is not an image, is cut
/// short, or exceeds a limit.
cv::Mat read_image(const std::string& path, int flags = cv::IMREAD_COLOR);

}  // namespace rtseg
