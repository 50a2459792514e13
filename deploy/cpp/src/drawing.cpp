#include "drawing.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <opencv2/imgproc.hpp>

#include "error.hpp"

namespace rtseg {
namespace {

constexpr int kMostRows = 65'500;  // of a picture: a JPEG cannot have more
constexpr int kBand = 64;          // rows that are blended at once, so that they stay in the cache
const cv::Scalar kWhite(255, 255, 255), kInk(40, 40, 40), kFrame(128, 128, 128);
constexpr int kFont = cv::FONT_HERSHEY_SIMPLEX;
constexpr double kFontHeight = 30;          // pixels between lines of the font at scale 1
constexpr int kLeastUnit = 12, kUnits = 36;  // the height of a line: pixels, and how many make the shorter side
constexpr int kLeastWidth = 10;             // units: narrower pictures have no legend
constexpr int kLegendShare = 4;             // of the picture's height, a legend takes one part at most
constexpr std::size_t kLongest = 100;       // characters of a name
constexpr int kPixelsPerLine = 800;         // of the shorter side, for each pixel on either side of a border

/// What stands for U+00C0 to U+017F; the font has printable ASCII only.
constexpr char kPlainLetters[] =
    "AAAAAAACEEEEIIIIDNOOOOOxOUUUUYTsaaaaaaaceeeeiiiidnooooo/ouuuuyty"
    "AaAaAaCcCcCcCcDdDdEeEeEeEeEeGgGgGgGgHhHhIiIiIiIiIiIiJjKkkLlLlLlL"
    "lLlNnNnNnnNnOoOoOoOoRrRrRrSsSsSsSsTtTtTtUuUuUuUuUuUuWwYyYZzZzZzs";
constexpr unsigned kFirst = 0xC0, kLast = 0x17F;

/// Where the entries of a legend go, in pixels.
struct Legend {
  int unit, columns, rows, column_width;

  int pitch() const { return unit * 3 / 2; }
  int height() const { return rows > 0 ? rows * pitch() + unit / 2 : 0; }
  cv::Point corner(int place) const {
    return {unit / 2 + place % columns * column_width, unit / 2 + place / columns * pitch()};
  }
};

int thickness(int unit) { return std::max(1, unit / 20); }

int text_width(const std::string& text, int unit) {
  return cv::getTextSize(text, kFont, unit / kFontHeight, thickness(unit), nullptr).width;
}

/// Text of at most `width` pixels, which ends in "..." if it was longer.
std::string shorten(const std::string& text, int unit, int width) {
  if (text_width(text, unit) <= width) return text;
  std::size_t kept = text.size();
  while (kept > 0 && text_width(text.substr(0, kept) + "...", unit) > width) --kept;
  return text.substr(0, kept) + "...";
}

/// The first characters of UTF-8 text.
std::vector<unsigned> code_points(const std::string& text) {
  std::vector<unsigned> found;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte & 0xC0U) == 0x80U && !found.empty()) {
      found.back() = (found.back() << 6U) | (byte & 0x3FU);
    } else {
      if (found.size() == kLongest) break;
      const unsigned lead = byte < 0x80 ? 0x7F : byte < 0xE0 ? 0x1F : byte < 0xF0 ? 0x0F : 0x07;
      found.push_back(byte & lead);
    }
  }
  return found;
}

std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

Legend layout(cv::Size size, const std::vector<std::string>& labels) {
  const int unit = text_unit(size);
  if (labels.empty() || size.width < kLeastWidth * unit) return {unit, 0, 0, 0};
  int widest = 0;
  for (const std::string& text : labels) widest = std::max(widest, text_width(text, unit));
  const int column = unit * 7 / 2 + widest, pitch = unit * 3 / 2;
  const int columns = std::max(1, (size.width - unit / 2) / column);
  const int room = std::max(0, kMostRows - size.height - unit / 2) / pitch;
  const int most = std::min(std::max(1, size.height / kLegendShare / pitch), room);
  const int wanted = (static_cast<int>(labels.size()) + columns - 1) / columns;
  return {unit, columns, std::min(most, wanted), column};
}

cv::Scalar bgr(const std::array<unsigned char, 3>& rgb) { return {double(rgb[2]), double(rgb[1]), double(rgb[0])}; }

/// Draw a legend; where it has no room for all classes, those with most pixels, and how many more there are.
void draw_legend(cv::Mat strip, const Legend& legend, const std::vector<std::string>& labels, const Palette& colours,
                 const std::vector<float>& pixels) {
  strip.setTo(kWhite);
  const auto places = static_cast<std::size_t>(legend.columns) * legend.rows;
  std::vector<std::size_t> shown(labels.size());
  std::iota(shown.begin(), shown.end(), 0);
  if (shown.size() > places) {
    std::stable_sort(shown.begin(), shown.end(), [&](auto a, auto b) { return pixels[a] > pixels[b]; });
    shown.resize(places - 1);
    std::sort(shown.begin(), shown.end());
  }
  int place = 0;
  for (const std::size_t i : shown) {
    const cv::Point from = legend.corner(place++), to = from + cv::Point(legend.unit - 1, legend.unit - 1);
    cv::rectangle(strip, from, to, bgr(colours[i]), cv::FILLED);
    cv::rectangle(strip, from, to, kFrame, 1);
    draw_text(strip, labels[i], from.x + legend.unit * 3 / 2, from.y, legend.unit);
  }
  if (shown.size() == labels.size()) return;
  const cv::Point from = legend.corner(place);
  draw_text(strip, "+" + std::to_string(labels.size() - shown.size()) + " more", from.x, from.y, legend.unit);
}

/// Pixels of each class.
std::vector<float> histogram(const cv::Mat& mask, int classes) {
  cv::Mat counts;
  const int channel = 0;
  const std::array<float, 2> range{0, static_cast<float>(classes)};
  const float* ranges = range.data();
  cv::calcHist(&mask, 1, &channel, cv::Mat(), counts, 1, &classes, &ranges);
  return counts;
}

template <typename Id>
void paint(const cv::Mat& ids, const std::vector<cv::Vec3b>& colours, cv::Mat& painted) {
  for (int y = 0; y < ids.rows; ++y) {
    const Id* from = ids.ptr<Id>(y);
    auto* to = painted.ptr<cv::Vec3b>(y);
    for (int x = 0; x < ids.cols; ++x) to[x] = colours[from[x]];
  }
}

/// Which pixels are at most `width` / 2 away from another class.
cv::Mat edges(const cv::Mat& mask, int width) {
  const cv::Mat kernel = cv::Mat::ones(width + 1, width + 1, CV_8U);
  cv::Mat most, least;
  cv::dilate(mask, most, kernel);
  cv::erode(mask, least, kernel);
  return most != least;
}

/// The image with as many rows in the same memory; empty if there is no room.
cv::Mat with_room(const cv::Mat& image, int rows) {
  cv::Size whole;
  cv::Point at;
  image.locateROI(whole, at);
  if (at != cv::Point() || whole.width != image.cols || whole.height < rows) return {};
  cv::Mat picture = image;
  return picture.adjustROI(0, rows - image.rows, 0, 0);
}

}  // namespace

int clear_class(const std::vector<std::string>& names, const std::string& clear) {
  const auto position = [&](const auto& wanted) {
    const auto found = std::find_if(names.begin(), names.end(), wanted);
    return found == names.end() ? -1 : static_cast<int>(found - names.begin());
  };
  const int same = position([&](const std::string& name) { return name == clear; });
  if (same >= 0 || clear.empty()) return same;
  if (clear == "background")
    return position([](const std::string& name) {
      const std::string low = lower(name);
      return low == "background" || low == "_background_" || low == "bg" || low == "__background__";
    });
  throw InputError("expected a class to leave clear, one of " + listed(names) + ", got " + quoted(quote(clear)));
}

cv::Mat overlay(const cv::Mat& image, const cv::Mat& mask, const std::vector<std::string>& names,
                const Palette& palette, const Style& style, bool every_class, bool in_place) {
  const int clear = clear_class(names, style.clear);
  std::vector<std::string> labels;
  Palette colours;
  std::vector<float> pixels;
  if (style.legend) {
    const std::vector<float> counts = histogram(mask, static_cast<int>(names.size()));
    const int unit = text_unit(mask.size());
    for (int k = 0; k < static_cast<int>(names.size()); ++k) {
      if (k == clear || (counts[k] == 0 && !every_class)) continue;
      labels.push_back(shorten(label(names[k], k), unit, mask.cols - 4 * unit));
      colours.push_back(palette[k]);
      pixels.push_back(counts[k]);
    }
  }
  const Legend legend = layout(mask.size(), labels);
  const int rows = mask.rows + legend.height();
  cv::Mat picture = in_place ? with_room(image, rows) : cv::Mat();
  if (picture.empty()) picture.create(rows, mask.cols, CV_8UC3);
  blend(image, mask, palette, style, clear, picture.rowRange(0, mask.rows));
  if (legend.rows > 0) draw_legend(picture.rowRange(mask.rows, picture.rows), legend, labels, colours, pixels);
  return picture;
}

void blend(const cv::Mat& image, const cv::Mat& mask, const Palette& palette, const Style& style, int clear,
           cv::Mat out) {
  const double alpha = std::nearbyint(style.alpha * 256) / 256;
  std::vector<cv::Vec3b> colours;
  for (const auto& rgb : palette) colours.emplace_back(rgb[2], rgb[1], rgb[0]);
  const int margin = style.outlines ? 2 * std::max(1, std::min(mask.rows, mask.cols) / kPixelsPerLine) : 0;
  cv::Mat painted(kBand, mask.cols, CV_8UC3);
  for (int start = 0; start < mask.rows; start += kBand) {
    const int end = std::min(start + kBand, mask.rows);
    const cv::Mat ids = mask.rowRange(start, end), here = image.rowRange(start, end);
    cv::Mat colored = painted.rowRange(0, end - start);
    if (mask.depth() == CV_8U) {
      paint<std::uint8_t>(ids, colours, colored);
    } else {
      paint<std::uint16_t>(ids, colours, colored);
    }
    cv::addWeighted(colored, alpha, here, 1 - alpha, 0, colored);
    if (clear >= 0) here.copyTo(colored, ids == clear);
    if (margin > 0) {
      const int above = std::min(margin, start);
      const cv::Mat around = edges(mask.rowRange(start - above, std::min(end + margin, mask.rows)).clone(), margin);
      colored.setTo(kWhite, around.rowRange(above, above + ids.rows));
    }
    colored.copyTo(out.rowRange(start, end));
  }
}

int text_unit(cv::Size size) { return std::max(kLeastUnit, std::min(size.height, size.width) / kUnits); }

std::string label(const std::string& name, int class_id) {
  std::string plain;
  bool blank = true;
  for (const unsigned c : code_points(name)) {
    if (c >= kFirst && c <= kLast) {
      plain += kPlainLetters[c - kFirst];
    } else if (c >= ' ' && c <= '~') {
      plain += static_cast<char>(c);
    } else {
      return "class " + std::to_string(class_id);
    }
    blank = blank && c == ' ';
  }
  return blank ? "class " + std::to_string(class_id) : plain;
}

void draw_text(cv::Mat& picture, const std::string& text, int x, int y, int unit) {
  const cv::Point at(x, y + unit * 17 / 20);
  cv::putText(picture, text, at, kFont, unit / kFontHeight, kInk, thickness(unit), cv::LINE_AA);
}

}  // namespace rtseg
