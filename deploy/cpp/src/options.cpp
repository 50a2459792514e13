#include "options.hpp"

#include <algorithm>
#include <map>
#include <regex>
#include <sstream>
#include <utility>

#include "error.hpp"

namespace rtseg {
namespace {

constexpr int kMost = 1'000'000'000, kMostThreads = 1024, kMostBatch = 1024, kMostTile = 65500,
              kMostSteady = 1000, kMostMotion = 255;

/// The whole number from `least` to `most` in `text`. The Python package has the same ranges in arguments.py.
int parse_number(const std::string& flag, const std::string& text, int least, int most) {
  constexpr std::size_t kDigits = 18;
  const std::size_t start = text.find_first_of("+-") == 0 ? 1 : 0;
  const bool whole = text.size() > start && text.size() - start <= kDigits &&
                     text.find_first_not_of("0123456789", start) == std::string::npos;
  const long long value = whole ? std::stoll(text) : 0;
  if (!whole || value < least || value > most)
    throw InputError("argument " + flag + ": expected a whole number from " + std::to_string(least) + " to " +
                     std::to_string(most) + ", got " + quoted(text.substr(0, 100)) + "; see --help");
  return static_cast<int>(value);
}

/// The number from 0 to 1 in `text`, in digits with at most one point.
double parse_share(const std::string& flag, const std::string& text) {
  constexpr std::size_t kMostDigits = 18;
  const auto digits = static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return c >= '0' && c <= '9';
  }));
  const bool number = digits > 0 && digits <= kMostDigits && text.find_first_not_of("0123456789.") == std::string::npos &&
                      std::count(text.begin(), text.end(), '.') <= 1;
  const double value = number ? std::stod(text) : 2;
  if (value > 1)
    throw InputError("argument " + flag + ": expected a number from 0 to 1, got " + quoted(text.substr(0, 100)) +
                     "; see --help");
  return value;
}

/// The height and the width in `text`, such as 512x1024.
cv::Size parse_tile(const std::string& text) {
  static const std::regex form("([0-9]{1,5})x([0-9]{1,5})");
  std::smatch sides;
  const std::string start = text.substr(0, 100);
  const bool right = text == start && std::regex_match(start, sides, form);
  const cv::Size tile = right ? cv::Size(std::stoi(sides[2]), std::stoi(sides[1])) : cv::Size();
  const auto [least, most] = std::minmax(tile.width, tile.height);
  if (least < 1 || most > kMostTile) {
    const std::string largest = std::to_string(kMostTile);
    throw InputError("argument --tile: expected height and width from 1x1 to " + largest + "x" + largest +
                     ", such as 512x1024, got " + quoted(start) + "; see --help");
  }
  return tile;
}

/// What --write asks for, in the forms "masks,overlays" and "masks overlays".
void parse_kinds(const std::vector<std::string>& words, Options& options) {
  const std::map<std::string, bool Options::*> kinds{{"masks", &Options::masks},
                                                     {"overlays", &Options::overlays},
                                                     {"json", &Options::json},
                                                     {"coco", &Options::coco}};
  options.masks = options.overlays = false;
  for (const std::string& word : words) {
    std::istringstream names(word + ",");
    for (std::string name; std::getline(names, name, ',');) {
      const auto kind = kinds.find(name);
      if (kind == kinds.end())
        throw InputError("expected --write masks, overlays, json or coco, got " + quoted(name.substr(0, 100)));
      options.*kind->second = true;
    }
  }
}

}  // namespace

const char kUsage[] =
    R"(usage: rtseg_infer --model FOLDER [--input PATH] [options]

Segment an image, or the images of a folder and the folders below it, with an exported model, or find the keypoints of
persons there. The model is first checked against its golden output.

  --model FOLDER      exported model, a folder with deploy.yaml
  --input PATH        image, folder or video (default: none, the same as --verify)
  --save_dir FOLDER   folder to write (default ./output/inference)
  --write KIND ...    masks, overlays, json (areas of the classes) or coco (all masks in one file) (default
                      masks,overlays)
  --alpha A           opacity of the classes in overlays, from 0 to 1 (default 0.5)
  --outlines          draw lines between the classes in overlays
  --clear NAME        class that is not coloured in overlays; '' for none (default background, if there is such a class)
  --no_legend         overlays without the names of the classes
  --device NAME       cpu or gpu (default cpu)
  --backend NAME      cpu: native, onednn, openvino, onnxruntime; gpu: native, tensorrt, onnxruntime; auto is the
                      fastest that reproduces the model's golden output (default auto)
  --precision NAME    fp32, tf32, fp16, bf16 or int8, if the backend computes in it; auto is fp32, and on a GPU with
                      --backend auto the fastest of fp32, tf32 and fp16; int8 is for models exported with it (default
                      auto)
  --threads N         processor threads; 0 is OMP_NUM_THREADS, or every core that the process may use (default 0)
  --provider NAME     what ONNX Runtime runs the network with on a GPU, with --backend onnxruntime: cuda or tensorrt
                      (default cuda)
  --strict            with ONNX Runtime on a GPU, refuse a network with operators that run on the processor
  --batch_size N      images of one size per batch, or persons with a model for poses (default 1)
  --boxes FILE        with a model for poses, the boxes of persons: JSON of COCO's annotations or results, or
                      PaddleDetection's bbox.json (default each image is one person)
  --category ID       with --boxes of several categories, the one to take (default the only one)
  --box_score S       with --boxes, leave out those with a lower score (default 0.3)
  --keypoint_score S  with a model for poses, draw keypoints with a higher score (default 0.3)
  --tile HxW          segment in tiles of that height and width, such as 512x1024, and blend them where they overlap
                      (default: no tiles)
  --overlap N         pixels that tiles share, less than half a tile (default: 64, or a quarter of a small tile)
  --fit RULE          how a model for images of one size takes others: tile segments in tiles of that size, padded where
                      the image is smaller; resize resizes them to it (default tile)
  --steady N          with a video, average the network's outputs over up to N frames where the picture stands still
                      (default 1)
  --motion G          with a video, the picture moves where it changes by more than G of 255 grey levels (default 8)
  --max_frames N      stop after N images (default: all)
  --verify            only check the model against its golden output

Exit status: 0 all written, 1 some images failed, 2 nothing could be done.
)";

Options parse_options(const std::vector<std::string>& args) {
  Options options;
  options.configuration.precision = kAuto;
  const auto is_flag = [](const std::string& text) { return text.rfind("--", 0) == 0; };
  for (auto arg = args.begin(); arg != args.end();) {
    const std::string& flag = *arg++;
    const auto value = [&]() -> const std::string& {
      if (arg == args.end() || is_flag(*arg)) throw InputError("expected a value after " + flag + "; see --help");
      return *arg++;
    };
    if (flag == "--help" || flag == "-h") {
      options.help = true;
    } else if (flag == "--verify") {
      options.verify = true;
    } else if (flag == "--strict") {
      options.configuration.strict = true;
    } else if (flag == "--model") {
      options.model = value();
    } else if (flag == "--input") {
      options.input = value();
    } else if (flag == "--save_dir") {
      options.save_dir = value();
    } else if (flag == "--write") {
      std::vector<std::string> words{value()};
      while (arg != args.end() && !is_flag(*arg)) words.push_back(*arg++);
      parse_kinds(words, options);
    } else if (flag == "--alpha") {
      options.style.alpha = parse_share(flag, value());
    } else if (flag == "--outlines") {
      options.style.outlines = true;
    } else if (flag == "--clear") {
      options.style.clear = value();
    } else if (flag == "--no_legend") {
      options.style.legend = false;
    } else if (flag == "--device") {
      options.configuration.device = value();
    } else if (flag == "--backend") {
      options.configuration.backend = value();
    } else if (flag == "--precision") {
      options.configuration.precision = value();
    } else if (flag == "--provider") {
      options.configuration.provider = value();
    } else if (flag == "--threads") {
      options.configuration.threads = parse_number(flag, value(), 0, kMostThreads);
    } else if (flag == "--batch_size") {
      options.batch_size = parse_number(flag, value(), 1, kMostBatch);
    } else if (flag == "--boxes") {
      options.boxes = value();
    } else if (flag == "--category") {
      options.category = parse_number(flag, value(), 0, kMost);
    } else if (flag == "--box_score") {
      options.box_score = parse_share(flag, value());
    } else if (flag == "--keypoint_score") {
      options.keypoint_score = parse_share(flag, value());
    } else if (flag == "--tile") {
      options.fit.tile = parse_tile(value());
    } else if (flag == "--overlap") {
      options.fit.overlap = parse_number(flag, value(), 0, kMostTile);
    } else if (flag == "--fit") {
      options.fit.fit = value();
    } else if (flag == "--steady") {
      options.steady = parse_number(flag, value(), 1, kMostSteady);
    } else if (flag == "--motion") {
      options.motion = parse_number(flag, value(), 0, kMostMotion);
    } else if (flag == "--max_frames") {
      options.max_frames = parse_number(flag, value(), 1, kMost);
    } else {
      throw InputError("unknown option " + quoted(flag.substr(0, 100)) + "; see --help");
    }
  }
  if (options.model.empty() && !options.help) throw InputError("expected --model FOLDER; see --help");
  return options;
}

void refuse_flags(const Options& options, bool pose) {
  const Options usual;
  const std::pair<const char*, bool> segmentation[] = {
      {"alpha", options.style.alpha != usual.style.alpha},
      {"no_legend", options.style.legend != usual.style.legend},
      {"outlines", options.style.outlines != usual.style.outlines},
      {"clear", options.style.clear != usual.style.clear},
      {"tile", options.fit.tile.has_value()},
      {"overlap", options.fit.overlap.has_value()},
      {"fit", options.fit.fit != usual.fit.fit},
      {"steady", options.steady != usual.steady},
      {"motion", options.motion != usual.motion},
  };
  const std::pair<const char*, bool> poses[] = {
      {"boxes", !options.boxes.empty()},
      {"category", options.category.has_value()},
      {"box_score", options.box_score != usual.box_score},
      {"keypoint_score", options.keypoint_score != usual.keypoint_score},
  };
  const auto refuse = [](const auto& flags, const std::string& what) {
    for (const auto& [flag, given] : flags)
      if (given)
        throw InputError("expected --" + std::string(flag) + " with a model for " + what +
                         " only, got one for another task; leave it out");
  };
  pose ? refuse(segmentation, "segmentation") : refuse(poses, "poses");
  if (pose && (options.json || options.coco)) {
    std::string kinds;
    for (const auto& [kind, given] : {std::pair<const char*, bool>{"masks", options.masks},
                                      {"overlays", options.overlays},
                                      {"json", options.json},
                                      {"coco", options.coco}})
      if (given) kinds += (kinds.empty() ? "" : ",") + std::string(kind);
    throw InputError("expected --write overlays with a model for poses, got " + kinds + "; correct it");
  }
}

void refuse_video_flags(const Options& options, bool video) {
  const Options usual;
  for (const auto& [flag, given] : {std::pair<const char*, bool>{"steady", options.steady != usual.steady},
                                    {"motion", options.motion != usual.motion}})
    if (!video && given)
      throw InputError("expected a video or camera with --" + std::string(flag) + ", got images; leave it out");
}

}  // namespace rtseg
