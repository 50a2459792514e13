// rtseg_infer: segment an image or a folder with an exported model. The twin of deploy/python's command.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <future>
#include <iostream>
#include <opencv2/core/utility.hpp>
#include <string>
#include <utility>
#include <vector>

#include "contract.hpp"
#include "error.hpp"
#include "files.hpp"
#include "network.hpp"
#include "predictor.hpp"

namespace {

enum Status { kAllWritten = 0, kSomeFailed = 1, kCannotStart = 2 };

constexpr char kUsage[] =
    R"(usage: rtseg_infer --model FOLDER [--input IMAGE_OR_FOLDER] [options]

Segment an image, or the images of a folder and the folders below it, with an exported model. Before that the model is
held to its golden output; without --input, or with --verify, that is all.

  --model FOLDER      exported model, with its deploy.yaml
  --input PATH        image or folder
  --save_dir FOLDER   folder to write: masks/NAME.png and overlays/NAME.jpg (default ./output/inference)
  --write KINDS       masks, overlays or masks,overlays (default both)
  --device NAME       cpu (default) or gpu
  --backend NAME      cpu: onednn (default), native, openvino; gpu: native (default), tensorrt
  --precision NAME    fp32 (default), fp16 or bf16, as far as the backend computes in it
  --threads N         processor threads (default: all cores)
  --batch_size N      images at a time, if of one size (default 1)
  --verify            only compare with the golden output

Exit status: 0 all written, 1 some images failed, 2 nothing could be done.
)";

struct Options {
  std::string model, input, save_dir = "./output/inference";
  bool masks = true, overlays = true, verify_only = false, help = false;
  rtseg::Configuration configuration{"cpu", "", "fp32", 0};
  int batch_size = 1;
};

int parse_count(const std::string& name, const std::string& text, int least) {
  int value = -1;
  std::size_t used = 0;
  try {
    value = std::stoi(text, &used);
  } catch (const std::exception&) {
    used = 0;
  }
  if (used == 0 || used != text.size() || value < least)
    throw rtseg::InputError("expected " + name + " of " + std::to_string(least) + " or more, got '" + text + "'");
  return value;
}

Options parse(const std::vector<std::string>& args) {
  Options options;
  for (std::size_t i = 0; i < args.size(); ++i) {
    const std::string& name = args[i];
    const auto value = [&]() -> const std::string& {
      if (i + 1 == args.size()) throw rtseg::InputError("expected a value after " + name + "; see --help");
      return args[++i];
    };
    if (name == "--help" || name == "-h") {
      options.help = true;
    } else if (name == "--verify") {
      options.verify_only = true;
    } else if (name == "--model") {
      options.model = value();
    } else if (name == "--input") {
      options.input = value();
    } else if (name == "--save_dir") {
      options.save_dir = value();
    } else if (name == "--write") {
      const std::string kinds = value();
      options.masks = kinds == "masks" || kinds == "masks,overlays";
      options.overlays = kinds == "overlays" || kinds == "masks,overlays";
      if (!options.masks && !options.overlays)
        throw rtseg::InputError("expected --write masks, overlays or masks,overlays, got '" + kinds + "'");
    } else if (name == "--device") {
      options.configuration.device = value();
    } else if (name == "--backend") {
      options.configuration.backend = value();
    } else if (name == "--precision") {
      options.configuration.precision = value();
    } else if (name == "--threads") {
      options.configuration.threads = parse_count(name, value(), 0);
    } else if (name == "--batch_size") {
      options.batch_size = parse_count(name, value(), 1);
    } else {
      throw rtseg::InputError("unknown option '" + name + "'; see --help");
    }
  }
  if (options.configuration.backend.empty())
    options.configuration.backend = options.configuration.device == "cpu" ? "onednn" : "native";
  if (options.model.empty() && !options.help) throw rtseg::InputError("expected --model FOLDER; see --help");
  return options;
}

/// Images of one size to run as one batch, or one file that cannot be read, with the reason.
struct Group {
  std::vector<std::string> names;
  std::vector<cv::Mat> images;
  std::string error;
};

/// Decodes the files in order. `next` gives groups of up to `size` images; an empty one is the end.
class Reader {
 public:
  Reader(std::vector<rtseg::ImageFile> files, int size) : files_(std::move(files)), size_(size) {}

  Group next() {
    Group group;
    while (position_ < files_.size() && static_cast<int>(group.names.size()) < size_) {
      if (image_.empty()) {
        try {
          image_ = rtseg::read_image(files_[position_].path);
        } catch (const rtseg::InputError& e) {
          if (!group.names.empty()) break;  // reported after the images before it
          return {{files_[position_++].name}, {}, e.what()};
        }
      }
      if (!group.images.empty() && group.images[0].size() != image_.size()) break;
      group.images.push_back(std::exchange(image_, {}));
      group.names.push_back(files_[position_++].name);
    }
    return group;
  }

 private:
  std::vector<rtseg::ImageFile> files_;
  int size_;
  std::size_t position_ = 0;
  cv::Mat image_;  ///< decoded already, but of another size than the group before it
};

void write(const Options& options, const Group& group, const std::vector<rtseg::Result>& results,
           const rtseg::Contract& contract) {
  const std::filesystem::path folder(options.save_dir);
  for (std::size_t i = 0; i < results.size(); ++i) {
    const cv::Mat& mask = results[i].mask;
    if (options.masks) rtseg::write_image((folder / "masks" / (group.names[i] + ".png")).string(), mask);
    if (options.overlays)
      rtseg::write_image((folder / "overlays" / (group.names[i] + ".jpg")).string(),
                         rtseg::overlay(group.images[i], mask, contract));
  }
}

/// Linear interpolation between the two nearest values, as NumPy's percentile does.
double percentile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  const double position = share * static_cast<double>(values.size() - 1);
  const auto low = static_cast<std::size_t>(position);
  const std::size_t high = std::min(low + 1, values.size() - 1);
  return values[low] + (position - static_cast<double>(low)) * (values[high] - values[low]);
}

void report(const std::vector<rtseg::Timings>& timings) {
  std::printf("ms per image     p50      p90      p99\n");
  const std::pair<const char*, double rtseg::Timings::*> parts[] = {
      {"pre", &rtseg::Timings::pre}, {"run", &rtseg::Timings::run}, {"post", &rtseg::Timings::post}};
  for (const auto& [name, part] : parts) {
    std::vector<double> values;
    for (const rtseg::Timings& t : timings) values.push_back(t.*part);
    std::printf("%-12s%9.2f%9.2f%9.2f\n", name, percentile(values, 0.5), percentile(values, 0.9),
                percentile(values, 0.99));
  }
}

/// Segment all files and write the results; report those that fail and go on. While one batch is in the network the
/// next is decoded and the one before is written.
Status segment(rtseg::Predictor& predictor, const Options& options, const std::vector<rtseg::ImageFile>& files) {
  Reader reader(files, options.batch_size);
  std::vector<rtseg::Timings> timings;
  int failed = 0;
  const auto start = std::chrono::steady_clock::now();
  const auto read_ahead = [&] { return std::async(std::launch::async, [&] { return reader.next(); }); };
  std::future<Group> ahead = read_ahead();
  std::future<void> writing;
  for (Group group = ahead.get(); !group.names.empty(); group = ahead.get()) {
    ahead = read_ahead();
    std::vector<rtseg::Result> results;
    if (group.error.empty()) {
      try {
        results = predictor.predict(group.images);
      } catch (const rtseg::InputError& e) {
        group.error = e.what();
      }
    }
    if (!group.error.empty()) {
      for (const std::string& name : group.names)
        std::fprintf(stderr, "skipped %s: %s\n", name.c_str(), group.error.c_str());
      failed += static_cast<int>(group.names.size());
      continue;
    }
    const auto count = static_cast<double>(results.size());
    for (const auto& [mask, t] : results) timings.push_back({t.pre / count, t.run / count, t.post / count});
    if (writing.valid()) writing.get();
    writing = std::async(std::launch::async, [&, group = std::move(group), results = std::move(results)] {
      write(options, group, results, predictor.contract());
    });
  }
  if (writing.valid()) writing.get();
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  std::printf("%zu written to %s, %d failed, %.1f images/s\n", timings.size(), options.save_dir.c_str(), failed,
              static_cast<double>(timings.size()) / seconds.count());
  if (!timings.empty()) report(timings);
  return failed == 0 ? kAllWritten : kSomeFailed;
}

Status run(const std::vector<std::string>& args) {
  const Options options = parse(args);
  if (options.help) {
    std::fputs(kUsage, stdout);
    return kAllWritten;
  }
  const bool verify_only = options.verify_only || options.input.empty();
  rtseg::Contract contract = rtseg::read_contract(options.model);
  std::vector<rtseg::ImageFile> files;
  if (!verify_only) {
    files = rtseg::find_images(options.input);
    rtseg::make_folder(options.save_dir);
  }
  const rtseg::Configuration& configuration = options.configuration;
  rtseg::prepare_environment(configuration.threads);
  cv::setNumThreads(rtseg::thread_count(configuration.threads));
  rtseg::Predictor predictor(std::move(contract), configuration);
  const rtseg::Verification verification = predictor.verify(configuration.precision);
  if (!verification.passed)
    throw rtseg::InputError(configuration.text() + " does not reproduce the model's golden output (" +
                            verification.text() + "); use another --backend or --precision");
  std::printf("using %s (%s)\n", configuration.text().c_str(), verification.text().c_str());
  return verify_only ? kAllWritten : segment(predictor, options, files);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run({argv + 1, argv + argc});
  } catch (const std::exception& e) {
    std::fprintf(stderr, "error: %s\n", e.what());
    return kCannotStart;
  }
}
