#include "images.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <random>
#include <set>
#include <string_view>
#include <utility>

#include "error.hpp"
#include "image_headers.hpp"
#include "tiff.hpp"

namespace rtseg {
namespace {

namespace fs = std::filesystem;

constexpr std::array<const char*, 8> kSuffixes{".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm"};
constexpr std::array<const char*, 4> kResultSuffixes{".png", ".jpg", ".json", ".mp4"};
constexpr std::array<const char*, 9> kVideoSuffixes{".mp4", ".avi", ".mov",  ".mkv", ".webm",
                                                    ".m4v", ".mpg", ".mpeg", ".wmv"};
/// A file has at most so many bytes, or 4 for each pixel of the limit, between the two.
constexpr std::int64_t kFileBytes = 1LL << 30, kMostFileBytes = (1LL << 31) - (1LL << 20);

std::string suffixes() {
  std::string text;
  for (const char* suffix : kSuffixes) text += (text.empty() ? "" : ", ") + std::string(suffix);
  return text;
}

/// Only A to Z, as in Python.
std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

/// Whether a name ends in one of the suffixes.
template <typename Suffixes>
bool ends_in(const std::string& name, const Suffixes& suffixes) {
  const std::string low = lower(name);
  return std::any_of(suffixes.begin(), suffixes.end(), [&](const std::string& suffix) {
    return low.size() >= suffix.size() && low.compare(low.size() - suffix.size(), suffix.size(), suffix) == 0;
  });
}

bool is_image(const std::string& name) { return ends_in(name, kSuffixes); }

/// Where the suffix of a path begins; its length if it has none. Dots at the start of a name do not begin one.
std::size_t suffix_position(const std::string& path) {
  const std::size_t slash = path.rfind('/'), dot = path.rfind('.');
  const std::size_t start = path.find_first_not_of('.', slash == std::string::npos ? 0 : slash + 1);
  return dot == std::string::npos || start == std::string::npos || dot < start ? path.size() : dot;
}

/// An absolute path without links and dots; the end of it may not exist.
std::string resolved(const fs::path& path) {
  std::error_code ignored;
  std::string text = fs::weakly_canonical(fs::absolute(path.empty() ? "." : path, ignored), ignored).string();
  while (text.size() > 1 && text.back() == '/') text.pop_back();
  return text;
}

InputError not_an_image(const std::string& path, const std::string& reason) {
  return InputError("expected an image, got " + quoted(path) + ", which " + reason + "; replace or remove it");
}

InputError unreadable(const std::string& path) {
  return InputError("cannot read the image " + quoted(path) + " (" + std::strerror(errno) + "); check the path");
}

// --- Finding

/// A folder of the input, from its root, which is empty, and the names of its files, in order.
struct Folder {
  std::string path;
  std::vector<std::string> names;
};

std::string joined(const std::string& folder, const std::string& name) {
  return folder.empty() || folder.back() == '/' ? folder + name : folder + "/" + name;
}

class Search {
 public:
  Search(std::string root, const std::vector<std::string>& leave_out) : root_(std::move(root)) {
    for (const std::string& folder : leave_out) leave_out_.insert(resolved(folder));
    visit("");
    std::sort(folders_.begin(), folders_.end(), [](const Folder& a, const Folder& b) { return a.path < b.path; });
  }

  Found found() const {
    Found found;
    std::vector<std::string> names;
    for (const Folder& folder : folders_)
      for (const std::string& name : folder.names) {
        const std::string path = joined(folder.path, name);
        if (is_image(name)) {
          names.push_back(path);
        } else {
          ++found.others[lower(name.substr(suffix_position(name)))];
        }
      }
    names.insert(names.end(), unreadable_.begin(), unreadable_.end());  // reading them says why
    const std::vector<std::string> unique = unique_names(names);
    for (std::size_t i = 0; i < names.size(); ++i) found.files.push_back({joined(root_, names[i]), unique[i], names[i]});
    return found;
  }

 private:
  void visit(const std::string& folder) {
    std::error_code error;
    fs::directory_iterator entry(joined(root_, folder), error);
    if (error) {
      unreadable_.push_back(folder.empty() ? "." : folder);
      return;
    }
    Folder here{folder, {}};
    for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
      const std::string name = entry->path().filename().string();
      std::error_code ignored;  // a link that leads nowhere
      if (name[0] == '.') continue;
      if (!entry->is_directory(ignored)) {
        here.names.push_back(name);
      } else if (!entry->is_symlink(ignored) && leave_out_.count(resolved(entry->path())) == 0) {
        visit(joined(folder, name));
      }
    }
    std::sort(here.names.begin(), here.names.end());
    folders_.push_back(std::move(here));
  }

  std::string root_;
  std::set<std::string> leave_out_;
  std::vector<Folder> folders_;
  std::vector<std::string> unreadable_;
};

// --- Reading

/// A regular file that is open for reading; nothing else is opened.
class File {
 public:
  explicit File(const std::string& path) {
    struct stat status {};
    if (stat(path.c_str(), &status) != 0) throw unreadable(path);
    if (S_ISDIR(status.st_mode) && access(path.c_str(), R_OK | X_OK) != 0)
      throw Refused("is a folder that cannot be searched");
    if (!S_ISREG(status.st_mode)) throw Refused("is not a regular file");
    const std::int64_t most = std::max(kFileBytes, std::min(4 * pixel_limit(), kMostFileBytes));
    if (status.st_size > most) throw Refused("has more than " + std::to_string(most >> 20) + " MiB");
    handle_ = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (handle_ < 0) throw unreadable(path);
    size_ = static_cast<std::uint64_t>(status.st_size);
    path_ = path;
  }
  ~File() { close(handle_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  Contents contents() const {
    return {size_, [this](std::uint64_t at, std::uint64_t length) { return read(at, length); }};
  }

  /// The bytes from `at` on, up to the end of the file.
  std::string read(std::uint64_t at, std::uint64_t length) const {
    std::string data(std::min(length, size_ - std::min(at, size_)), '\0');
    const ssize_t count = pread(handle_, data.data(), data.size(), static_cast<off_t>(at));
    if (count < 0) throw unreadable(path_);
    data.resize(static_cast<std::size_t>(count));
    return data;
  }

 private:
  int handle_ = -1;
  std::uint64_t size_ = 0;
  std::string path_;
};

/// Memory for the pixels of a large image, with room for a legend below, which takes none until it is drawn.
cv::Mat roomy(const ImageHeader& header) {
  const auto height = static_cast<int>(header.height);
  return cv::Mat(height + height / 3, static_cast<int>(header.width), CV_8UC3).rowRange(0, height);
}

bool is_large(const ImageHeader& header) { return header.width * header.height > kLarge; }

/// The pixels, in `place` if its size and type are right; empty if OpenCV cannot decode them.
cv::Mat decoded(std::string_view data, int flags, cv::Mat place = {}) {
  const cv::Mat bytes(1, static_cast<int>(data.size()), CV_8U, const_cast<char*>(data.data()));
  try {
    return cv::imdecode(bytes, flags, &place);
  } catch (const cv::Exception&) {  // its own limits, or memory
    return {};
  }
}

/// Whether a corner has one colour, as it has where pixels are missing: the last corner, before EXIF rotation.
bool has_flat_corner(const cv::Mat& image) {
  const cv::Size size(std::min(image.cols, 4), std::min(image.rows, 4));
  for (const int x : {0, image.cols - size.width})
    for (const int y : {0, image.rows - size.height}) {
      const cv::Mat corner = image(cv::Rect({x, y}, size)).clone().reshape(1, size.area());
      if (cv::norm(corner, cv::repeat(corner.row(0), corner.rows, 1), cv::NORM_INF) == 0) return true;
    }
  return false;
}

/// Whether a JPEG's one scan holds all pixels; libjpeg fills in those that are missing. Bytes that follow the scan are
/// decoded, and change pixels, only if some are missing. Without an end marker libjpeg stops after the scan, and does
/// not complain about them.
bool is_complete(std::string_view data, const ImageHeader& header) {
  constexpr int kLargest = 0xFE;  // 0xFF begins a marker
  constexpr std::int64_t kBytes = 4093, kBytesPerColumn = 64;
  std::minstd_rand random;
  std::string lengthened(data.substr(0, data.size() - 2));
  for (std::int64_t i = 0; i < kBytes + kBytesPerColumn * header.width; ++i)
    lengthened += static_cast<char>(random() % (kLargest + 1));
  const cv::Mat as_stored = decoded(data, cv::IMREAD_REDUCED_GRAYSCALE_8);
  const cv::Mat changed = decoded(lengthened, cv::IMREAD_REDUCED_GRAYSCALE_8);
  return !as_stored.empty() && as_stored.size() == changed.size() &&
         cv::norm(as_stored, changed, cv::NORM_INF) == 0;
}

/// The header of an image, if that is within the limits.
ImageHeader within_limits(const ImageHeader& header, const std::string& path) {
  if (header.width < 1 || header.height < 1) throw Refused("has no pixels");
  if (!fits(header.width, header.height))
    throw InputError(too_large(header.width, header.height) + "; shrink " + quoted(path) +
                     ", or raise RTSEG_MEGAPIXELS");
  return header;
}

/// The pixels of a large TIFF, without all of its file in memory; empty if it is small, or cannot be divided.
cv::Mat read_in_bands(const TiffDirectory& directory, const std::string& path) {
  const ImageHeader header = within_limits(read_tiff_header(directory), path);
  if (!is_large(header) || !directory.divisible()) return {};
  const cv::Mat image = roomy(header);
  directory.each_band([&](int top, int rows, const std::string& file) {
    const cv::Mat band = decoded(file, cv::IMREAD_COLOR);
    cv::Mat place = image.rowRange(top, top + rows);
    if (band.size() != place.size()) throw Refused("cannot be decoded");
    band.copyTo(place);
  });
  return image;
}

}  // namespace

std::string Found::not_taken() const {
  std::string text;
  for (const auto& [suffix, count] : others)
    text += (text.empty() ? "not taken: " : ", ") + std::to_string(count) + " " +
            (suffix.empty() ? "without an extension" : suffix);
  const bool of_videos =
      std::any_of(others.begin(), others.end(), [](const auto& other) { return is_video(other.first); });
  return text + (of_videos ? "; to segment a video, name it as the --input of infer" : "");
}

bool is_video(const std::string& path) { return ends_in(path, kVideoSuffixes); }

Found find_images(const std::string& path, const std::vector<std::string>& leave_out) {
  std::error_code error;
  if (!fs::is_directory(path, error)) {
    if (!fs::exists(path, error))
      throw InputError("expected an image or a folder, got " + quoted(path) + ", which does not exist");
    if (!is_image(path))
      throw InputError("expected an image (" + suffixes() + ") or a folder, got " + quoted(path) + "; convert it");
    const std::string name = fs::path(path).filename().string();
    return {{{path, name.substr(0, suffix_position(name)), name}}, {}};
  }
  Found found = Search(path, leave_out).found();
  if (found.files.empty()) {
    const std::string others = found.not_taken();
    throw InputError("expected images (" + suffixes() + ") in " + quoted(path) + ", got none" +
                     (others.empty() ? "" : " (" + others + ")") + "; add some");
  }
  return found;
}

std::vector<std::string> result_folders(const std::string& source, const std::string& save_dir,
                                        const std::vector<std::string>& kinds) {
  std::error_code error;
  const fs::path results = resolved(save_dir);
  const fs::path root = resolved(fs::is_directory(source, error) ? fs::path(source) : fs::path(source).parent_path());
  std::vector<std::string> folders;
  for (const std::string& kind : kinds) folders.push_back((results / kind).string());
  if (std::find(folders.begin(), folders.end(), root) != folders.end())
    throw InputError("expected images other than the results in " + quoted(results.string()) + ", got " +
                     quoted(source) + "; choose others");
  return root == results ? folders : std::vector<std::string>{results.string()};
}

std::vector<std::string> unique_names(const std::vector<std::string>& paths) {
  std::set<std::string> folders;
  std::vector<std::string> names;
  for (const std::string& path : paths) {
    for (std::size_t slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1))
      folders.insert(lower(path.substr(0, slash)));
    names.push_back(path.substr(0, suffix_position(path)));
  }
  const auto is_folder = [&](const std::string& name) {
    return std::any_of(kResultSuffixes.begin(), kResultSuffixes.end(),
                       [&](const std::string& suffix) { return folders.count(lower(name + suffix)) > 0; });
  };
  for (bool changed = true; changed;) {
    changed = false;
    std::map<std::string, int> count;
    for (const std::string& name : names) ++count[lower(name)];
    for (std::size_t i = 0; i < paths.size(); ++i) {
      if (names[i] == paths[i] || (count[lower(names[i])] == 1 && !is_folder(names[i]))) continue;
      names[i] = paths[i];
      changed = true;
    }
  }
  std::set<std::string> taken;
  for (std::string& name : names) {
    const std::string first = name;
    for (int k = 2; taken.count(lower(name)) > 0 || is_folder(name); ++k) name = first + "-" + std::to_string(k);
    taken.insert(lower(name));
  }
  return names;
}

cv::Mat read_image(const std::string& path, int flags) {
  try {
    const File file(path);
    if (flags == cv::IMREAD_COLOR && is_tiff(file.read(0, 4)))
      if (const cv::Mat image = read_in_bands(TiffDirectory(file.contents()), path); !image.empty()) return image;
    std::string data = file.read(0, SIZE_MAX);
    if (data.empty()) throw Refused("is empty");
    const ImageHeader header = within_limits(read_image_header(data), path);
    data.resize(header.end);
    const bool in_color = flags == cv::IMREAD_COLOR;
    const cv::Mat image = decoded(data, flags, in_color && is_large(header) ? roomy(header) : cv::Mat());
    if (image.empty()) throw Refused("cannot be decoded");
    if (header.one_scan && has_flat_corner(image) && !is_complete(data, header)) throw Refused(kCutShort);
    return image;
  } catch (const Refused& e) {
    throw not_an_image(path, e.what());
  }
}

}  // namespace rtseg
