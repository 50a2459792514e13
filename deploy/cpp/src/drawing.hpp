// Pictures of a segmentation: the colours of the classes over the image, outlines, and a legend below it.
// rtseg_inference/drawing.py draws the same pixels.
#pragma once

#include <array>
#include <opencv2/core.hpp>
#include <string>
#include <vector>

namespace rtseg {

/// How an overlay looks.
struct Style {
  double alpha = 0.5;                ///< opacity of the classes, from 0 to 1; used as a multiple of 1/256
  bool legend = true;                ///< name the classes below the image
  bool outlines = false;             ///< draw white lines between classes
  std::string clear = "background";  ///< the class that is not coloured; see clear_class
};

/// RGB of each class.
using Palette = std::vector<std::array<unsigned char, 3>>;

/// The id of the class that is not coloured: of the name `clear`, or -1 if that is "". "background" also means other
/// usual names of that class, and no class where none has such a name. Throws InputError if no class has another name
/// that was asked for.
int clear_class(const std::vector<std::string>& names, const std::string& clear);

/// The (H, W) CV_8UC3 BGR image with the colours of the classes in `mask`, CV_8U or CV_16U, and a legend of these
/// classes below it, or of all classes, so that the height is the same for all images of a size. `in_place`: draw over
/// `image`, and the legend in the memory behind it where read_image left room. Throws InputError as clear_class does.
cv::Mat overlay(const cv::Mat& image, const cv::Mat& mask, const std::vector<std::string>& names,
                const Palette& palette, const Style& style, bool every_class = false, bool in_place = false);

/// Blend the image with the colours of its classes into `out`, of its size, without a legend, or the image itself;
/// `clear` is the id of the class that is not coloured, or -1.
void blend(const cv::Mat& image, const cv::Mat& mask, const Palette& palette, const Style& style, int clear,
           cv::Mat out);

/// Height of a line of text in pixels, for a picture of this size.
int text_unit(cv::Size size);

/// A name in the letters that the font has, without accents; the class id if it has others.
std::string label(const std::string& name, int class_id);

/// A line of ASCII text whose upper left corner is at (x, y).
void draw_text(cv::Mat& picture, const std::string& text, int x, int y, int unit);

}  // namespace rtseg
