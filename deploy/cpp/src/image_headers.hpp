// What an image file states about itself, read before anything is decoded. rtseg_inference/images.py has the same in
// Python, with the same limits and messages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace rtseg {

class TiffDirectory;

/// What the header of an image file states.
struct ImageHeader {
  std::int64_t width = 0, height = 0;  ///< pixels
  std::size_t end = 0;                 ///< where the image ends in the file; bytes after it are ignored
  bool one_scan = false;               ///< a JPEG whose pixels lie in one scan
};

/// Why a file is not an image: the end of a sentence.
class Refused : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

constexpr char kCutShort[] = "is cut short";

/// Pixels of an image of which none other is in memory at the same time; a larger TIFF is decoded in bands.
constexpr std::int64_t kLarge = 25'000'000;

/// Parse the header of an image, whose file has the contents `data`, and find its end. Throws Refused if the format is
/// not known, the header is damaged, or the file ends before the image does.
ImageHeader read_image_header(std::string_view data);

/// The header of a TIFF's first page. Throws Refused in the same cases.
ImageHeader read_tiff_header(const TiffDirectory& directory);

/// The pixels that an image and the network's input may have. Throws InputError if the environment variable
/// RTSEG_MEGAPIXELS is not a number of megapixels.
std::int64_t pixel_limit();

/// Whether an image of that size is within the limits.
bool fits(std::int64_t width, std::int64_t height);

/// The beginning of a sentence about an image that does not fit.
std::string too_large(std::int64_t width, std::int64_t height);

}  // namespace rtseg
