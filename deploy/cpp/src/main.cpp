// rtseg_infer: segment an image, a folder or a video with an exported model, or find the keypoints of persons there, as
// deploy/python's command does.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <opencv2/core/utility.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "contract.hpp"
#include "drawing.hpp"
#include "environment.hpp"
#include "error.hpp"
#include "files.hpp"
#include "image_headers.hpp"
#include "interruption.hpp"
#include "media.hpp"
#include "options.hpp"
#include "pose_command.hpp"
#include "pose_predictor.hpp"
#include "predictor.hpp"
#include "preprocess.hpp"
#include "processor.hpp"
#include "results.hpp"
#include "selection.hpp"
#include "tally.hpp"
#include "tiling.hpp"

namespace {

using rtseg::Failure;
using rtseg::kAllWritten;
using rtseg::Options;
using rtseg::Outcome;
using rtseg::Tally;

/// Images of one size to run as one batch, or one file that cannot be read and the reason.
struct Group {
  std::vector<std::string> names, files;  ///< of the results, and of the images within the input folder
  std::vector<cv::Mat> images;
  std::string error;
};

bool is_large(const cv::Mat& image) { return static_cast<std::int64_t>(image.total()) > rtseg::kLarge; }

/// Groups of up to `size` images of one size, of at most `most` images in all, or of all if that is 0.
class Reader {
 public:
  Reader(rtseg::Source& source, int size, int most) : source_(source), size_(size), left_(most > 0 ? most : -1) {}

  /// The next group; an empty one at the end.
  Group next() {
    Group group;
    while (static_cast<int>(group.names.size()) < size_) {
      if (!waiting_ && left_ != 0) waiting_ = source_.next(), --left_;
      if (!waiting_) break;
      const bool first = group.names.empty();
      if (!waiting_->error.empty()) {  // reported after the images before it
        if (first) group = {{waiting_->name}, {}, {}, waiting_->error}, waiting_.reset();
        break;
      }
      if (!first && group.images[0].size() != waiting_->image.size()) break;
      group.names.push_back(waiting_->name);
      group.files.push_back(waiting_->file);
      group.images.push_back(waiting_->image);
      waiting_.reset();
    }
    return group;
  }

 private:
  rtseg::Source& source_;
  int size_;
  long left_;                           ///< frames to read; negative without a limit
  std::optional<rtseg::Frame> waiting_;  ///< already decoded, but not of the previous group
};

/// Writes results: a mask with class ids, an overlay, or for a video one with all overlays.
class Writer {
 public:
  Writer(const Options& options, const rtseg::Contract& contract, double fps)
      : options_(options), contract_(contract), fps_(fps) {}

  /// Write the results of a group. Throws DiskFull if nothing more can be written.
  Outcome write(Group& group, const std::vector<rtseg::Result>& results) {
    Outcome outcome;
    for (std::size_t i = 0; i < results.size(); ++i) {
      try {
        write(group.names[i], group.images[i], results[i]);
        if (options_.coco) {
          const std::filesystem::path path = std::filesystem::path(options_.save_dir) / "coco.json";
          if (!coco_) coco_.emplace(path.string(), contract_.classes);
          coco_->add(group.files[i], results[i].mask);
        }
        ++outcome.written;
      } catch (const rtseg::DiskFull&) {
        throw;
      } catch (const std::exception& e) {
        outcome.failures.push_back({group.names[i], rtseg::reason_of(e)});
      }
    }
    return outcome;
  }

  /// Finish what holds the results of several images.
  void finish() {
    if (video_) video_->keep();
    if (coco_) coco_->close();
  }

 private:
  /// Write the files of an image, which is released: all, or none if one of them has no such size.
  void write(const std::string& name, cv::Mat& image, const rtseg::Result& result) {
    const cv::Mat& mask = result.mask;
    const std::filesystem::path folder(options_.save_dir);
    std::map<std::string, std::vector<unsigned char>> encoded;  // by path
    const auto encode = [&](const char* kind, const char* suffix, const cv::Mat& pixels) {
      const std::string path = (folder / kind / (name + suffix)).string();
      encoded.emplace(path, rtseg::encode_image(path, pixels));
    };
    cv::Mat overlay;
    std::optional<rtseg::PartialFile> large;  // an overlay whose file is not encoded in memory
    if (options_.overlays) {
      overlay = rtseg::overlay(image, mask, contract_.classes, contract_.palette, options_.style, fps_ != 0,
                               is_large(image));
      if (fps_ == 0 && is_large(image)) {
        large.emplace((folder / "overlays" / (name + ".jpg")).string());
        large->write_jpeg(overlay);
        overlay.release();
      }
    }
    image.release();
    if (options_.masks) encode("masks", ".png", mask);
    if (!overlay.empty() && fps_ == 0) encode("overlays", ".jpg", overlay);
    if (options_.json) {
      const std::string text = rtseg::class_areas(mask, contract_.classes, result.confidence);
      const std::string path = (folder / "json" / (name + ".json")).string();
      encoded.emplace(path, std::vector<unsigned char>(text.begin(), text.end()));
    }
    for (const auto& [path, data] : encoded) rtseg::write_file(path, data);
    if (large) large->keep();
    if (!options_.overlays || fps_ == 0) return;
    const std::string video = std::filesystem::path(name).parent_path().string() + ".mp4";
    if (!video_) video_.emplace((folder / "overlays" / video).string(), fps_, overlay.size());
    video_->write(overlay);
  }

  const Options& options_;
  const rtseg::Contract& contract_;
  double fps_;
  std::optional<rtseg::VideoFile> video_;
  std::optional<rtseg::CocoFile> coco_;
};

/// The results of a group; empty, with the reason in `group.error`, if there are none.
std::vector<rtseg::Result> predict(rtseg::Predictor& predictor, Group& group, bool with_confidence) {
  if (!group.error.empty()) return {};
  try {
    return predictor.predict(group.images, with_confidence);
  } catch (const std::exception& e) {
    group.error = rtseg::reason_of(e);
    return {};
  }
}

/// Segment all images and write the results; those that fail are reported and skipped. While the network runs on one
/// batch, the next is decoded and the previous one is written, but not of large images. Ctrl-C ends it after what is
/// being written.
int segment(rtseg::Predictor& predictor, const Options& options, rtseg::Source& source, int batch_size) {
  const rtseg::Deferral deferral;
  Reader reader(source, batch_size, options.max_frames);
  Writer writer(options, predictor.contract(), source.fps());
  Tally tally;
  const auto start = std::chrono::steady_clock::now();
  const auto read_ahead = [&](std::launch when) { return std::async(when, [&] { return reader.next(); }); };
  std::future<Group> ahead = read_ahead(std::launch::async);
  std::future<Outcome> writing;
  for (Group group = ahead.get(); !group.names.empty() && deferral.status() == 0; group = ahead.get()) {
    const bool alone = !group.images.empty() && is_large(group.images[0]);
    ahead = read_ahead(alone ? std::launch::deferred : std::launch::async);
    if (alone && writing.valid()) tally.add(writing.get());
    std::vector<rtseg::Result> results = predict(predictor, group, options.json);
    if (!group.error.empty()) {
      for (const std::string& name : group.names) tally.skip({{name, group.error}});
      continue;
    }
    for (const rtseg::Result& result : results) tally.add(result.timings, results.size());
    if (writing.valid()) tally.add(writing.get());
    writing = std::async(std::launch::async, [&, group = std::move(group), results = std::move(results)]() mutable {
      return writer.write(group, results);
    });
    if (alone) tally.add(writing.get());
  }
  if (writing.valid()) tally.add(writing.get());
  writer.finish();
  const int stopped = deferral.status();
  if (stopped != 0) std::fprintf(stderr, "stopped\n");
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  const int status = tally.finish(options.save_dir, seconds.count(), source.not_taken(), predictor.flicker());
  return stopped != 0 ? stopped : status;
}

/// The first image that can be read and that the model accepts, to time backends with; empty if there is none.
cv::Mat sample(rtseg::Source& source, const rtseg::Contract& contract, const rtseg::Fit& fit) {
  while (const std::optional<rtseg::Frame> frame = source.next()) {
    if (!frame->error.empty()) continue;  // segment reports it
    try {
      const cv::Mat image = fit.part_of(frame->image);
      rtseg::Preprocessor{contract}.input_shape({image.size()});
      return image;
    } catch (const std::exception&) {  // segment reports it
    }
  }
  return {};
}

/// Say what to know of the precision on this processor.
void warn(const rtseg::Contract& contract, const rtseg::Configuration& configuration) {
  if (configuration.precision != rtseg::kInt8 || !contract.int8) return;
  const std::string warning = rtseg::int8_warning(contract.int8->weight_bits);
  if (!warning.empty()) std::fprintf(stderr, "warning: %s\n", warning.c_str());
}

/// The operators that run on the processor although a GPU was asked for; empty if none is known to.
template <typename Predictor>
std::string on_processor(const Predictor& predictor) {
  const std::vector<std::string> names = predictor.on_processor();
  return names.empty() ? "" : "; on the processor: " + rtseg::listed(names);
}

/// The requested predictor, checked against the golden output.
template <typename Predictor>
std::unique_ptr<Predictor> choose(const rtseg::Contract& contract, rtseg::Configuration configuration,
                                  const cv::Mat& sample) {
  if (configuration.backend == rtseg::kAuto) {
    if (!configuration.provider.empty())
      throw rtseg::InputError("expected --backend onnxruntime with --provider " + configuration.provider +
                              ", got 'auto'; add it");
    for (const rtseg::Device& device : rtseg::devices())
      if (device.name == configuration.device) configuration.backend = device.default_backend;
    if (configuration.backend == rtseg::kAuto) rtseg::check(configuration);  // no such device
    std::vector<rtseg::Trial> trials;
    auto predictor = rtseg::fastest<Predictor>(contract, configuration, sample, trials);
    for (const rtseg::Trial& trial : trials) std::printf("%s\n", trial.text().c_str());
    warn(contract, predictor->configuration());
    std::printf("using %s%s\n", predictor->configuration().text().c_str(), on_processor(*predictor).c_str());
    return predictor;
  }
  if (configuration.precision == rtseg::kAuto) configuration.precision = "fp32";
  auto predictor = std::make_unique<Predictor>(contract, configuration);
  warn(contract, configuration);
  const rtseg::Verification verification = predictor->verify();
  if (!verification.passed)
    throw rtseg::InputError(configuration.text() + " does not reproduce the model's golden output (" +
                            verification.text() + "); use another --backend or --precision");
  std::printf("using %s (%s)%s\n", configuration.text().c_str(), verification.text().c_str(),
              on_processor(*predictor).c_str());
  return predictor;
}

void check_batch(const rtseg::Contract& contract, int size) {
  const int most = contract.input.shape.max[0];
  if (most > 0 && size > most)
    throw rtseg::InputError("expected --batch_size of at most " + std::to_string(most) +
                            ", the model's largest batch, got " + std::to_string(size) + "; lower it");
}

/// Open the images to work on; none if the model is only to be verified.
std::unique_ptr<rtseg::Source> open(const Options& options) {
  if (options.verify || options.input.empty()) return nullptr;
  return rtseg::open_source(options.input, options.save_dir);
}

void prepare(const Options& options) {
  rtseg::prepare_environment(options.configuration.threads);
  cv::setNumThreads(rtseg::thread_count(options.configuration.threads));
}

int run_segmentation(const rtseg::Contract& contract, const Options& options) {
  const std::unique_ptr<rtseg::Source> source = open(options);
  rtseg::Fit fit;
  cv::Mat image;
  if (source) {
    if (options.coco && source->fps() != 0)
      throw rtseg::InputError(
          "expected images with --write coco, got a video or camera; extract frames, or write json");
    rtseg::refuse_video_flags(options, source->fps() != 0);
    fit = rtseg::choose_fit(rtseg::Preprocessor{contract}, options.fit);
    if (options.steady > 1) rtseg::check_steady(contract, fit.tile.has_value());
    rtseg::check_folder(options.save_dir);
    if (options.configuration.backend == rtseg::kAuto) image = sample(*open(options), contract, fit);
  }
  prepare(options);
  const auto predictor = choose<rtseg::Predictor>(contract, options.configuration, image);
  image.release();
  if (!source) return kAllWritten;
  check_batch(predictor->contract(), options.batch_size);
  predictor->bring_to_size(fit, options.batch_size);
  if (source->fps() != 0) predictor->follow_video(options.steady, options.motion);
  if (const std::string text = fit.text(); !text.empty()) std::printf("%s\n", text.c_str());
  return segment(*predictor, options, *source, options.fit.tile ? 1 : options.batch_size);
}

int run_pose(const rtseg::Contract& contract, const Options& options) {
  const std::unique_ptr<rtseg::Source> source = open(options);
  rtseg::PosePlan plan;
  if (source) {
    plan = rtseg::plan_poses(options, *source);
    rtseg::check_folder(options.save_dir);
  }
  prepare(options);
  const auto predictor = choose<rtseg::PosePredictor>(contract, options.configuration, {});
  if (!source) return kAllWritten;
  check_batch(predictor->contract(), options.batch_size);
  return rtseg::estimate_poses(*predictor, options, *source, plan);
}

int run(const std::vector<std::string>& args) {
  const Options options = rtseg::parse_options(args);
  if (options.help) {
    std::fputs(rtseg::kUsage, stdout);
    return kAllWritten;
  }
  const rtseg::Contract contract = rtseg::read_contract(options.model);
  rtseg::refuse_flags(options, contract.pose.has_value());
  if (contract.pose) return run_pose(contract, options);
  rtseg::clear_class(contract.classes, options.style.clear);  // refuses a name that no class has
  return run_segmentation(contract, options);
}

}  // namespace

int main(int argc, char** argv) {
  rtseg::end_at_signals();
  try {
    return run({argv + 1, argv + argc});
  } catch (const std::exception& e) {
    const bool sentence = dynamic_cast<const rtseg::InputError*>(&e) != nullptr;
    std::fprintf(stderr, "error: %s\n", sentence ? e.what() : rtseg::first_line(e.what()).c_str());
    return rtseg::kCannotStart;
  }
}
