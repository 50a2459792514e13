#include "results.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <opencv2/imgproc.hpp>

#include "json.hpp"

namespace rtseg {
namespace {

std::string number(double value) {
  std::array<char, 40> text{};
  std::snprintf(text.data(), text.size(), "%.17g", value);
  return text.data();
}

/// The (H, W) ids as ints, which have room for each kind of mask.
cv::Mat as_ints(const cv::Mat& mask) {
  cv::Mat ids;
  mask.convertTo(ids, CV_32S);
  return ids;
}

cv::Rect box_of(const std::vector<int>& counts, int height) {
  int left = INT32_MAX, right = -1, top = INT32_MAX, bottom = -1, position = 0;
  for (std::size_t i = 0; i + 1 < counts.size(); i += 2) {
    const int first = position + counts[i], last = first + counts[i + 1] - 1;
    position = last + 1;
    const bool one_column = first / height == last / height;
    left = std::min(left, first / height);
    right = std::max(right, last / height);
    top = std::min(top, one_column ? first % height : 0);
    bottom = std::max(bottom, one_column ? last % height : height - 1);
  }
  return {left, top, right - left + 1, bottom - top + 1};
}

}  // namespace

std::string class_areas(const cv::Mat& mask, const std::vector<std::string>& names, const cv::Mat& confidence) {
  std::vector<std::int64_t> pixels(names.size());
  std::vector<double> sums(names.size());
  for (int y = 0; y < mask.rows; ++y) {
    const cv::Mat ids = as_ints(mask.row(y));
    for (int x = 0; x < ids.cols; ++x) {
      const int id = ids.at<int>(x);
      ++pixels[id];
      if (!confidence.empty()) sums[id] += confidence.at<float>(y, x);
    }
  }
  std::string classes;
  for (std::size_t k = 0; k < names.size(); ++k) {
    if (pixels[k] == 0) continue;
    const auto count = static_cast<double>(pixels[k]);
    classes += (classes.empty() ? "\n" : ",\n");
    classes += "  {\"id\": " + std::to_string(k) + ", \"name\": " + json_text(names[k]) +
               ", \"pixels\": " + std::to_string(pixels[k]) +
               ", \"share\": " + number(count / static_cast<double>(mask.total())) +
               ", \"score\": " + (confidence.empty() ? "null" : number(sums[k] / count)) + "}";
  }
  return "{\"height\": " + std::to_string(mask.rows) + ", \"width\": " + std::to_string(mask.cols) +
         ", \"classes\": [" + classes + "\n]}\n";
}

std::map<int, std::vector<int>> run_lengths(const cv::Mat& mask) {
  const cv::Mat columns = as_ints(mask.t());  // one row for each column of the mask, without gaps
  const auto* ids = columns.ptr<int>();
  const auto total = static_cast<int>(columns.total());
  std::map<int, std::vector<int>> codes;
  std::map<int, int> ends;
  for (int first = 0, last = 0; first < total; first = last) {
    while (last < total && ids[last] == ids[first]) ++last;
    std::vector<int>& counts = codes[ids[first]];
    counts.push_back(first - ends[ids[first]]);
    counts.push_back(last - first);
    ends[ids[first]] = last;
  }
  for (auto& [id, counts] : codes)
    if (ends[id] < total) counts.push_back(total - ends[id]);
  return codes;
}

CocoFile::CocoFile(const std::string& path, const std::vector<std::string>& names) : file_(path) {
  std::string categories;
  for (std::size_t i = 0; i < names.size(); ++i)
    categories += (i == 0 ? "" : ", ") + std::string("{\"id\": ") + std::to_string(i) +
                  ", \"name\": " + json_text(names[i]) + ", \"supercategory\": \"\"}";
  file_.write("{\"categories\": [" + categories + "],\n\"annotations\": [");
}

void CocoFile::add(const std::string& file, const cv::Mat& mask) {
  const std::string image = std::to_string(++image_count_);
  const std::string height = std::to_string(mask.rows), width = std::to_string(mask.cols);
  images_ += (images_.empty() ? "" : ", ") + std::string("{\"id\": ") + image + ", \"file_name\": " + json_text(file) +
             ", \"width\": " + width + ", \"height\": " + height + "}";
  for (const auto& [id, counts] : run_lengths(mask)) {
    std::string runs;
    std::int64_t area = 0;
    for (std::size_t i = 0; i < counts.size(); ++i) {
      runs += (i == 0 ? "" : ", ") + std::to_string(counts[i]);
      if (i % 2 == 1) area += counts[i];
    }
    const cv::Rect box = box_of(counts, mask.rows);
    std::string text = annotation_count_ == 0 ? "\n" : ",\n";
    text += "{\"id\": " + std::to_string(++annotation_count_) + ", \"image_id\": " + image +
            ", \"category_id\": " + std::to_string(id) + ", \"segmentation\": {\"size\": [" + height + ", " + width +
            "], \"counts\": [" + runs + "]}, \"area\": " + std::to_string(area) + ", \"bbox\": [" +
            std::to_string(box.x) + ", " + std::to_string(box.y) + ", " + std::to_string(box.width) + ", " +
            std::to_string(box.height) + "], \"iscrowd\": 1}";
    file_.write(text);
  }
}

void CocoFile::close() {
  file_.write("],\n\"images\": [" + images_ + "]}\n");
  file_.keep();
}

}  // namespace rtseg
