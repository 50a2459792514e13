// rtseg_infer: segment an image or a folder with an exported model, as deploy/python's command does.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <opencv2/core/utility.hpp>
#include <string>
#include <utility>
#include <vector>

#include "contract.hpp"
#include "environment.hpp"
#include "error.hpp"
#include "files.hpp"
#include "options.hpp"
#include "predictor.hpp"
#include "preprocess.hpp"
#include "selection.hpp"

namespace {

enum Status { kAllWritten = 0, kSomeFailed = 1, kCannotStart = 2 };

using rtseg::Options;

/// Images of one size to run as one batch, or one file that cannot be read and the reason.
struct Group {
  std::vector<std::string> names;
  std::vector<cv::Mat> images;
  std::string error;
};

/// Decodes the files in order. `next` returns groups of up to `size` images, and an empty one at the end.
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
  cv::Mat image_;  ///< already decoded, but of another size than the previous group
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

/// Segment all files and write the results; files that fail are reported and skipped. While the network runs on one
/// batch, the next is decoded and the previous one is written.
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

/// The first image that can be read and that the model accepts, to time backends with; empty if there is none.
cv::Mat sample(const std::vector<rtseg::ImageFile>& files, const rtseg::Contract& contract) {
  for (const rtseg::ImageFile& file : files) {
    try {
      const cv::Mat image = rtseg::read_image(file.path);
      rtseg::Preprocessor{contract}({image});
      return image;
    } catch (const rtseg::InputError&) {  // segment reports it
    }
  }
  return {};
}

/// The requested predictor, checked against the golden output.
std::unique_ptr<rtseg::Predictor> choose(const rtseg::Contract& contract, rtseg::Configuration configuration,
                                         const std::vector<rtseg::ImageFile>& files) {
  if (configuration.backend == rtseg::kAuto) {
    if (!configuration.provider.empty())
      throw rtseg::InputError("expected --backend onnxruntime with --provider " + configuration.provider +
                              ", got 'auto'; add it");
    for (const rtseg::Device& device : rtseg::devices())
      if (device.name == configuration.device) configuration.backend = device.default_backend;
    if (configuration.backend == rtseg::kAuto) rtseg::check(configuration);  // no such device
    std::vector<rtseg::Trial> trials;
    auto predictor = rtseg::fastest(contract, configuration, sample(files, contract), trials);
    for (const rtseg::Trial& trial : trials) std::printf("%s\n", trial.text().c_str());
    std::printf("using %s\n", predictor->configuration().text().c_str());
    return predictor;
  }
  if (configuration.precision == rtseg::kAuto) configuration.precision = "fp32";
  auto predictor = std::make_unique<rtseg::Predictor>(contract, configuration);
  const rtseg::Verification verification = predictor->verify();
  if (!verification.passed)
    throw rtseg::InputError(configuration.text() + " does not reproduce the model's golden output (" +
                            verification.text() + "); use another --backend or --precision");
  std::printf("using %s (%s)\n", configuration.text().c_str(), verification.text().c_str());
  return predictor;
}

Status run(const std::vector<std::string>& args) {
  const Options options = rtseg::parse_options(args);
  if (options.help) {
    std::fputs(rtseg::kUsage, stdout);
    return kAllWritten;
  }
  const bool verify_only = options.verify || options.input.empty();
  const rtseg::Contract contract = rtseg::read_contract(options.model);
  std::vector<rtseg::ImageFile> files;
  if (!verify_only) {
    files = rtseg::find_images(options.input);
    rtseg::make_folder(options.save_dir);
  }
  if (options.max_frames > 0 && files.size() > static_cast<std::size_t>(options.max_frames))
    files.resize(options.max_frames);
  rtseg::prepare_environment(options.configuration.threads);
  cv::setNumThreads(rtseg::thread_count(options.configuration.threads));
  const auto predictor = choose(contract, options.configuration, files);
  return verify_only ? kAllWritten : segment(*predictor, options, files);
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
