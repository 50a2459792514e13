#include "tiling.hpp"

#include <algorithm>
#include <utility>

#include "error.hpp"
#include "npy.hpp"

namespace rtseg {
namespace {

constexpr int kMostOverlap = 64;  // pixels, unless another overlap is asked for
constexpr int kPadding = 127;     // mid-grey

std::string text_of(cv::Size size) {
  return shape_text({size.height, size.width});
}

/// The overlap of tiles where none is asked for.
int usual_overlap(cv::Size tile) {
  return std::min(kMostOverlap, std::min(tile.height, tile.width) / 4);
}

cv::Size sides(const Contract& contract, const std::vector<int>& shape) {
  return contract.input.layout == "NHWC" ? cv::Size(shape[2], shape[1]) : cv::Size(shape[3], shape[2]);
}

/// The only size that the model takes, if it does not take several.
std::optional<cv::Size> only_size(const Contract& contract) {
  if (const auto& pad = contract.preprocess.pad) return cv::Size(pad->width, pad->height);
  const cv::Size least = sides(contract, contract.input.shape.min);
  if (least != sides(contract, contract.input.shape.max)) return std::nullopt;
  return least;
}

cv::Mat padded(const cv::Mat& tile, cv::Size least) {
  const int bottom = std::max(0, least.height - tile.rows), right = std::max(0, least.width - tile.cols);
  cv::Mat result;
  cv::copyMakeBorder(tile, result, 0, bottom, 0, right, cv::BORDER_CONSTANT | cv::BORDER_ISOLATED,
                     cv::Scalar::all(kPadding));
  return result;
}

/// plane *= the rising weights of its first columns, plus what the piece before left for them.
void add_left(const cv::Mat& left, const std::vector<float>& rising, cv::Mat& plane) {
  for (int y = 0; y < plane.rows; ++y) {
    float* const values = plane.ptr<float>(y);
    const float* const before = left.ptr<float>(y);
    for (std::size_t x = 0; x < rising.size(); ++x) values[x] = values[x] * rising[x] + before[x];
  }
}

/// The last columns of a plane by their falling weights, which are cut from it.
cv::Mat take_right(const std::vector<float>& falling, cv::Mat& plane) {
  const int kept = plane.cols - static_cast<int>(falling.size());
  cv::Mat right = plane.colRange(kept, plane.cols).clone();
  for (int y = 0; y < right.rows; ++y) {
    float* const values = right.ptr<float>(y);
    for (std::size_t x = 0; x < falling.size(); ++x) values[x] *= falling[x];
  }
  plane = plane.colRange(0, kept);
  return right;
}

/// The same for rows: `above` has the columns of the plane.
void add_above(const cv::Mat& above, const std::vector<float>& rising, cv::Mat& plane) {
  for (std::size_t y = 0; y < rising.size(); ++y) {
    float* const values = plane.ptr<float>(static_cast<int>(y));
    const float* const before = above.ptr<float>(static_cast<int>(y));
    for (int x = 0; x < plane.cols; ++x) values[x] = values[x] * rising[y] + before[x];
  }
}

void take_below(const std::vector<float>& falling, cv::Mat& plane, cv::Mat& below) {
  const int kept = plane.rows - static_cast<int>(falling.size());
  for (std::size_t y = 0; y < falling.size(); ++y) {
    const float* const values = plane.ptr<float>(kept + static_cast<int>(y));
    float* const next = below.ptr<float>(static_cast<int>(y));
    for (int x = 0; x < plane.cols; ++x) next[x] = values[x] * falling[y];
  }
  plane = plane.rowRange(0, kept);
}

}  // namespace

std::vector<Piece> pieces(int length, int tile, int overlap) {
  std::vector<float> rising, falling;
  for (int i = 0; i < overlap; ++i) {
    rising.push_back((static_cast<float>(i) + 0.5F) / static_cast<float>(overlap));
    falling.push_back(1.0F - rising.back());
  }
  std::vector<Piece> found;
  while (found.empty() || found.back().end < length) {
    const bool begins = found.empty();
    const int first = begins ? 0 : found.back().end - overlap, end = std::min(length, first + tile);
    found.push_back({std::max(0, end - tile), end, first, begins ? std::vector<float>() : rising,
                     end == length ? std::vector<float>() : falling});
  }
  return found;
}

std::string Fit::text() const {
  if (resize) return "resizing images to " + text_of(*resize) + " pixels";
  if (tile) return "segmenting in tiles of " + text_of(*tile) + " pixels that overlap by " + std::to_string(overlap);
  return "";
}

cv::Mat Fit::part_of(const cv::Mat& image) const {
  return tile ? image(cv::Rect({0, 0}, *tile) & cv::Rect({0, 0}, image.size())).clone() : image;
}

void check_tile(const Preprocessor& preprocess, cv::Size tile, int overlap) {
  const Contract& contract = preprocess.contract();
  const auto batch = static_cast<std::size_t>(std::max(1, contract.input.shape.min[0]));
  try {
    preprocess.input_shape(std::vector<cv::Size>(batch, tile));
  } catch (const InputError&) {
    throw InputError("expected tiles of a size that the model takes, " + contract.input.layout + " inputs of " +
                     contract.input.shape.text() + ", got " + text_of(tile) + "; choose another --tile");
  }
  if (overlap < 0 || 2 * overlap >= std::min(tile.height, tile.width))
    throw InputError("expected an overlap of less than half a tile of " + text_of(tile) + " pixels, got " +
                     std::to_string(overlap) + "; lower --overlap");
}

Fit choose_fit(const Preprocessor& preprocess, const FitOptions& asked) {
  const Contract& contract = preprocess.contract();
  const std::optional<cv::Size> size = only_size(contract);
  if (asked.fit != "tile" && asked.fit != "resize")
    throw InputError("expected --fit tile or resize, got " + quoted(asked.fit.substr(0, 100)) + "; choose one");
  Fit fit;
  if (asked.fit == "resize") {
    if (asked.tile || asked.overlap)
      throw InputError("expected --tile and --overlap without --fit resize, got both; leave one out");
    if (size && contract.raw_input())
      throw InputError(
          "expected --fit tile with a model that takes camera images of one size, got resize; change it");
    fit.resize = size;
    return fit;
  }
  fit.tile = asked.tile || contract.preprocess.resize ? asked.tile : size;
  if (!fit.tile && asked.overlap)
    throw InputError("expected --overlap with --tile, or with a model of one size, got it alone; add --tile");
  if (!fit.tile) return fit;
  fit.overlap = asked.overlap.value_or(usual_overlap(*fit.tile));
  check_tile(preprocess, *fit.tile, fit.overlap);
  return fit;
}

cv::Size least_tile(const Contract& contract) {
  if (contract.preprocess.resize || contract.preprocess.pad) return {1, 1};
  return sides(contract, contract.input.shape.min);
}

void blend_tiles(const cv::Mat& image, const Fit& fit, int classes, int batch, cv::Size least,
                 const std::function<PlanesOf(const std::vector<cv::Mat>&)>& run,
                 const std::function<void(const cv::Rect&, const std::vector<cv::Mat>&)>& use) {
  const std::vector<Piece> rows = pieces(image.rows, fit.tile->height, fit.overlap);
  const std::vector<Piece> columns = pieces(image.cols, fit.tile->width, fit.overlap);
  std::vector<cv::Mat> shared, left(classes);  // planes' rows between two rows of tiles; columns between two tiles
  if (rows.size() > 1)
    for (int k = 0; k < classes; ++k) shared.emplace_back(std::max(1, fit.overlap), image.cols, CV_32F);
  for (const Piece& row : rows) {
    PlanesOf planes_of;
    for (std::size_t i = 0; i < columns.size(); ++i) {
      const auto index = i % static_cast<std::size_t>(batch);
      if (index == 0) {
        std::vector<cv::Mat> tiles;
        for (std::size_t j = i; j < std::min(i + static_cast<std::size_t>(batch), columns.size()); ++j)
          tiles.push_back(padded(
              image(cv::Range(row.start, row.end), cv::Range(columns[j].start, columns[j].end)), least));
        planes_of = nullptr;  // frees the batch before
        planes_of = run(tiles);
      }
      const Piece& column = columns[i];
      std::vector<cv::Mat> planes = planes_of(static_cast<int>(index));
      for (int k = 0; k < classes; ++k) {
        cv::Mat& plane = planes[k];
        plane = plane(cv::Range(row.first - row.start, row.end - row.start),
                      cv::Range(column.first - column.start, column.end - column.start));
        if (!column.rising.empty()) add_left(left[k], column.rising, plane);
        if (!column.falling.empty()) left[k] = take_right(column.falling, plane);
        if (row.rising.empty() && row.falling.empty()) continue;
        cv::Mat below = shared[k].colRange(column.first, column.final());
        add_above(below, row.rising, plane);
        take_below(row.falling, plane, below);
      }
      use(cv::Rect(cv::Point(column.first, row.first), cv::Point(column.final(), row.final())), planes);
    }
  }
}

}  // namespace rtseg
