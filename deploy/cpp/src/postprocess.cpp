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

int id_type(int classes) {
  return classes <= 256 ? CV_8U : CV_16U;
}

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

/// For each low-resolution pixel the largest class and how far the next one is below.
struct Winners {
  std::vector<int> label;
  std::vector<float> margin;
  float needed;  ///< a margin above this outlives the rounding errors of an interpolation

  explicit Winners(const Planes& planes) : label(planes.size.area()), margin(planes.size.area()) {
    const int width = planes.size.width;
    float magnitude = 0;
    cv::parallel_for_(
        {0, planes.size.height},
        [&](const cv::Range& rows) {
          std::vector<float> second(width);
          for (int y = rows.start; y < rows.end; ++y) row(planes, y, second);
        },
        planes.count * planes.size.area() / 65536.0);
    for (std::size_t i = 0; i < static_cast<std::size_t>(planes.count) * planes.size.area(); ++i)
      magnitude = std::max(magnitude, std::abs(planes.data[i]));
    // Two weights per axis, each product and sum rounded: below 2^-21 of the largest value for each of two classes.
    needed = std::max(std::ldexp(magnitude, -20), FLT_MIN);
  }

 private:
  void row(const Planes& planes, int y, std::vector<float>& second) {
    const int width = planes.size.width;
    int* const id = &label[static_cast<std::size_t>(y) * width];
    float* const best = &margin[static_cast<std::size_t>(y) * width];
    float* const next = second.data();
    std::fill(best, best + width, -std::numeric_limits<float>::infinity());
    std::fill(next, next + width, -std::numeric_limits<float>::infinity());
    for (int k = 0; k < planes.count; ++k) {
      const float* const value = planes.data + (static_cast<std::size_t>(k) * planes.size.height + y) * width;
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

/// Fills one cell whose corners disagree.
class CellPainter {
 public:
  CellPainter(const Planes& planes, const Winners& winners, const Axis& x_axis, const Axis& y_axis)
      : planes_(planes),
        winners_(winners),
        x_axis_(x_axis),
        y_axis_(y_axis),
        width_(x_axis.longest()),
        top_(static_cast<std::size_t>(planes.count) * width_),
        bottom_(top_.size()),
        best_(width_) {}

  template <typename Id>
  void paint(const Span& ys, const Span& xs, cv::Mat& ids) {
    const int n = xs.end - xs.begin;
    const std::array<int, 4> corners{ys.low * planes_.size.width + xs.low, ys.low * planes_.size.width + xs.high,
                                     ys.high * planes_.size.width + xs.low, ys.high * planes_.size.width + xs.high};
    candidates_.clear();
    for (int k = 0; k < planes_.count; ++k) {
      if (!can_win(k, corners)) continue;
      const float* const plane = planes_.plane(k).ptr<float>();
      float* const top = &top_[candidates_.size() * width_];
      float* const bottom = &bottom_[candidates_.size() * width_];
      for (int x = 0; x < n; ++x) {
        const float low = x_axis_.low_weight[xs.begin + x], high = x_axis_.high_weight[xs.begin + x];
        top[x] = plane[corners[0]] * low + plane[corners[1]] * high;
        bottom[x] = plane[corners[2]] * low + plane[corners[3]] * high;
      }
      candidates_.push_back(k);
    }
    for (int y = ys.begin; y < ys.end; ++y) {
      const float low = y_axis_.low_weight[y], high = y_axis_.high_weight[y];
      Id* const id = ids.ptr<Id>(y) + xs.begin;
      for (std::size_t c = 0; c < candidates_.size(); ++c) {
        const float* const top = &top_[c * width_];
        const float* const bottom = &bottom_[c * width_];
        for (int x = 0; x < n; ++x) {
          const float value = top[x] * low + bottom[x] * high;
          const bool larger = c == 0 || value > best_[x];
          best_[x] = larger ? value : best_[x];
          id[x] = larger ? static_cast<Id>(candidates_[c]) : id[x];
        }
      }
    }
  }

 private:
  /// False if the winner of one of the corners is safely above class `k` at all four.
  bool can_win(int k, const std::array<int, 4>& corners) const {
    const float* const values = planes_.data + static_cast<std::size_t>(k) * planes_.size.area();
    for (int corner : corners) {
      const int winner = winners_.label[corner];
      if (winner == k) return true;
      const float* const winning = planes_.data + static_cast<std::size_t>(winner) * planes_.size.area();
      bool above = true;
      for (int i : corners) above = above && winning[i] - values[i] > winners_.needed;
      if (above) return false;
    }
    return true;
  }

  const Planes& planes_;
  const Winners& winners_;
  const Axis& x_axis_;
  const Axis& y_axis_;
  std::size_t width_;
  std::vector<int> candidates_;
  std::vector<float> top_, bottom_;  ///< for each candidate the cell's upper and lower edge, interpolated in x
  std::vector<float> best_;
};

template <typename Id>
void paint_rows(const Planes& planes, const Winners& winners, const Axis& x_axis, const Axis& y_axis,
                const cv::Range& bands, cv::Mat& ids) {
  CellPainter painter(planes, winners, x_axis, y_axis);
  for (int band = bands.start; band < bands.end; ++band) {
    const Span& ys = y_axis.spans[band];
    const std::size_t upper = static_cast<std::size_t>(ys.low) * planes.size.width;
    const std::size_t lower = static_cast<std::size_t>(ys.high) * planes.size.width;
    const auto agree = [&](const Span& xs) {
      const std::array<std::size_t, 4> corners{upper + xs.low, upper + xs.high, lower + xs.low, lower + xs.high};
      return std::all_of(corners.begin(), corners.end(), [&](std::size_t i) {
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

cv::Mat Planes::plane(int k) const {
  return {size, CV_32F, const_cast<float*>(data + static_cast<std::size_t>(k) * size.area())};
}

cv::Mat argmax(const Planes& planes, const Geometry& sizes) {
  return sizes.content == sizes.image ? sparse_argmax(planes, sizes.network, sizes.image) : full_argmax(planes, sizes);
}

cv::Mat full_argmax(const Planes& planes, const Geometry& sizes) {
  cv::ipp::setUseIPP(false);  // its resize differs in the last bits from OpenCV's own, and from machine to machine
  cv::Mat ids(sizes.image, id_type(planes.count), cv::Scalar(0)), network, image, best, larger;
  for (int k = 0; k < planes.count; ++k) {
    cv::Mat plane = planes.plane(k);
    if (plane.size() != sizes.network) {
      cv::resize(plane, network, sizes.network, 0, 0, cv::INTER_LINEAR);
      plane = network;
    }
    plane = plane(cv::Rect({0, 0}, sizes.content));
    if (plane.size() != sizes.image) {
      cv::resize(plane, image, sizes.image, 0, 0, cv::INTER_LINEAR);
      plane = image;
    }
    if (k == 0) {
      plane.copyTo(best);
      continue;
    }
    cv::compare(plane, best, larger, cv::CMP_GT);
    cv::max(plane, best, best);
    ids.setTo(k, larger);
  }
  return ids;
}

cv::Mat sparse_argmax(const Planes& planes, cv::Size network, cv::Size image) {
  const Axis x_axis(planes.size.width, network.width, image.width, true);
  const Axis y_axis(planes.size.height, network.height, image.height, false);
  const Winners winners(planes);
  cv::Mat ids(image, id_type(planes.count));
  cv::parallel_for_({0, static_cast<int>(y_axis.spans.size())}, [&](const cv::Range& bands) {
    if (ids.depth() == CV_8U) {
      paint_rows<std::uint8_t>(planes, winners, x_axis, y_axis, bands, ids);
    } else {
      paint_rows<std::uint16_t>(planes, winners, x_axis, y_axis, bands, ids);
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

}  // namespace rtseg
