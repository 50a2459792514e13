#include "postprocess.hpp"

#include <algorithm>
#include <array>
#include <cfloat>
#include <cmath>
#include <limits>
#include <opencv2/core/utility.hpp>
#include <opencv2/imgproc.hpp>

namespace rtseg {
namespace {

/// Output pixels [begin, end) of one axis, which lie between the same two low-resolution samples.
struct Span {
  int begin, end;
  int low, high;
};

/// One axis of the upsampling: for each output pixel the weights of the two samples that it lies between, with the
/// arithmetic of cv::resize so that the values are the same to the last bit.
struct Axis {
  std::vector<float> low_weight, high_weight;
  std::vector<Span> spans;

  /// `clamp_weights`: cv::resize treats pixels beyond the outermost samples as lying on them in x; in y it keeps the
  /// weights and repeats the sample.
  Axis(int from, int to, int used, bool clamp_weights) : low_weight(used), high_weight(used) {
    const double scale = 1.0 / (static_cast<double>(to) / from);
    for (int i = 0; i < used; ++i) {
      auto fraction = static_cast<float>((i + 0.5) * scale - 0.5);
      const int floor = cvFloor(fraction);
      fraction -= static_cast<float>(floor);
      if (clamp_weights && (floor < 0 || floor >= from - 1)) fraction = 0;
      low_weight[i] = 1.0F - fraction;
      high_weight[i] = fraction;
      const int low = std::clamp(floor, 0, from - 1), high = std::clamp(floor + 1, 0, from - 1);
      if (spans.empty() || spans.back().low != low || spans.back().high != high) spans.push_back({i, i, low, high});
      spans.back().end = i + 1;
    }
  }

  int longest() const {
    int length = 0;
    for (const Span& span : spans) length = std::max(length, span.end - span.begin);
    return length;
  }
};

/// For each low-resolution pixel its logits side by side, the largest class, and how far the next one is below.
struct Winners {
  int width, classes;
  cv::Mat pixels;  ///< (h w, C)
  std::vector<int> label;
  std::vector<float> margin;
  float needed;  ///< a margin above this outlives the rounding errors of an interpolation

  explicit Winners(const Planes& planes)
      : width(planes.size.width), classes(planes.count), label(planes.size.area()), margin(planes.size.area()) {
    const cv::Mat logits(classes, planes.size.area(), CV_32F, const_cast<float*>(planes.data));
    cv::transpose(logits, pixels);
    // An interpolated value is off by less than 2^-22 of the largest one, and so is the mean of four in the painter.
    needed = std::max(static_cast<float>(std::ldexp(cv::norm(logits, cv::NORM_INF), -19)), FLT_MIN);
    cv::parallel_for_({0, planes.size.height}, [&](const cv::Range& rows) {
      for (int y = rows.start; y < rows.end; ++y) read_row(planes, y);
    });
  }

  /// The logits of one pixel, one for each class.
  const float* at(int pixel) const { return pixels.ptr<float>(pixel); }

 private:
  void read_row(const Planes& planes, int y) {
    const std::size_t start = static_cast<std::size_t>(y) * width;
    int* const id = &label[start];
    float* const best = &margin[start];
    std::vector<float> next(width, -std::numeric_limits<float>::infinity());
    std::fill(best, best + width, -std::numeric_limits<float>::infinity());
    for (int k = 0; k < classes; ++k) {
      const float* const value = planes.plane(k) + start;
      for (int x = 0; x < width; ++x) {
        const bool larger = value[x] > best[x];
        next[x] = std::max(next[x], larger ? best[x] : value[x]);
        id[x] = larger ? k : id[x];
        best[x] = larger ? value[x] : best[x];
      }
    }
    for (int x = 0; x < width; ++x) best[x] -= next[x];
  }
};

/// Fills cells whose corners disagree.
class CellPainter {
 public:
  CellPainter(const Winners& winners, const Axis& x_axis, const Axis& y_axis)
      : winners_(winners),
        x_axis_(x_axis),
        y_axis_(y_axis),
        width_(x_axis.longest()),
        open_(winners.classes),
        top_(winners.classes * width_),
        bottom_(top_.size()),
        best_(width_) {}

  template <typename Id>
  void paint(const Span& ys, const Span& xs, cv::Mat& ids) {
    find_candidates(ys, xs);
    const int n = xs.end - xs.begin;
    for (std::size_t c = 0; c < candidates_.size(); ++c) {
      const int k = candidates_[c];
      for (int x = 0; x < n; ++x) {
        const float low = x_axis_.low_weight[xs.begin + x], high = x_axis_.high_weight[xs.begin + x];
        top_[c * width_ + x] = corners_[0][k] * low + corners_[1][k] * high;
        bottom_[c * width_ + x] = corners_[2][k] * low + corners_[3][k] * high;
      }
    }
    for (int y = ys.begin; y < ys.end; ++y) {
      const float low = y_axis_.low_weight[y], high = y_axis_.high_weight[y];
      Id* const id = ids.ptr<Id>(y) + xs.begin;
      for (std::size_t c = 0; c < candidates_.size(); ++c) {
        for (int x = 0; x < n; ++x) {
          const float value = top_[c * width_ + x] * low + bottom_[c * width_ + x] * high;
          const bool larger = c == 0 || value > best_[x];
          best_[x] = larger ? value : best_[x];
          id[x] = larger ? static_cast<Id>(candidates_[c]) : id[x];
        }
      }
    }
  }

 private:
  /// The classes that can win somewhere in the cell: all but those that are, at all four corners, safely below the
  /// mean of the corners' winners. Where the mean of some classes is above a class, one of them is.
  void find_candidates(const Span& ys, const Span& xs) {
    const int upper = ys.low * winners_.width, lower = ys.high * winners_.width;
    const std::array<int, 4> pixels{upper + xs.low, upper + xs.high, lower + xs.low, lower + xs.high};
    const int classes = winners_.classes;
    std::fill(open_.begin(), open_.end(), 0);
    for (std::size_t i = 0; i < 4; ++i) {
      const float* const values = corners_[i] = winners_.at(pixels[i]);
      float mean = 0;
      for (int pixel : pixels) mean += 0.25F * values[winners_.label[pixel]];
      const float bound = mean - winners_.needed;
      int* const open = open_.data();
      for (int k = 0; k < classes; ++k) open[k] |= values[k] < bound ? 0 : 1;
    }
    candidates_.clear();
    for (int k = 0; k < classes; ++k)
      if (open_[k]) candidates_.push_back(k);
  }

  const Winners& winners_;
  const Axis& x_axis_;
  const Axis& y_axis_;
  std::size_t width_;
  std::array<const float*, 4> corners_{};  ///< logits at the cell's corners
  std::vector<int> open_;                  ///< for each class whether it can win
  std::vector<int> candidates_;
  std::vector<float> top_, bottom_;  ///< for each candidate the cell's upper and lower edge, interpolated in x
  std::vector<float> best_;
};

template <typename Id>
void paint_rows(const Winners& winners, const Axis& x_axis, const Axis& y_axis, const cv::Range& bands, cv::Mat& ids) {
  CellPainter painter(winners, x_axis, y_axis);
  for (int band = bands.start; band < bands.end; ++band) {
    const Span& ys = y_axis.spans[band];
    const int upper = ys.low * winners.width, lower = ys.high * winners.width;
    const auto agree = [&](const Span& xs) {
      const std::array<int, 4> corners{upper + xs.low, upper + xs.high, lower + xs.low, lower + xs.high};
      return std::all_of(corners.begin(), corners.end(), [&](int i) {
        return winners.label[i] == winners.label[corners[0]] && winners.margin[i] > winners.needed;
      });
    };
    for (const Span& xs : x_axis.spans) {
      if (!agree(xs)) {
        painter.paint<Id>(ys, xs, ids);
        continue;
      }
      const auto id = static_cast<Id>(winners.label[upper + xs.low]);
      for (int y = ys.begin; y < ys.end; ++y) std::fill(ids.ptr<Id>(y) + xs.begin, ids.ptr<Id>(y) + xs.end, id);
    }
  }
}

}  // namespace

int id_type(int classes) {
  return classes <= 256 ? CV_8U : CV_16U;
}

cv::Mat argmax(const Planes& planes, const Geometry& sizes) {
  const bool resized = sizes.content != sizes.image;
  if (planes.size != sizes.network && !resized) return sparse_argmax(planes, sizes.network, sizes.image);
  const bool enlarged = sizes.content.width <= sizes.image.width && sizes.content.height <= sizes.image.height;
  if (!resized || !enlarged) return full_argmax(planes, sizes);
  // The last resize works in cells too, which takes no memory for planes of the image's size.
  const Geometry to_content{sizes.content, sizes.content, sizes.network};
  Scratch scratch;
  std::vector<float> content;
  content.reserve(static_cast<std::size_t>(planes.count) * sizes.content.area());
  for (int k = 0; k < planes.count; ++k) {
    const cv::Mat plane = restore(planes, k, to_content, scratch);
    for (int y = 0; y < plane.rows; ++y)
      content.insert(content.end(), plane.ptr<float>(y), plane.ptr<float>(y) + plane.cols);
  }
  return sparse_argmax({content.data(), planes.count, sizes.content}, sizes.image, sizes.image);
}

cv::Mat restore(const Planes& planes, int k, const Geometry& sizes, Scratch& scratch) {
  cv::ipp::setUseIPP(false);  // its resize differs in the last bits from OpenCV's own, and from machine to machine
  cv::Mat plane(planes.size, CV_32F, const_cast<float*>(planes.plane(k)));
  if (plane.size() != sizes.network) {
    cv::resize(plane, scratch.network, sizes.network, 0, 0, cv::INTER_LINEAR);
    plane = scratch.network;
  }
  plane = plane(cv::Rect({0, 0}, sizes.content));
  if (plane.size() != sizes.image) {
    cv::resize(plane, scratch.image, sizes.image, 0, 0, cv::INTER_LINEAR);
    plane = scratch.image;
  }
  return plane;
}

cv::Mat largest(int count, const std::function<cv::Mat(int)>& plane) {
  cv::Mat best, larger;
  plane(0).copyTo(best);
  cv::Mat ids(best.size(), id_type(count), cv::Scalar(0));
  for (int k = 1; k < count; ++k) {
    const cv::Mat values = plane(k);
    cv::compare(values, best, larger, cv::CMP_GT);
    cv::max(values, best, best);
    ids.setTo(k, larger);
  }
  return ids;
}

cv::Mat full_argmax(const Planes& planes, const Geometry& sizes) {
  Scratch scratch;
  return largest(planes.count, [&](int k) { return restore(planes, k, sizes, scratch); });
}

cv::Mat sparse_argmax(const Planes& planes, cv::Size network, cv::Size image) {
  const Axis x_axis(planes.size.width, network.width, image.width, true);
  const Axis y_axis(planes.size.height, network.height, image.height, false);
  const Winners winners(planes);
  cv::Mat ids(image, id_type(planes.count));
  cv::parallel_for_({0, static_cast<int>(y_axis.spans.size())}, [&](const cv::Range& bands) {
    if (ids.depth() == CV_8U) {
      paint_rows<std::uint8_t>(winners, x_axis, y_axis, bands, ids);
    } else {
      paint_rows<std::uint16_t>(winners, x_axis, y_axis, bands, ids);
    }
  });
  return ids;
}

cv::Mat restore_ids(const cv::Mat& ids, const Geometry& sizes) {
  const cv::Mat content = ids(cv::Rect({0, 0}, sizes.content));
  if (content.size() == sizes.image) return content;
  cv::Mat restored;
  cv::resize(content, restored, sizes.image, 0, 0, cv::INTER_NEAREST);
  return restored;
}

cv::Mat confidence(int count, const std::function<cv::Mat(int)>& plane, bool probabilities) {
  cv::Mat best, share;
  plane(0).copyTo(best);
  for (int k = 1; k < count; ++k) cv::max(plane(k), best, best);
  if (probabilities) return best;
  cv::Mat total(best.size(), CV_32F, cv::Scalar(0));
  for (int k = 0; k < count; ++k) {
    cv::subtract(plane(k), best, share);
    cv::exp(share, share);
    total += share;
  }
  cv::divide(1.0, total, total);
  return total;
}

cv::Mat confidence(const Planes& planes, const Geometry& sizes, bool probabilities) {
  Scratch scratch;
  return confidence(planes.count, [&](int k) { return restore(planes, k, sizes, scratch); }, probabilities);
}

}  // namespace rtseg
