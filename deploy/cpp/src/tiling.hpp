// Images of any size in tiles: each is segmented alone, and neighbours are blended where they overlap.
// rtseg_inference/tiling.py computes the same masks, and says more about how.
#pragma once

#include <functional>
#include <opencv2/core.hpp>
#include <optional>
#include <string>
#include <vector>

#include "contract.hpp"
#include "preprocess.hpp"

namespace rtseg {

/// A tile's place along one side of the image, in pixels from the image's edge.
struct Piece {
  int start, end;              ///< of the tile
  int first;                   ///< where its pixels begin to count
  std::vector<float> rising;   ///< weights of the pixels from `first` on, which the piece before shares
  std::vector<float> falling;  ///< weights of its last pixels, which the next piece shares

  /// Where the pixels end that no later piece changes.
  int final() const { return end - static_cast<int>(falling.size()); }
};

/// The places of tiles of `tile` pixels along `length`; a single one if they suffice.
std::vector<Piece> pieces(int length, int tile, int overlap);

/// How images are brought to the sizes that a model takes; without `tile` and `resize` they are left alone.
struct Fit {
  std::optional<cv::Size> tile;
  int overlap = 0;
  std::optional<cv::Size> resize;

  /// What the log says; empty if there is nothing to say.
  std::string text() const;
  /// As much of an image as the model sees at once.
  cv::Mat part_of(const cv::Mat& image) const;
};

/// What of this was asked for on the command line.
struct FitOptions {
  std::optional<cv::Size> tile;
  std::optional<int> overlap;
  std::string fit = "tile";
};

/// How a model is to take images of any size. Throws InputError if it takes no such tiles, or what is asked for does not
/// go together.
Fit choose_fit(const Preprocessor& preprocess, const FitOptions& asked);

/// Throws InputError unless a model takes tiles of that size, which overlap by less than half of it.
void check_tile(const Preprocessor& preprocess, cv::Size tile, int overlap);

/// The smallest tile that a model takes; smaller ones are padded at the right and the bottom.
cv::Size least_tile(const Contract& contract);

/// (H, W) CV_32F logits or probabilities of each class for a tile of a batch, which may be changed.
using PlanesOf = std::function<std::vector<cv::Mat>(int)>;

/// Run a network on an image tile by tile, and blend the planes of the tiles.
///
/// `run` takes tiles of one size as a batch, of at most `batch`; what it returns gives the planes of each. `use` takes a
/// part of the image and its blended planes, for one part after the other until the image is covered.
void blend_tiles(const cv::Mat& image, const Fit& fit, int classes, int batch, cv::Size least,
                 const std::function<PlanesOf(const std::vector<cv::Mat>&)>& run,
                 const std::function<void(const cv::Rect&, const std::vector<cv::Mat>&)>& use);

}  // namespace rtseg
