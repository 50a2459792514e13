// Checks of reading, finding and writing images. Needs no engine.
//   image_check read FOLDER IMAGE...         for each image "HEIGHT WIDTH", and its pixels as FOLDER/NUMBER.png, or the error
//   image_check find FOLDER [LEAVE_OUT ...]  the name and the path of each image, and what is not taken
//   image_check results INPUT SAVE_DIR       the folders that a search leaves out
//   image_check names PATH...                the names of their results
//   image_check copy FROM TO                 read an image and write it
//   image_check geometry MODEL_DIR HEIGHT WIDTH   the sizes that an image passes through
#include <cstdio>
#include <opencv2/imgcodecs.hpp>
#include <string>
#include <vector>

#include "contract.hpp"
#include "error.hpp"
#include "files.hpp"
#include "geometry.hpp"
#include "images.hpp"

namespace {

using Arguments = std::vector<std::string>;

int read(const std::string& folder, const Arguments& paths) {
  for (std::size_t i = 0; i < paths.size(); ++i) {
    try {
      const cv::Mat image = rtseg::read_image(paths[i]);
      if (!folder.empty()) cv::imwrite(folder + "/" + std::to_string(i) + ".png", image);
      std::printf("%d %d\n", image.rows, image.cols);
    } catch (const rtseg::InputError& e) {
      std::printf("error: %s\n", e.what());
    }
    std::fflush(stdout);
  }
  return 0;
}

int find(const std::string& folder, const Arguments& leave_out) {
  const rtseg::Found found = rtseg::find_images(folder, leave_out);
  for (const rtseg::ImageFile& file : found.files) std::printf("%s\t%s\n", file.name.c_str(), file.path.c_str());
  std::printf("%s\n", found.not_taken().c_str());
  return 0;
}

int run(const Arguments& args) {
  const std::string command = args.empty() ? "" : args[0];
  if (command == "read" && args.size() >= 2) return read(args[1], {args.begin() + 2, args.end()});
  if (command == "find" && args.size() >= 2) return find(args[1], {args.begin() + 2, args.end()});
  if (command == "results" && args.size() == 3) {
    for (const std::string& folder : rtseg::result_folders(args[1], args[2], {"masks", "overlays"}))
      std::printf("%s\n", folder.c_str());
    return 0;
  }
  if (command == "names") {
    for (const std::string& name : rtseg::unique_names({args.begin() + 1, args.end()})) std::printf("%s\n", name.c_str());
    return 0;
  }
  if (command == "geometry" && args.size() == 4) {
    const rtseg::Geometry sizes =
        rtseg::geometry(rtseg::read_contract(args[1]), {std::stoi(args[3]), std::stoi(args[2])});
    std::printf("%d %d %d %d\n", sizes.content.height, sizes.content.width, sizes.network.height, sizes.network.width);
    return 0;
  }
  if (command == "copy" && args.size() == 3) {
    rtseg::write_file(args[2], rtseg::encode_image(args[2], rtseg::read_image(args[1])));
    return 0;
  }
  std::fprintf(stderr, "see the comment at the top of image_check.cpp\n");
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run({argv + 1, argv + argc});
  } catch (const rtseg::InputError& e) {
    std::fprintf(stderr, "error: %s\n", e.what());
    return 2;
  }
}
