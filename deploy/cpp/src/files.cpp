#include "files.hpp"

#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

#include "error.hpp"

namespace rtseg {
namespace {

namespace fs = std::filesystem;

const std::array<const char*, 8> kImageSuffixes{".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm"};

bool is_image(const fs::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return std::find(kImageSuffixes.begin(), kImageSuffixes.end(), extension) != kImageSuffixes.end();
}

}  // namespace

std::vector<ImageFile> find_images(const std::string& path) {
  if (!fs::exists(path)) throw InputError("expected an image or a folder, got '" + path + "', which does not exist");
  std::vector<fs::path> paths;
  fs::path root = fs::path(path).parent_path();
  if (fs::is_directory(path)) {
    root = path;
    for (const auto& entry : fs::recursive_directory_iterator(path))
      if (entry.is_regular_file() && is_image(entry.path())) paths.push_back(entry.path());
    if (paths.empty()) {
      std::string suffixes;
      for (const char* suffix : kImageSuffixes) suffixes += (suffixes.empty() ? "" : ", ") + std::string(suffix);
      throw InputError("expected images (" + suffixes + ") in '" + path + "', got none");
    }
    std::sort(paths.begin(), paths.end(), [](const fs::path& a, const fs::path& b) {
      return std::pair(a.parent_path().string(), a.filename().string()) <
             std::pair(b.parent_path().string(), b.filename().string());
    });
  } else {
    paths.push_back(path);
  }
  std::map<fs::path, int> count;
  std::vector<fs::path> names;
  for (const fs::path& file : paths) {
    names.push_back(root.empty() ? file : file.lexically_relative(root));
    ++count[fs::path(names.back()).replace_extension()];
  }
  std::vector<ImageFile> files;
  for (std::size_t i = 0; i < paths.size(); ++i) {
    const fs::path stem = fs::path(names[i]).replace_extension();  // of two with one stem both keep their extensions
    files.push_back({paths[i].string(), (count[stem] == 1 ? stem : names[i]).string()});
  }
  return files;
}

cv::Mat read_image(const std::string& path, int flags) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw InputError("cannot read the image '" + path + "' (" + std::strerror(errno) + ")");
  const std::string data{std::istreambuf_iterator<char>(file), {}};
  // OpenCV silently fills the missing part of a truncated JPEG with grey.
  const bool cut_short = data.rfind("\xff\xd8", 0) == 0 && data.find("\xff\xd9") == std::string::npos;
  cv::Mat image;
  if (!data.empty() && !cut_short) image = cv::imdecode(std::vector<char>(data.begin(), data.end()), flags);
  if (image.empty())
    throw InputError("'" + path + "' is not an image that can be decoded (" + std::to_string(data.size()) +
                     " bytes); is it cut short?");
  return image;
}

void write_image(const std::string& path, const cv::Mat& image) {
  const fs::path target(path);
  std::vector<unsigned char> data;
  if (!cv::imencode(target.extension().string(), image, data))
    throw InputError("OpenCV cannot write this image to '" + path + "'; use .png");
  make_folder(target.parent_path().string());
  const fs::path temporary =
      target.parent_path() / (".partial-" + std::to_string(getpid()) + "-" + target.filename().string());
  std::ofstream file(temporary, std::ios::binary);
  file.write(reinterpret_cast<const char*>(data.data()), static_cast<std::streamsize>(data.size()));
  file.close();
  std::error_code error;
  if (file) fs::rename(temporary, target, error);
  if (!file || error) {
    const std::string reason = error ? error.message() : std::strerror(errno);
    fs::remove(temporary, error);
    throw InputError("cannot write '" + path + "' (" + reason + ")");
  }
}

void make_folder(const std::string& path) {
  if (path.empty()) return;
  std::error_code error;
  fs::create_directories(path, error);
  if (error || access(path.c_str(), W_OK) != 0)
    throw InputError("expected a folder that can be written, got '" + path + "' (" +
                     (error ? error.message() : std::strerror(errno)) + "); choose another");
}

std::string cache_root() {
  const auto value = [](const char* name) {
    const char* text = std::getenv(name);
    return std::string(text == nullptr ? "" : text);
  };
  if (const std::string root = value("RTSEG_CACHE"); !root.empty()) return root;
  std::string home = value("HOME");
  if (const passwd* user = getpwuid(getuid()); home.empty() && user != nullptr) home = user->pw_dir;
  return (fs::path(home) / ".cache" / "rtseg_inference").string();
}

}  // namespace rtseg
