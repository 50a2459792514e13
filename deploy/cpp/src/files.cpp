#include "files.hpp"

#include <fcntl.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <mutex>
#include <opencv2/imgcodecs.hpp>
#include <set>
#include <system_error>

namespace rtseg {
namespace {

namespace fs = std::filesystem;

constexpr char kPartial[] = ".partial-";
constexpr std::time_t kYoungSeconds = 60;

/// Write all of `data`, of `size` bytes; 0, or the error's number.
int write_all(int handle, const char* data, std::size_t size) {
  for (std::size_t done = 0; done < size;) {
    const ssize_t written = ::write(handle, data + done, size - done);
    if (written < 0 && errno != EINTR) return errno;
    if (written > 0) done += static_cast<std::size_t>(written);
  }
  return 0;
}

/// Permissions of new files.
mode_t file_mode() {
  static const mode_t mask = [] {  // can only be asked by setting it
    const mode_t before = umask(0);
    umask(before);
    return before;
  }();
  return 0666 & ~mask;
}

[[noreturn]] void refuse_folder(const std::string& path, const std::error_code& error) {
  const std::string message =
      "expected a folder that can be written, got " + quoted(path) + " (" + error.message() + "); choose another";
  if (error.value() == ENOSPC || error.value() == EDQUOT) throw DiskFull(message);
  throw InputError(message);
}

[[noreturn]] void cannot_write(const std::string& path, int error) {
  const std::string message =
      "cannot write " + quoted(path) + " (" + std::strerror(error) + "); make room, or choose another place";
  if (error == ENOSPC || error == EDQUOT || error == EFBIG || error == EROFS || error == EIO) throw DiskFull(message);
  throw InputError(message);
}

bool is_left_over(const std::string& path) {
  struct stat status {};
  if (lstat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode) || status.st_uid != getuid()) return false;
  if (std::time(nullptr) - status.st_mtime < kYoungSeconds) return false;
  const int handle = open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  if (handle < 0) return false;
  const bool held = flock(handle, LOCK_EX | LOCK_NB) != 0;
  ::close(handle);
  return !held;
}

/// Remove the temporary files that killed runs left in `folder`; done once for each folder. A living process holds a lock
/// on each of its own; those younger than a minute stay in any case, because a lock follows a moment after its file. The
/// Python package has the same rule.
void clear_leftovers(const std::string& folder) {
  static std::mutex mutex;
  static std::set<std::string> cleared;
  const std::lock_guard<std::mutex> lock(mutex);
  if (!cleared.insert(folder).second) return;
  std::error_code error;
  for (fs::directory_iterator entry(folder.empty() ? "." : folder, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string path = entry->path().string();
    if (entry->path().filename().string().rfind(kPartial, 0) == 0 && is_left_over(path)) unlink(path.c_str());
  }
}

}  // namespace

std::vector<unsigned char> encode_image(const std::string& path, const cv::Mat& image) {
  std::vector<unsigned char> data;
  data.reserve(image.total() * image.elemSize() / 4);  // growing, it would be in memory twice; what is unused takes none
  try {
    if (cv::imencode(fs::path(path).extension().string(), image, data)) return data;
  } catch (const cv::Exception&) {  // the format has no such sizes
  }
  throw InputError("OpenCV cannot write an image of " + std::to_string(image.cols) + " x " +
                   std::to_string(image.rows) + " to " + quoted(path) + "; use .png");
}

PartialFile::PartialFile(const std::string& path) : path_(path) {
  const std::string folder = fs::path(path).parent_path().string();
  const std::string ending = "-" + fs::path(path).filename().string();
  const std::string suffix = ending.size() > 41 ? "-" + ending.substr(ending.size() - 40) : ending;
  make_folder(folder);
  clear_leftovers(folder);
  temporary_ = (fs::path(folder) / (std::string(kPartial) + "XXXXXX" + suffix)).string();
  handle_ = mkostemps(temporary_.data(), static_cast<int>(suffix.size()), O_CLOEXEC);
  if (handle_ < 0) cannot_write(path, errno);
  flock(handle_, LOCK_EX | LOCK_NB);
}

PartialFile::~PartialFile() {
  if (handle_ < 0) return;
  unlink(temporary_.c_str());
  ::close(handle_);
}

void PartialFile::write(std::string_view data) {
  if (const int error = write_all(handle_, data.data(), data.size()); error != 0) cannot_write(path_, error);
}

void PartialFile::write_jpeg(const cv::Mat& image) {
  if (!cv::imwrite(temporary_, image))
    throw DiskFull("cannot write " + rtseg::quoted(path_) + " (as a JPEG of " + std::to_string(image.cols) + " x " +
                   std::to_string(image.rows) + "); make room, or choose another place");
}

void PartialFile::keep() {
  if (fchmod(handle_, file_mode()) != 0) cannot_write(path_, errno);
  // Not every writer reports that the rest of its file is missing.
  struct statvfs disk {};
  if (statvfs(temporary_.c_str(), &disk) == 0 && disk.f_blocks > 0 && disk.f_bavail == 0) cannot_write(path_, ENOSPC);
  const int closing = ::close(handle_);
  handle_ = -1;
  if (closing != 0 || std::rename(temporary_.c_str(), path_.c_str()) != 0) {
    const int error = errno;
    unlink(temporary_.c_str());
    cannot_write(path_, error);
  }
}

void write_file(const std::string& path, const std::vector<unsigned char>& data) {
  PartialFile file(path);
  file.write({reinterpret_cast<const char*>(data.data()), data.size()});
  file.keep();
}

void make_folder(const std::string& path) {
  if (path.empty()) return;
  std::error_code error;
  fs::create_directories(path, error);
  if (!error && access(path.c_str(), W_OK) != 0) error.assign(errno, std::generic_category());
  if (error) refuse_folder(path, error);
}

void check_folder(const std::string& path) {
  fs::path folder = fs::absolute(path);
  struct stat status {};
  while (lstat(folder.c_str(), &status) != 0 && errno == ENOENT) folder = folder.parent_path();
  // A trailing slash: only a folder has something below it.
  if (access((folder / "").c_str(), W_OK) != 0) refuse_folder(path, {errno, std::generic_category()});
}

std::string cache_root() {
  const auto value = [](const char* name) {
    const char* text = std::getenv(name);
    return std::string(text == nullptr ? "" : text);
  };
  if (const std::string root = value("RTSEG_CACHE"); !root.empty()) return root;
  fs::path home = value("HOME");
  if (const passwd* user = getpwuid(getuid()); home.empty())  // a container may run with a number that has no record
    home = user != nullptr ? fs::path(user->pw_dir) : fs::temp_directory_path() / ("home-" + std::to_string(getuid()));
  return (home / ".cache" / "rtseg_inference").string();
}

}  // namespace rtseg
