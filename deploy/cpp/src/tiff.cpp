#include "tiff.hpp"

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>

#include "image_headers.hpp"

namespace rtseg {
namespace {

constexpr std::int64_t kBand = 1 << 22;           // pixels of a band, unless one row of pieces has more
constexpr std::uint64_t kMostCopied = 1 << 20;    // bytes of the tags that each band repeats
constexpr int kShort = 3, kLong = 4;
constexpr std::array<int, 13> kBytes{1, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8};  // of a value, by type
/// Compressions of pieces that need nothing but a piece and the tags below: none, LZW, JPEG, deflate, PackBits.
constexpr std::array<int, 6> kDivisible{1, 5, 7, 8, 32773, 32946};
/// Tags that say how pixels are stored: also photometric interpretation, fill order, samples, predictor, colours of a
/// palette, extra samples, JPEG tables, and those of YCbCr.
constexpr std::array<int, 21> kOfPixels{256, 257, 258, 259, 262, 266, 274, 277, 278, 284, 317,
                                        320, 322, 323, 338, 339, 347, 529, 530, 531, 532};

std::int64_t divided_up(std::int64_t number, std::int64_t by) { return (number + by - 1) / by; }

}  // namespace

bool is_tiff(std::string_view data) {
  const std::string_view signature = data.substr(0, 4);
  return signature == std::string_view("II*\0", 4) || signature == std::string_view("MM\0*", 4);
}

std::uint64_t TiffDirectory::Entry::size() const {
  const bool known = type >= 0 && type < static_cast<int>(kBytes.size());
  return static_cast<std::uint64_t>(count) * (known ? kBytes[type] : 1);
}

TiffDirectory::TiffDirectory(Contents contents)
    : contents_(std::move(contents)), little_endian_(bytes(0, 1) == "I") {
  const auto start = static_cast<std::uint64_t>(number(bytes(4, 4)));
  const std::int64_t count = number(bytes(start, 2));
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint64_t at = start + 2 + 12 * static_cast<std::uint64_t>(i);
    const std::string text = bytes(at, 12);
    const std::string_view digits = text;
    Entry entry{static_cast<int>(number(digits.substr(2, 2))), number(digits.substr(4, 4)), at + 8};
    if (entry.size() > 4) entry.start = static_cast<std::uint64_t>(number(digits.substr(8, 4)));
    entries_.emplace(number(digits.substr(0, 2)), entry);  // of two with one tag, the first counts
  }
}

std::int64_t TiffDirectory::count(int tag) const {
  const auto found = entries_.find(tag);
  const bool whole = found != entries_.end() && (found->second.type == kShort || found->second.type == kLong);
  return whole ? found->second.count : 0;
}

std::int64_t TiffDirectory::first(int tag, std::int64_t absent) const {
  return count(tag) > 0 ? values(tag, 1)[0] : absent;
}

std::vector<std::int64_t> TiffDirectory::starts() const { return values(count(kStrips) > 0 ? kStrips : kTiles); }

std::vector<std::int64_t> TiffDirectory::sizes() const {
  return values(count(kStripSizes) > 0 ? kStripSizes : kTileSizes);
}

bool TiffDirectory::divisible() const {
  const std::vector<std::int64_t> lengths = sizes();
  const std::int64_t height = first(kHeight), rows = piece_rows();
  const std::int64_t total = std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0});
  std::uint64_t copied = 0;
  for (const auto& [tag, entry] : of_pixels()) copied += entry.size();
  return std::find(kDivisible.begin(), kDivisible.end(), first(kCompression, 1)) != kDivisible.end() &&
         first(kOrientation, 1) == 1 && first(kPlanar, 1) == 1 &&
         (count(kStrips) > 0) != (count(kTileWidth) > 0) && 0 < rows && rows < height &&
         starts().size() == lengths.size() &&
         static_cast<std::int64_t>(lengths.size()) == pieces_across() * divided_up(height, rows) &&
         total <= static_cast<std::int64_t>(contents_.size) && copied <= kMostCopied;
}

void TiffDirectory::each_band(const std::function<void(int top, int rows, const std::string& file)>& use) const {
  const std::vector<std::int64_t> at = starts(), lengths = sizes();
  const std::int64_t height = first(kHeight), rows = piece_rows(), across = pieces_across();
  const std::int64_t together = std::max<std::int64_t>(1, kBand / (rows * first(kWidth)));  // rows of pieces
  for (std::int64_t top = 0; top < height; top += together * rows) {
    const std::int64_t end = std::min(height, top + together * rows);
    std::vector<std::string> pieces;
    for (std::int64_t i = top / rows * across; i < divided_up(end, rows) * across; ++i)
      pieces.push_back(bytes(static_cast<std::uint64_t>(at[i]), static_cast<std::uint64_t>(lengths[i])));
    use(static_cast<int>(top), static_cast<int>(end - top), file(end - top, pieces));
  }
}

std::int64_t TiffDirectory::piece_rows() const { return first(count(kStrips) > 0 ? kStripRows : kTileHeight); }

std::int64_t TiffDirectory::pieces_across() const {
  return count(kStrips) > 0 ? 1 : divided_up(first(kWidth), std::max<std::int64_t>(1, first(kTileWidth)));
}

std::map<int, TiffDirectory::Entry> TiffDirectory::of_pixels() const {
  std::map<int, Entry> found;
  for (const int tag : kOfPixels)
    if (const auto entry = entries_.find(tag); entry != entries_.end()) found.insert(*entry);
  return found;
}

/// A TIFF file of these strips or tiles: a header of 8 bytes, the pieces, the directory, its longer values.
std::string TiffDirectory::file(std::int64_t height, const std::vector<std::string>& pieces) const {
  std::vector<std::int64_t> at, lengths;
  std::int64_t end = 8;
  for (const std::string& piece : pieces) {
    at.push_back(end);
    lengths.push_back(static_cast<std::int64_t>(piece.size()));
    end += lengths.back();
  }
  std::map<int, Stored> stored;
  for (const auto& [tag, entry] : of_pixels())
    stored[tag] = {entry.type, entry.count, bytes(entry.start, entry.size())};
  const bool of_strips = count(kStrips) > 0;
  stored[kHeight] = longs({height});
  stored[of_strips ? kStrips : kTiles] = longs(at);
  stored[of_strips ? kStripSizes : kTileSizes] = longs(lengths);
  const std::int64_t directory_at = end + end % 2;
  const std::int64_t longer_at = directory_at + 2 + 12 * static_cast<std::int64_t>(stored.size()) + 4;
  std::string directory = packed(static_cast<std::int64_t>(stored.size()), 2), longer;
  for (auto& [tag, entry] : stored) {
    std::string here = entry.values;
    if (here.size() > 4) {
      here = packed(longer_at + static_cast<std::int64_t>(longer.size()), 4);
      longer += entry.values + std::string(entry.values.size() % 2, '\0');
    }
    here.resize(4);
    directory += packed(tag, 2) + packed(entry.type, 2) + packed(entry.count, 4) + here;
  }
  std::string whole = bytes(0, 4) + packed(directory_at, 4);
  for (const std::string& piece : pieces) whole += piece;
  whole.resize(static_cast<std::size_t>(directory_at));
  return whole + directory + std::string(4, '\0') + longer;
}

TiffDirectory::Stored TiffDirectory::longs(const std::vector<std::int64_t>& values) const {
  Stored stored{kLong, static_cast<std::int64_t>(values.size()), {}};
  for (const std::int64_t value : values) stored.values += packed(value, 4);
  return stored;
}

/// A tag's whole numbers, or the first `most` of them.
std::vector<std::int64_t> TiffDirectory::values(int tag, std::int64_t most) const {
  const std::int64_t wanted = std::min(count(tag), most);
  if (wanted == 0) return {};
  const Entry& entry = entries_.at(tag);
  const std::size_t length = entry.type == kShort ? 2 : 4;
  const std::string text = bytes(entry.start, static_cast<std::uint64_t>(wanted) * length);
  std::vector<std::int64_t> found;
  for (std::size_t i = 0; i < text.size(); i += length)
    found.push_back(number(std::string_view(text).substr(i, length)));
  return found;
}

std::int64_t TiffDirectory::number(std::string_view digits) const {
  std::int64_t value = 0;
  for (std::size_t i = 0; i < digits.size(); ++i)
    value = value << 8 | static_cast<unsigned char>(digits[little_endian_ ? digits.size() - 1 - i : i]);
  return value;
}

std::string TiffDirectory::packed(std::int64_t number, int length) const {
  std::string digits;
  for (int i = 0; i < length; ++i) digits += static_cast<char>(number >> (8 * i) & 0xFF);
  if (!little_endian_) std::reverse(digits.begin(), digits.end());
  return digits;
}

std::string TiffDirectory::bytes(std::uint64_t at, std::uint64_t length) const {
  if (at > contents_.size || length > contents_.size - at) throw Refused(kCutShort);
  std::string found = contents_.read(at, length);
  if (found.size() < length) throw Refused(kCutShort);  // the file has shrunk
  return found;
}

}  // namespace rtseg
