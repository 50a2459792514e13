#include "image_headers.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "error.hpp"
#include "tiff.hpp"

namespace rtseg {
namespace {

constexpr int kMegapixels = 100, kMostMegapixels = 1000;
constexpr std::int64_t kMega = 1'000'000, kMostSide = 65500;  // libjpeg writes no longer sides
constexpr int kJpegScans = 20;  // decoding costs the pixels once for each scan: at most this many times the limit
constexpr int kPngChunks = 1'000'000, kJpegSegments = 100'000, kTiffStrips = 1'000'000;

/// The bytes of a file; reading beyond the end throws Refused.
class Bytes {
 public:
  enum Order { kBigEndian, kLittleEndian };

  Bytes(std::string_view data, Order order) : data_(data), order_(order) {}

  std::size_t size() const { return data_.size(); }

  std::string_view text(std::uint64_t at, std::uint64_t length) const {
    if (at > data_.size() || length > data_.size() - at) throw Refused(kCutShort);
    return data_.substr(at, length);
  }

  unsigned byte(std::uint64_t at) const { return static_cast<unsigned char>(text(at, 1)[0]); }

  /// The number in `length` bytes, at most 4.
  std::int64_t number(std::uint64_t at, int length) const {
    const std::string_view digits = text(at, length);
    std::int64_t value = 0;
    for (int i = 0; i < length; ++i)
      value = value << 8 | static_cast<unsigned char>(digits[order_ == kBigEndian ? i : length - 1 - i]);
    return value;
  }

  std::int32_t signed_number(std::uint64_t at) const { return static_cast<std::int32_t>(number(at, 4)); }

 private:
  std::string_view data_;
  Order order_;
};

/// `header`, unless the image takes more than `needed` bytes. Those are a product of stated sizes, which only a floating
/// point number holds in every case.
ImageHeader whole(ImageHeader header, double needed, std::string_view data) {
  if (needed > static_cast<double>(data.size())) throw Refused(kCutShort);
  header.end = data.size();
  return header;
}

/// A signature, then chunks of length, type, contents and checksum, from IHDR to IEND.
ImageHeader png(std::string_view data) {
  const Bytes bytes(data, Bytes::kBigEndian);
  ImageHeader header{bytes.number(16, 4), bytes.number(20, 4)};
  if (bytes.text(12, 4) != "IHDR") throw Refused("has a damaged header");
  std::size_t at = 8;
  for (int i = 0; i < kPngChunks; ++i) {
    const bool last = bytes.text(at + 4, 4) == "IEND";
    at += 12 + static_cast<std::size_t>(bytes.number(at, 4));
    if (at > data.size()) throw Refused(kCutShort);
    if (!last) continue;
    header.end = at;
    return header;
  }
  throw Refused("has more than " + std::to_string(kPngChunks) + " chunks");
}

/// Walks the segments of a JPEG; the compressed pixels of a scan lie between its header and the next marker.
class Jpeg {
 public:
  explicit Jpeg(std::string_view data) : data_(data), bytes_(data, Bytes::kBigEndian) {}

  ImageHeader header() {
    std::size_t at = 2;
    for (int i = 0; i < kJpegSegments; ++i) {
      const unsigned kind = next_marker(at);
      if (kind == kEnd) return finish(at);
      if (kind == kTemporary) continue;  // has no length
      const auto length = static_cast<std::size_t>(bytes_.number(at, 2));
      if (is_frame(kind) && !frame_) {
        read_frame(at);
      } else if (kind == kScan) {
        read_scan(at, length);
      }
      at += length;
    }
    throw Refused("has more than " + std::to_string(kJpegSegments) + " segments");
  }

 private:
  static constexpr unsigned kTemporary = 0x01, kFrame = 0xC0, kTables = 0xC4, kReserved = 0xC8, kArithmetic = 0xCC,
                            kRestart = 0xD0, kLastRestart = 0xD7, kEnd = 0xD9, kScan = 0xDA, kFill = 0xFF;
  static constexpr unsigned kMostComponents = 4;  // libjpeg takes no more in a scan
  static constexpr int kCoefficients = 64, kUnseen = 16;

  static bool is_frame(unsigned kind) {
    return kind >= kFrame && kind < kRestart && kind != kTables && kind != kReserved && kind != kArithmetic;
  }

  /// The number of the next marker, after which `at` points. Zeros and restarts belong to the pixels.
  unsigned next_marker(std::size_t& at) const {
    for (;;) {
      at = data_.find('\xff', at);
      if (at == std::string_view::npos) throw Refused(kCutShort);
      while (bytes_.byte(at) == kFill) ++at;
      const unsigned kind = bytes_.byte(at++);
      if (kind != 0 && (kind < kRestart || kind > kLastRestart)) return kind;
    }
  }

  void read_frame(std::size_t at) {
    frame_ = {bytes_.number(at + 5, 2), bytes_.number(at + 3, 2)};
    const unsigned components = bytes_.byte(at + 7);
    for (unsigned k = 0; k < components; ++k) missing_[bytes_.byte(at + 8 + 3 * k)].fill(kUnseen);
  }

  void read_scan(std::size_t at, std::size_t length) {
    ++scans_;
    const std::string_view limits = length < 3 ? std::string_view() : bytes_.text(at + length - 3, 3);
    if (limits.empty()) throw Refused(kCutShort);
    const auto limit = [&](int i) { return static_cast<int>(static_cast<unsigned char>(limits[i])); };
    const unsigned components = std::min(bytes_.byte(at + 2), kMostComponents);
    for (unsigned k = 0; k < components; ++k) {
      const auto component = missing_.find(bytes_.byte(at + 3 + 2 * k));
      if (component == missing_.end()) continue;
      for (int i = limit(0); i <= std::min(limit(1), kCoefficients - 1); ++i) component->second[i] = limit(2) & 15;
    }
  }

  ImageHeader finish(std::size_t end) const {
    const bool incomplete = std::any_of(missing_.begin(), missing_.end(), [](const auto& component) {
      return std::any_of(component.second.begin(), component.second.end(), [](int bits) { return bits != 0; });
    });
    if (!frame_ || incomplete) throw Refused(kCutShort);
    if (scans_ > kJpegScans && scans_ * frame_->width * frame_->height > kJpegScans * pixel_limit())
      throw Refused("has " + std::to_string(scans_) + " scans, too many for its size");
    return {frame_->width, frame_->height, end, scans_ == 1};
  }

  std::string_view data_;
  Bytes bytes_;
  std::optional<ImageHeader> frame_;
  std::int64_t scans_ = 0;
  /// By component the bits that are still missing of each coefficient.
  std::map<unsigned, std::array<int, kCoefficients>> missing_;
};

ImageHeader jpeg(std::string_view data) { return Jpeg(data).header(); }

/// A header of 12 bytes (OS/2) or more, then rows of whole 32-bit words, unless they are compressed.
ImageHeader bmp(std::string_view data) {
  constexpr std::int64_t kPlain = 0, kMasks = 3;
  const Bytes bytes(data, Bytes::kLittleEndian);
  const std::int64_t start = bytes.number(10, 4);
  const bool old = bytes.number(14, 4) == 12;
  ImageHeader header;
  header.width = old ? bytes.number(18, 2) : bytes.signed_number(18);
  header.height = old ? bytes.number(20, 2) : std::abs(std::int64_t{bytes.signed_number(22)});  // negative: from the top
  const std::int64_t bits = bytes.number(old ? 24 : 28, 2), compression = old ? kPlain : bytes.number(30, 4);
  if (compression != kPlain && compression != kMasks) return whole(header, 0, data);
  const std::int64_t row = (header.width * bits + 31) / 32 * 4;
  return whole(header, static_cast<double>(start) + static_cast<double>(row) * static_cast<double>(header.height),
               data);
}

/// Reads the decimal numbers in the header of a PPM file.
class PpmNumbers {
 public:
  explicit PpmNumbers(std::string_view data) : data_(data) {}

  std::size_t at() const { return at_; }

  /// The next number, of at most `digits` digits.
  std::int64_t next(std::size_t digits) {
    const std::size_t before = at_;
    while (is_space(at_) || is_comment(at_)) at_ = is_space(at_) ? at_ + 1 : data_.find('\n', at_) + 1;
    const std::size_t start = at_;
    std::int64_t value = 0;
    while (at_ - start <= digits && at_ < data_.size() && std::isdigit(static_cast<unsigned char>(data_[at_])) != 0)
      value = value * 10 + (data_[at_++] - '0');
    if (start == before || at_ == start || at_ - start > digits || !(is_space(at_) || is_mark(at_)))
      throw Refused("has a damaged header");
    return value;
  }

  bool is_space(std::size_t at) const {
    return at < data_.size() && std::isspace(static_cast<unsigned char>(data_[at])) != 0;
  }

 private:
  bool is_mark(std::size_t at) const { return at < data_.size() && data_[at] == '#'; }
  bool is_comment(std::size_t at) const { return is_mark(at) && data_.find('\n', at) != std::string_view::npos; }

  std::string_view data_;
  std::size_t at_ = 2;
};

/// "P1" to "P6"; width, height and largest value in decimal; after one white space the samples.
ImageHeader ppm(std::string_view data) {
  constexpr std::size_t kHeaderSize = 8192;
  const int kind = data[1] - '0';
  const bool text = kind <= 3, bitmap = kind == 1 || kind == 4, color = kind == 3 || kind == 6;
  PpmNumbers numbers(data.substr(0, kHeaderSize));
  const std::int64_t width = numbers.next(9), height = numbers.next(9), largest = bitmap ? 1 : numbers.next(5);
  if (largest < 1 || largest > 0xFFFF || (!bitmap && !numbers.is_space(numbers.at())))
    throw Refused("has a damaged header");
  const std::int64_t samples = width * (color ? 3 : 1) * (largest > 0xFF ? 2 : 1);
  const std::int64_t row = bitmap && !text ? (width + 7) / 8 : samples;  // in text, a number has at least that length
  return whole({width, height},
               static_cast<double>(numbers.at() + 1) + static_cast<double>(row) * static_cast<double>(height), data);
}

/// A RIFF file, whose first chunk states the size in one of three ways.
ImageHeader webp(std::string_view data) {
  const Bytes bytes(data, Bytes::kLittleEndian);
  if (bytes.text(8, 4) != "WEBP") throw Refused("has the header of no format that is read here");
  ImageHeader header;
  header.end = static_cast<std::size_t>(8 + bytes.number(4, 4));
  if (header.end > data.size()) throw Refused(kCutShort);
  const std::string_view kind = bytes.text(12, 4);
  if (kind == "VP8X") {
    header.width = bytes.number(24, 3) + 1;
    header.height = bytes.number(27, 3) + 1;
  } else if (kind == "VP8L") {
    const std::int64_t sizes = bytes.number(21, 4);
    header.width = (sizes & 0x3FFF) + 1;
    header.height = (sizes >> 14 & 0x3FFF) + 1;
  } else if (kind == "VP8 ") {
    header.width = bytes.number(26, 2) & 0x3FFF;
    header.height = bytes.number(28, 2) & 0x3FFF;
  } else {
    throw Refused("has a damaged header");
  }
  return header;
}

ImageHeader tiff(std::string_view data) {
  return read_tiff_header(TiffDirectory({data.size(), [data](std::uint64_t at, std::uint64_t length) {
                                           return std::string(data.substr(at, length));
                                         }}));
}

struct Format {
  std::string_view signature;
  ImageHeader (*parse)(std::string_view);
};

const std::array<Format, 12> kFormats{{
    {{"\x89PNG\r\n\x1a\n", 8}, png},
    {{"\xff\xd8", 2}, jpeg},
    {"BM", bmp},
    {"RIFF", webp},
    {{"II*\0", 4}, tiff},
    {{"MM\0*", 4}, tiff},
    {"P1", ppm},
    {"P2", ppm},
    {"P3", ppm},
    {"P4", ppm},
    {"P5", ppm},
    {"P6", ppm},
}};

}  // namespace

ImageHeader read_image_header(std::string_view data) {
  for (const Format& format : kFormats)
    if (data.substr(0, format.signature.size()) == format.signature) return format.parse(data);
  throw Refused("has the header of no format that is read here");
}

ImageHeader read_tiff_header(const TiffDirectory& directory) {
  constexpr int kUnsigned = 1, kUndefined = 4;
  for (const int tag : {kStrips, kStripSizes, kTiles, kTileSizes})
    if (directory.count(tag) > kTiffStrips) throw Refused("has more than " + std::to_string(kTiffStrips) + " pieces");
  ImageHeader header{directory.first(kWidth), directory.first(kHeight)};
  const std::int64_t format = directory.first(kSampleFormat, kUnsigned);
  if ((format != kUnsigned && format != kUndefined) || directory.first(kBits, 1) > 16)
    throw Refused("has pixels of another kind than 8 or 16 bits");
  const auto area = [](std::int64_t a, std::int64_t b) { return static_cast<double>(a) * static_cast<double>(b); };
  const std::int64_t rows = directory.first(kStripRows);
  const double strip = rows < header.height ? area(rows, header.width) : 0;
  if (std::max(strip, area(directory.first(kTileWidth), directory.first(kTileHeight))) >
      static_cast<double>(pixel_limit()))
    throw Refused("is stored in pieces that are too large");
  const std::vector<std::int64_t> starts = directory.starts(), sizes = directory.sizes();
  if (starts.empty() || starts.size() != sizes.size()) throw Refused("has a damaged header");
  header.end = directory.contents().size;
  for (std::size_t i = 0; i < starts.size(); ++i)
    if (starts[i] + sizes[i] > static_cast<std::int64_t>(header.end)) throw Refused(kCutShort);
  return header;
}

std::int64_t pixel_limit() {
  const char* const set = std::getenv("RTSEG_MEGAPIXELS");
  const std::string text = set == nullptr || *set == '\0' ? std::to_string(kMegapixels) : set;
  const bool digits = std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  const int value = digits && text.size() <= 4 ? std::stoi(text) : 0;
  if (value < 1 || value > kMostMegapixels)
    throw InputError("expected RTSEG_MEGAPIXELS from 1 to " + std::to_string(kMostMegapixels) + ", got '" +
                     text.substr(0, 100) + "'; correct it");
  return value * kMega;
}

bool fits(std::int64_t width, std::int64_t height) {
  return std::max(width, height) <= kMostSide && width * height <= pixel_limit();
}

std::string too_large(std::int64_t width, std::int64_t height) {
  return "expected an image of at most " + std::to_string(pixel_limit() / kMega) + " megapixels and " +
         std::to_string(kMostSide) + " pixels a side, got " + std::to_string(width) + " x " + std::to_string(height);
}

}  // namespace rtseg
