#include "media.hpp"

#include <sys/stat.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <opencv2/imgproc.hpp>
#include <utility>

#include "error.hpp"
#include "image_headers.hpp"

namespace rtseg {
namespace {

namespace fs = std::filesystem;

constexpr double kLeastFps = 0.01, kDefaultFps = 25, kMostFps = 1000;

class ImageFiles : public Source {
 public:
  explicit ImageFiles(Found found) : found_(std::move(found)) {}

  std::optional<Frame> next() override {
    if (position_ == found_.files.size()) return {};
    const ImageFile& file = found_.files[position_++];
    try {
      return Frame{file.name, file.relative, read_image(file.path), ""};
    } catch (const std::exception& e) {
      return Frame{file.name, file.relative, {}, reason_of(e)};
    }
  }

  std::optional<std::vector<std::string>> relative() const override {
    std::vector<std::string> paths;
    for (const ImageFile& file : found_.files) paths.push_back(file.relative);
    return paths;
  }

  std::string not_taken() const override { return found_.not_taken(); }

 private:
  Found found_;
  std::size_t position_ = 0;
};

class Video : public Source {
 public:
  explicit Video(const std::string& path) : path_(path), name_(fs::path(path).stem().string()) {
    struct stat status {};
    if (stat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode))
      throw InputError("expected a video, got " + rtseg::quoted(path) + ", which is not a regular file; copy it to one");
    if (!capture_.open(path))
      throw InputError("cannot open the video " + rtseg::quoted(path) + "; check that it exists and that OpenCV can decode it");
    check_size(property(cv::CAP_PROP_FRAME_WIDTH), property(cv::CAP_PROP_FRAME_HEIGHT));
    count_ = property(cv::CAP_PROP_FRAME_COUNT);
  }

  std::optional<Frame> next() override {
    if (ended_) return {};
    Frame frame{frame_name(), frame_name(), {}, ""};
    if (capture_.read(frame.image)) {
      check_size(frame.image.cols, frame.image.rows);
      ++number_;
      return frame;
    }
    ended_ = true;
    if (number_ >= count_ && number_ > 0) return {};
    const std::string expected = count_ > 0 ? "of the " + std::to_string(count_) + " that it announces" : "of it";
    frame.error = "the video " + rtseg::quoted(path_) + " ends early: " + std::to_string(number_) + " frames " + expected +
                  " could be decoded";
    return frame;
  }

  double fps() const override {
    const double fps = capture_.get(cv::CAP_PROP_FPS);
    return kLeastFps <= fps && fps <= kMostFps ? fps : kDefaultFps;  // not so if it is NaN
  }

 private:
  std::string frame_name() const {
    char number[16];
    std::snprintf(number, sizeof number, "%06ld", number_);
    return name_ + "/" + number;
  }

  /// A whole number that the file states, or 0.
  long property(int name) const {
    const double value = capture_.get(name);
    return value >= 0 && value <= std::numeric_limits<int>::max() ? static_cast<long>(value) : 0;
  }

  void check_size(long width, long height) const {
    if (!fits(width, height)) throw InputError(too_large(width, height) + " in the video " + rtseg::quoted(path_) + "; shrink it");
  }

  std::string path_, name_;
  cv::VideoCapture capture_;
  long count_ = 0, number_ = 0;
  bool ended_ = false;
};

}  // namespace

std::string reason_of(const std::exception& error) {
  if (dynamic_cast<const InputError*>(&error) != nullptr) return error.what();
  return "cannot be segmented (" + quote(first_line(error.what())) + "); shrink it";
}

std::unique_ptr<Source> open_source(const std::string& path, const std::string& save_dir) {
  if (is_video(path) && fs::exists(path) && !fs::is_directory(path)) return std::make_unique<Video>(path);
  const std::vector<std::string> results = result_folders(path, save_dir, {"masks", "overlays"});
  return std::make_unique<ImageFiles>(find_images(path, results));
}

VideoFile::VideoFile(const std::string& path, double fps, cv::Size size) : size_(size), file_(path) {
  const cv::Size even(size.width + size.width % 2, size.height + size.height % 2);
  if (!writer_.open(file_.path(), cv::VideoWriter::fourcc('m', 'p', '4', 'v'), fps, even))
    throw InputError("this OpenCV cannot write MP4 videos; write masks only, with --write masks");
}

void VideoFile::write(const cv::Mat& image) {
  cv::Mat frame = image;
  if (frame.size() != size_) cv::resize(image, frame, size_);
  cv::copyMakeBorder(frame, frame, 0, size_.height % 2, 0, size_.width % 2, cv::BORDER_REPLICATE);
  writer_.write(frame);
}

void VideoFile::keep() {
  writer_.release();
  file_.keep();
}

}  // namespace rtseg
