// Checks of what runs around the network. Needs no engine.
//   host_check selftest                              argmax by cells against full_argmax; status 1 if a pixel differs
//   host_check contract MODEL_DIR                    read deploy.yaml and check the files that it names
//   host_check contracts                             the same for each folder of standard input: what it states, or why not
//   host_check documents                             the contents of each YAML file of standard input, or why not
//   host_check arrays                                the shape of each .npy file of standard input, or why not
//   host_check tolerance MODEL_DIR PRECISION         largest error and smallest agreement that it allows
//   host_check decode MODEL_DIR MAPS.npy MIRRORED.npy  x, y and score of each keypoint in the network's input
//   host_check boxes FILE SCORE CATEGORY NAME...     the boxes that each image of the input has; CATEGORY - takes any
//   host_check configurations                        devices, backends and precisions
//   host_check options ARGUMENTS                     what rtseg_infer makes of its command line
//   host_check fit ARGUMENTS                         how that command line brings images to the model's size, for the log
//   host_check tiles IMAGE OUT ARGUMENTS             class ids of a toy network, in the tiles of that command line
//   host_check cores CGROUP_FILE                     cores that the process may use under that quota
//   host_check threads                               processor threads where none are asked for
//   host_check cache                                 where compiled networks are kept
//   host_check preprocess MODEL_DIR OUT.npy IMAGE    the network's input for one image
//   host_check argmax LOGITS.npy HEIGHT WIDTH OUT    class ids of (C, h, w) logits, as an image file
//   host_check overlay MODEL_DIR IMAGE MASK OUT [--alpha A] [--outlines] [--clear NAME] [--no_legend]   also in place
//   host_check results MODEL_DIR LOGITS.npy HEIGHT WIDTH FILE OUT   OUT/areas.json and OUT/coco.json of the image FILE
//   host_check onnx FILE                             whether an ONNX file refers to no other
//   host_check placement FILE                        operators by provider, from ONNX Runtime's profile
//   host_check processor PRECISION                  why this processor does not compute in it; nothing if it does
//   host_check engine LOG MODEL.pdmodel              whether TensorRT took a part of the model, from Paddle's log
//   host_check time LOGITS.npy HEIGHT WIDTH          median milliseconds of both forms
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iostream>
#include <opencv2/core.hpp>
#include <opencv2/imgcodecs.hpp>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "configuration.hpp"
#include "contract.hpp"
#include "document.hpp"
#include "drawing.hpp"
#include "environment.hpp"
#include "error.hpp"
#include "files.hpp"
#include "npy.hpp"
#include "onnx_file.hpp"
#include "onnx_placement.hpp"
#include "options.hpp"
#include "pose.hpp"
#include "pose_boxes.hpp"
#include "postprocess.hpp"
#include "preprocess.hpp"
#include "processor.hpp"
#include "program.hpp"
#include "results.hpp"
#include "tiling.hpp"

namespace {

using rtseg::Array;
using rtseg::Geometry;
using rtseg::Planes;

Planes planes_of(const Array& array) {
  if (array.shape.size() != 3) throw rtseg::InputError("expected logits of shape (C, h, w)");
  return {array.values.data(), array.shape[0], {array.shape[2], array.shape[1]}};
}

/// Logits of several kinds: noise; rounded noise, with many equal values; constant; blobs of one class, as networks
/// give them; blobs that differ by a few rounding errors.
Array make_logits(int kind, int classes, cv::Size size, cv::RNG& random) {
  Array logits{{classes, size.height, size.width}, {}};
  const int cell = 5;
  std::vector<int> blobs;
  for (int i = 0; i < size.area(); ++i) blobs.push_back(random.uniform(0, classes));
  for (int k = 0; k < classes; ++k)
    for (int y = 0; y < size.height; ++y)
      for (int x = 0; x < size.width; ++x) {
        const auto noise = static_cast<float>(random.gaussian(1));
        const bool here = blobs[y / cell * size.width + x / cell] == k;
        switch (kind) {
          case 0:
            logits.values.push_back(noise);
            break;
          case 1:
            logits.values.push_back(std::round(noise));
            break;
          case 2:
            logits.values.push_back(0);
            break;
          case 3:
            logits.values.push_back(noise + (here ? 6.0F : 0.0F));
            break;
          default:
            logits.values.push_back(1.0F + 1e-7F * std::round(noise + (here ? 1.0F : 0.0F)));
            break;
        }
      }
  return logits;
}

int selftest() {
  struct Case {
    cv::Size logits, network, image;
    cv::Size content = image;  ///< of the network's input; another size where a rule resizes the image
  };
  const std::vector<Case> cases{
      {{16, 8}, {128, 64}, {128, 64}},   // stride 8
      {{32, 16}, {128, 64}, {128, 64}},  // stride 4
      {{17, 9}, {129, 65}, {129, 65}},   // odd
      {{13, 31}, {97, 241}, {97, 241}},  // no whole stride
      {{16, 8}, {128, 64}, {101, 37}},   // padded: the image is the top left corner
      {{40, 30}, {40, 30}, {40, 30}},    // full size
      {{1, 1}, {8, 8}, {8, 8}},          // one cell
      {{2, 1}, {31, 7}, {31, 7}},
      {{16, 8}, {128, 64}, {300, 211}, {128, 64}},  // resized
      {{16, 8}, {128, 64}, {555, 50}, {101, 37}},   // resized and padded
      {{40, 30}, {40, 30}, {41, 90}, {40, 30}},     // resized, at full size
      {{16, 8}, {128, 64}, {90, 211}, {128, 64}},   // shrunk in one direction
  };
  cv::RNG random(1);
  int failures = 0;
  long long pixels = 0;
  for (const Case& c : cases)
    for (int classes : {1, 2, 19, 300})
      for (int kind = 0; kind < 5; ++kind) {
        const Array logits = make_logits(kind, classes, c.logits, random);
        const Planes planes = planes_of(logits);
        const rtseg::Geometry sizes{c.image, c.content, c.network};
        const cv::Mat full = rtseg::full_argmax(planes, sizes);
        const bool resized = c.content != c.image;
        const cv::Mat sparse =
            resized ? rtseg::argmax(planes, sizes) : rtseg::sparse_argmax(planes, c.network, c.image);
        const int wrong = cv::countNonZero(full != sparse);
        pixels += full.total();
        if (wrong == 0) continue;
        ++failures;
        std::printf("%d of %zu pixels differ: kind %d, %d classes, %dx%d -> %dx%d\n", wrong, full.total(), kind,
                    classes, c.logits.height, c.logits.width, c.network.height, c.network.width);
      }
  std::printf("%lld pixels compared, %d of %zu cases differ\n", pixels, failures, cases.size() * 4 * 5);
  return failures == 0 ? 0 : 1;
}

double median_ms(const std::function<void()>& work) {
  std::vector<double> times;
  for (int i = 0; i < 21; ++i) {
    const auto start = std::chrono::steady_clock::now();
    work();
    times.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  std::nth_element(times.begin(), times.begin() + 10, times.end());
  return times[10];
}

int show_options(const rtseg::Options& options) {
  if (options.help) {
    std::fputs(rtseg::kUsage, stdout);
    return 0;
  }
  std::string kinds;
  for (const auto& [name, wanted] : {std::pair{"coco", options.coco}, std::pair{"json", options.json},
                                     std::pair{"masks", options.masks}, std::pair{"overlays", options.overlays}})
    if (wanted) kinds += (kinds.empty() ? "" : ",") + std::string(name);
  std::printf("%s %s %s %s fit %s batch %d frames %d threads %d%s%s\n", options.model.c_str(), kinds.c_str(),
              options.save_dir.c_str(), options.configuration.text().c_str(), options.fit.fit.c_str(),
              options.batch_size, options.max_frames, options.configuration.threads, options.verify ? " verify" : "",
              options.configuration.strict ? " strict" : "");
  return 0;
}

/// One line for each path of standard input: what `read` makes of it, or its error.
int read_each(const std::function<std::string(const std::string&)>& read) {
  for (std::string path; std::getline(std::cin, path);) {
    std::string line;
    try {
      line = "read " + read(path);
    } catch (const rtseg::InputError& e) {
      line = std::string("error: ") + e.what();
    }
    std::printf("%s\n", line.c_str());
    std::fflush(stdout);  // what was read before a crash has to be known
  }
  return 0;
}

/// What the pose section and the golden person state, likewise.
std::string pose_stated(const rtseg::Pose& pose, const rtseg::GoldenPerson& person) {
  std::ostringstream text;
  text.precision(17);
  text << pose.width << ' ' << pose.height << ' ' << pose.padding << ' ' << static_cast<int>(pose.decode)
       << pose.flip_test << pose.shift;
  for (const std::string& name : pose.keypoints) text << ' ' << name;
  for (int index : pose.flip_indices) text << ' ' << index;
  for (const auto& [first, second] : pose.links) text << ' ' << first << ' ' << second;
  for (double sigma : pose.sigmas.value_or(std::vector<double>{})) text << ' ' << sigma;
  for (double side : person.box) text << ' ' << side;
  for (const auto& keypoint : person.keypoints)
    for (double value : keypoint) text << ' ' << value;
  return text.str();
}

/// What a contract states, as contract_fuzz.py has it in Python, in one line.
std::string stated(const std::string& folder) {
  const rtseg::Contract contract = rtseg::read_contract(folder);
  const rtseg::Preprocessing& preprocess = contract.preprocess;
  std::ostringstream text;
  text.precision(17);
  text << contract.model << ' ' << contract.params << ' ' << contract.network << ' ' << contract.paddle_version << ' '
       << contract.input.name << ' ' << contract.input.shape.text() << ' ' << contract.golden.step << ' '
       << contract.tensorrt.shape.text() << ' ' << contract.tensorrt.workspace_mb << ' ' << preprocess.scale;
  for (double value : preprocess.mean) text << ' ' << value;
  for (double value : preprocess.std) text << ' ' << value;
  if (preprocess.pad) text << ' ' << preprocess.pad->height << ' ' << preprocess.pad->width;
  for (const std::string& name : contract.classes) text << ' ' << name;
  for (const auto& color : contract.palette)
    for (unsigned char channel : color) text << ' ' << static_cast<int>(channel);
  if (contract.pose) text << ' ' << pose_stated(*contract.pose, *contract.golden.person);
  return text.str();
}

/// A document, as contract_fuzz.py has it in Python, in one line.
std::string dumped(const rtseg::Value& value) {
  std::string text;
  char number[40];
  switch (value.kind) {
    case rtseg::Value::Kind::kNull:
      return "None";
    case rtseg::Value::Kind::kFlag:
      return value.flag() ? "True" : "False";
    case rtseg::Value::Kind::kText:
      return "'" + value.text + "'";
    case rtseg::Value::Kind::kList:
      for (const rtseg::Value& item : value.items) text += dumped(item) + ", ";
      return "[" + text + "]";
    case rtseg::Value::Kind::kMapping:
      for (std::size_t i = 0; i < value.items.size(); ++i)
        text += "'" + value.keys[i] + "': " + dumped(value.items[i]) + ", ";
      return "{" + text + "}";
    default:
      std::snprintf(number, sizeof number, "%.17g", value.number() + 0.0);
      return number;
  }
}

rtseg::Heatmaps heatmaps_of(const std::string& path) {
  Array array = rtseg::read_npy(path);
  if (array.shape.size() != 3) throw rtseg::InputError("expected heatmaps of shape (K, h, w)");
  return {1, array.shape[0], array.shape[1], array.shape[2], std::move(array.values)};
}

int decode(const std::string& folder, const std::string& heatmaps, const std::string& mirrored) {
  const rtseg::Pose pose = rtseg::read_contract(folder).pose.value();
  rtseg::Heatmaps maps = heatmaps_of(heatmaps);
  if (pose.flip_test) rtseg::average_flipped(maps, heatmaps_of(mirrored), pose);
  for (const auto& [place, score] : rtseg::decode(maps, 0, pose.decode))
    std::printf("%.17g %.17g %.9g\n", place.x, place.y, score);
  return 0;
}

int show_boxes(const std::vector<std::string>& args) {
  std::optional<std::int64_t> category;
  if (args[3] != "-") category = std::stoll(args[3]);
  const auto [images, line] = rtseg::match_boxes(args[1], {args.begin() + 4, args.end()}, std::stod(args[2]), category);
  std::printf("%s\n", line.c_str());
  for (const rtseg::ImageBoxes& image : images) {
    const auto [width, height] = image.size.value_or(std::pair<std::int64_t, std::int64_t>(0, 0));
    std::printf("%lld %lld %lldx%lld", static_cast<long long>(image.image_id), static_cast<long long>(image.category),
                static_cast<long long>(width), static_cast<long long>(height));
    for (const rtseg::ScoredBox& box : *image.boxes)
      std::printf(" %.17g,%.17g,%.17g,%.17g,%.17g", box.corners[0], box.corners[1], box.corners[2], box.corners[3],
                  box.score);
    std::printf("\n");
  }
  return 0;
}

/// A network whose logits are the channels of a pixel, and of class 1 also the first pixel of the tile.
rtseg::PlanesOf toy_network(const std::vector<cv::Mat>& tiles) {
  return [tiles](int index) {
    std::vector<cv::Mat> planes;
    for (int k = 0; k < 3; ++k) {
      cv::Mat plane(tiles[index].size(), CV_32F);
      const float context = static_cast<float>(tiles[index].at<cv::Vec3b>(0, 0)[0]) / 255.0F * 0.5F;
      for (int y = 0; y < plane.rows; ++y)
        for (int x = 0; x < plane.cols; ++x) {
          const float value = static_cast<float>(tiles[index].at<cv::Vec3b>(y, x)[k]) / 255.0F;
          plane.at<float>(y, x) = k == 0 ? value : k == 1 ? value + context : value * 1.1F;
        }
      planes.push_back(plane);
    }
    return planes;
  };
}

int run(const std::vector<std::string>& args) {
  const std::string command = args.empty() ? "" : args[0];
  if (command == "selftest" && args.size() == 1) return selftest();
  if (command == "contract" && args.size() == 2) {
    rtseg::read_contract(args[1]);
    return 0;
  }
  if (command == "contracts" && args.size() == 1) return read_each(stated);
  if (command == "documents" && args.size() == 1)
    return read_each([](const std::string& path) { return dumped(rtseg::read_document(path)); });
  if (command == "arrays" && args.size() == 1)
    return read_each([](const std::string& path) { return rtseg::shape_text(rtseg::read_npy(path).shape); });
  if (command == "tolerance" && args.size() == 3) {
    const rtseg::Contract contract = rtseg::read_contract(args[1]);
    const rtseg::Tolerance& tolerance = contract.golden.tolerance_of(args[2]);
    std::printf("%g %g\n", tolerance.rms_error, tolerance.agreement);
    return 0;
  }
  if (command == "decode" && args.size() == 4) return decode(args[1], args[2], args[3]);
  if (command == "boxes" && args.size() > 4) return show_boxes(args);
  if (command == "configurations" && args.size() == 1) {
    for (const rtseg::Device& device : rtseg::devices())
      for (const rtseg::Backend& backend : device.backends)
        for (const std::string& precision : backend.precisions)
          std::printf("%s %s %s\n", device.name.c_str(), backend.name.c_str(), precision.c_str());
    for (const rtseg::Device& device : rtseg::devices())
      std::printf("default %s %s\n", device.name.c_str(), device.default_backend.c_str());
    for (const rtseg::Device& device : rtseg::devices())
      for (const std::string& precision : device.auto_precisions)
        std::printf("auto %s %s\n", device.name.c_str(), precision.c_str());
    return 0;
  }
  if (command == "options") return show_options(rtseg::parse_options({args.begin() + 1, args.end()}));
  if (command == "fit") {
    const rtseg::Options options = rtseg::parse_options({args.begin() + 1, args.end()});
    const rtseg::Preprocessor preprocess(rtseg::read_contract(options.model));
    std::printf("%s\n", rtseg::choose_fit(preprocess, options.fit).text().c_str());
    return 0;
  }
  if (command == "tiles" && args.size() > 3) {
    const rtseg::Options options = rtseg::parse_options({args.begin() + 3, args.end()});
    const rtseg::Fit fit{options.fit.tile, options.fit.overlap.value(), std::nullopt};
    const cv::Mat image = cv::imread(args[1]);
    cv::Mat mask(image.size(), CV_8U);
    const auto use = [&](const cv::Rect& part, const std::vector<cv::Mat>& planes) {
      rtseg::largest(3, [&](int k) { return planes[k]; }).copyTo(mask(part));
    };
    rtseg::blend_tiles(image, fit, 3, options.batch_size, {33, 40}, toy_network, use);
    return cv::imwrite(args[2], mask) ? 0 : 1;
  }
  if (command == "cores" && args.size() == 2) {
    std::printf("%d\n", rtseg::usable_cores(args[1]));
    return 0;
  }
  if (command == "threads" && args.size() == 1) {
    std::printf("%d\n", rtseg::thread_count(0));
    return 0;
  }
  if (command == "cache" && args.size() == 1) {
    std::printf("%s\n", rtseg::cache_root().c_str());
    return 0;
  }
  if (command == "preprocess" && args.size() == 4) {
    const cv::Mat image = cv::imread(args[3]);
    if (image.empty()) throw rtseg::InputError("cannot read " + args[3]);
    const rtseg::Batch batch = rtseg::Preprocessor(rtseg::read_contract(args[1]))({image});
    Array array{batch.shape, batch.values};
    if (array.values.empty()) array.values.assign(batch.raw.begin(), batch.raw.end());
    rtseg::write_npy(args[2], array);
    return 0;
  }
  if (command == "overlay" && args.size() >= 5) {
    const rtseg::Contract contract = rtseg::read_contract(args[1]);
    std::vector<std::string> flags{"--model", args[1]};
    flags.insert(flags.end(), args.begin() + 5, args.end());
    const cv::Mat image = cv::imread(args[2]), mask = cv::imread(args[3], cv::IMREAD_UNCHANGED);
    const rtseg::Style style = rtseg::parse_options(flags).style;
    const cv::Mat picture = rtseg::overlay(image, mask, contract.classes, contract.palette, style);
    cv::Mat place = cv::Mat(3 * picture.rows, image.cols, CV_8UC3).rowRange(0, image.rows);
    image.copyTo(place);
    const cv::Mat in_place = rtseg::overlay(place, mask, contract.classes, contract.palette, style, false, true);
    const bool same = in_place.size() == picture.size() && cv::norm(in_place, picture, cv::NORM_INF) == 0;
    return same && in_place.data == place.data && cv::imwrite(args[4], picture) ? 0 : 1;
  }
  if (command == "results" && args.size() == 7) {
    const rtseg::Contract contract = rtseg::read_contract(args[1]);
    const Array logits = rtseg::read_npy(args[2]);
    const cv::Size image(std::stoi(args[4]), std::stoi(args[3]));
    const Geometry sizes{image, image, image};
    const cv::Mat mask = rtseg::argmax(planes_of(logits), sizes);
    const bool probabilities = contract.output.op == rtseg::OutputOp::kSoftmax;
    const std::string text =
        rtseg::class_areas(mask, contract.classes, rtseg::confidence(planes_of(logits), sizes, probabilities));
    rtseg::write_file(args[6] + "/areas.json", {text.begin(), text.end()});
    rtseg::CocoFile coco(args[6] + "/coco.json", contract.classes);
    coco.add(args[5], mask);
    coco.add("again", mask);
    coco.close();
    return 0;
  }
  if (command == "onnx" && args.size() == 2) {
    rtseg::check_self_contained(args[1]);
    return 0;
  }
  if (command == "placement" && args.size() == 2) {
    for (const auto& [provider, names] : rtseg::placement(args[1]))
      for (const std::string& name : names) std::printf("%s %s\n", provider.c_str(), name.c_str());
    return 0;
  }
  if (command == "processor" && args.size() == 2) {
    std::printf("%s\n", rtseg::processor_obstacle(args[1]).c_str());
    return 0;
  }
  if (command == "engine" && args.size() == 3) {
    std::ifstream log(args[1]);
    rtseg::require_engine({std::istreambuf_iterator<char>(log), {}}, args[2]);
    return 0;
  }
  if ((command == "argmax" && args.size() == 5) || (command == "time" && args.size() == 4)) {
    const Array logits = rtseg::read_npy(args[1]);
    const Planes planes = planes_of(logits);
    const cv::Size image(std::stoi(args[3]), std::stoi(args[2]));
    if (command == "argmax") return cv::imwrite(args[4], rtseg::argmax(planes, {image, image, image})) ? 0 : 1;
    std::printf("sparse %.3f ms, full %.3f ms\n", median_ms([&] { rtseg::sparse_argmax(planes, image, image); }),
                median_ms([&] {
                  rtseg::full_argmax(planes, {image, image, image});
                }));
    return 0;
  }
  std::fprintf(stderr, "see the comment at the top of host_check.cpp\n");
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
