// TIFF files: what the directory of the first page says, and its pixels a band of rows at a time.
// rtseg_inference/tiff.py divides the same images, and says why.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace rtseg {

/// The contents of a file, of which parts are read when they are asked for.
struct Contents {
  std::uint64_t size;
  std::function<std::string(std::uint64_t at, std::uint64_t length)> read;  ///< no more than there are
};

/// Tags of a TIFF file.
enum TiffTag {
  kWidth = 256,
  kHeight = 257,
  kBits = 258,
  kCompression = 259,
  kStrips = 273,
  kOrientation = 274,
  kStripRows = 278,
  kStripSizes = 279,
  kPlanar = 284,
  kTileWidth = 322,
  kTileHeight = 323,
  kTiles = 324,
  kTileSizes = 325,
  kSampleFormat = 339,
};

/// Whether a file begins as a TIFF.
bool is_tiff(std::string_view data);

/// The directory of the first page. Throws Refused if the file ends before it; also in the functions, about values and
/// pieces.
class TiffDirectory {
 public:
  explicit TiffDirectory(Contents contents);

  const Contents& contents() const { return contents_; }
  /// The number of a tag's values; 0 if it is missing, or has other values than whole numbers.
  std::int64_t count(int tag) const;
  /// The first of a tag's whole numbers, or `absent`.
  std::int64_t first(int tag, std::int64_t absent = 0) const;
  /// Where the strips or tiles are, and how long.
  std::vector<std::int64_t> starts() const;
  std::vector<std::int64_t> sizes() const;

  /// Whether the image can be divided: its pieces lie upright in order, each with all channels.
  bool divisible() const;
  /// Call `use` with the first row and the number of rows of each band from the top, and a TIFF file of its pixels. A
  /// band has at least one row of strips or tiles.
  void each_band(const std::function<void(int top, int rows, const std::string& file)>& use) const;

 private:
  /// A tag's type, the number of its values, and where they are in the file.
  struct Entry {
    int type;
    std::int64_t count;
    std::uint64_t start;

    std::uint64_t size() const;  ///< of the values in bytes
  };
  /// A tag as it is written to a band's file.
  struct Stored {
    int type;
    std::int64_t count;
    std::string values;
  };

  std::int64_t piece_rows() const;
  std::int64_t pieces_across() const;
  std::map<int, Entry> of_pixels() const;
  std::string file(std::int64_t height, const std::vector<std::string>& pieces) const;
  Stored longs(const std::vector<std::int64_t>& values) const;
  std::vector<std::int64_t> values(int tag, std::int64_t most = INT64_MAX) const;
  std::int64_t number(std::string_view digits) const;
  std::string packed(std::int64_t number, int length) const;
  std::string bytes(std::uint64_t at, std::uint64_t length) const;

  Contents contents_;
  bool little_endian_;
  std::map<int, Entry> entries_;
};

}  // namespace rtseg
