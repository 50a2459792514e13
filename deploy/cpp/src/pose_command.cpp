#include "pose_command.hpp"

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <future>
#include <optional>
#include <utility>

#include "error.hpp"
#include "files.hpp"
#include "interruption.hpp"
#include "json.hpp"
#include "pose_drawing.hpp"
#include "tally.hpp"

namespace rtseg {
namespace {

namespace fs = std::filesystem;

constexpr char kResults[] = "keypoints.json";

/// An image with its boxes.
struct Job {
  Frame frame;
  std::string file_name;  // in the results
  ImageBoxes about;
  std::vector<ScoredBox> boxes;
};

/// Images to run together, or one that has no result and the reason.
struct Group {
  std::vector<Job> jobs;
  std::string error;
};

std::vector<ScoredBox> boxes_of(const ImageBoxes& about, cv::Size size) {
  if (about.size && *about.size != std::pair<std::int64_t, std::int64_t>(size.width, size.height))
    throw InputError("expected the " + std::to_string(about.size->first) + " x " + std::to_string(about.size->second) +
                     " pixels that --boxes states, got " + std::to_string(size.width) + " x " +
                     std::to_string(size.height) + "; correct the file, or remove the image's orientation");
  std::vector<ScoredBox> boxes = about.boxes.value_or(std::vector<ScoredBox>{whole_image(size)});
  check_boxes(boxes, size);
  return boxes;
}

/// Groups of images that together have `size` persons or a few more, of at most `most` images in all, or of all if that is
/// 0.
class Reader {
 public:
  Reader(Source& source, const PosePlan& plan, int size, int most)
      : source_(source), plan_(plan), size_(static_cast<std::size_t>(size)), left_(most > 0 ? most : -1) {}

  /// The next group; an empty one at the end.
  Group next() {
    Group group = std::exchange(failed_, {});
    for (std::size_t persons = 0; group.error.empty() && persons < size_ && group.jobs.size() < size_;) {
      std::optional<Frame> frame;
      if (left_ != 0) frame = source_.next(), --left_;
      if (!frame) break;
      Job job = this->job(std::move(*frame));
      if (!job.frame.error.empty()) {
        Group failed{{}, job.frame.error};
        failed.jobs.push_back(std::move(job));
        if (group.jobs.empty()) return failed;
        failed_ = std::move(failed);  // reported after the images before it
        break;
      }
      persons += job.boxes.size();
      group.jobs.push_back(std::move(job));
    }
    return group;
  }

 private:
  Job job(Frame frame) {
    Job job{std::move(frame), "", {}, {}};
    const std::size_t place = place_++;
    job.about.image_id = static_cast<std::int64_t>(place);
    if (plan_.names) job.about = plan_.images[place];
    job.file_name = plan_.names ? (*plan_.names)[place] : job.frame.name;
    if (!job.frame.error.empty()) return job;
    try {
      job.boxes = boxes_of(job.about, job.frame.image.size());
    } catch (const InputError& e) {
      job.frame.error = e.what();
    }
    return job;
  }

  Source& source_;
  const PosePlan& plan_;
  std::size_t size_, place_ = 0;
  long left_;  // frames to read; negative without a limit
  Group failed_;
};

/// COCO's results of an image, each with a comma before it.
std::string coco(const Job& job, const std::vector<Person>& persons) {
  std::string text;
  char number[64];
  const auto add = [&](const char* format, double value) {
    std::snprintf(number, sizeof number, format, value);
    text += number;
  };
  for (const Person& person : persons) {
    text += ", {\"image_id\": " + std::to_string(job.about.image_id) + ", \"file_name\": " +
            json_text(job.file_name) + ", \"category_id\": " + std::to_string(job.about.category) +
            ", \"keypoints\": [";
    for (std::size_t k = 0; k < person.keypoints.size(); ++k) {
      const auto& [place, score] = person.keypoints[k];
      add(k == 0 ? "%.3f" : ", %.3f", place.x);
      add(", %.3f", place.y);
      add(", %.5f", score);
    }
    const auto& [left, top, right, bottom] = person.box.corners;
    add("], \"score\": %.5f", person.score());
    add(", \"bbox\": [%.3f", left);
    add(", %.3f", top);
    add(", %.3f", right - left);
    add(", %.3f]}", bottom - top);
  }
  return text;
}

/// Writes pictures with skeletons, or for a video one of all of them.
class OverlayWriter {
 public:
  OverlayWriter(const Options& options, const Pose& pose, double fps) : options_(options), pose_(pose), fps_(fps) {}

  /// Write the overlays of a group. Throws DiskFull if nothing more can be written.
  Outcome write(Group& group, const std::vector<PoseResult>& results) {
    Outcome outcome;
    for (std::size_t i = 0; i < results.size(); ++i) {
      Frame& frame = group.jobs[i].frame;
      try {
        if (options_.overlays) write(frame, results[i].persons);
        ++outcome.written;
      } catch (const DiskFull&) {
        throw;
      } catch (const std::exception& e) {
        outcome.failures.push_back({frame.name, reason_of(e)});
      }
    }
    return outcome;
  }

  /// Finish the video, if there is one.
  void finish() {
    if (video_) video_->keep();
  }

 private:
  void write(Frame& frame, const std::vector<Person>& persons) {
    for (const Person& person : persons) draw(frame.image, person.keypoints, pose_.links, options_.keypoint_score);
    const fs::path folder = fs::path(options_.save_dir) / "overlays", name = frame.name;
    if (fps_ == 0) {
      const std::string path = (folder / (frame.name + ".jpg")).string();
      write_file(path, encode_image(path, frame.image));
      return;
    }
    if (!video_) video_.emplace((folder / (name.parent_path().string() + ".mp4")).string(), fps_, frame.image.size());
    video_->write(frame.image);
  }

  const Options& options_;
  const Pose& pose_;
  double fps_;
  std::optional<VideoFile> video_;
};

std::vector<PoseResult> predict(PosePredictor& predictor, Group& group, int batch_size) {
  if (!group.error.empty()) return {};
  std::vector<cv::Mat> images;
  std::vector<std::vector<ScoredBox>> boxes;
  for (const Job& job : group.jobs) {
    images.push_back(job.frame.image);
    boxes.push_back(job.boxes);
  }
  try {
    return predictor.predict(images, boxes, batch_size);
  } catch (const InputError& e) {
    group.error = e.what();
  } catch (const std::exception& e) {
    group.error = "its persons cannot be found (" + quote(first_line(e.what())) + "); shrink it, or lower --batch_size";
  }
  return {};
}

}  // namespace

PosePlan plan_poses(const Options& options, const Source& source) {
  PosePlan plan{source.relative(), {}};
  if (options.boxes.empty()) {
    if (plan.names) plan.images = whole_images(*plan.names);
    return plan;
  }
  if (!plan.names)
    throw InputError("expected images with --boxes, got the video " + quoted(options.input) + "; leave --boxes out");
  auto [images, line] = match_boxes(options.boxes, *plan.names, options.box_score, options.category);
  std::printf("%s\n", line.c_str());
  plan.images = std::move(images);
  return plan;
}

int estimate_poses(PosePredictor& predictor, const Options& options, Source& source, const PosePlan& plan) {
  const Deferral deferral;
  Reader reader(source, plan, options.batch_size, options.max_frames);
  OverlayWriter writer(options, *predictor.contract().pose, source.fps());
  Tally tally;
  std::string text;
  const auto start = std::chrono::steady_clock::now();
  const auto read_ahead = [&] { return std::async(std::launch::async, [&] { return reader.next(); }); };
  std::future<Group> ahead = read_ahead();
  std::future<Outcome> writing;
  for (Group group = ahead.get(); !group.jobs.empty() && deferral.status() == 0; group = ahead.get()) {
    ahead = read_ahead();
    std::vector<PoseResult> results = predict(predictor, group, options.batch_size);
    if (!group.error.empty()) {
      for (const Job& job : group.jobs) tally.skip({{job.frame.name, group.error}});
      continue;
    }
    for (std::size_t i = 0; i < results.size(); ++i) {
      tally.add(results[i].timings, results.size());
      text += coco(group.jobs[i], results[i].persons);
    }
    if (writing.valid()) tally.add(writing.get());
    writing = std::async(std::launch::async, [&, group = std::move(group), results = std::move(results)]() mutable {
      return writer.write(group, results);
    });
  }
  if (writing.valid()) tally.add(writing.get());
  writer.finish();
  const int stopped = deferral.status();
  if (stopped != 0) std::fprintf(stderr, "stopped\n");
  text = "[" + text.substr(text.empty() ? 0 : 2) + "]";
  write_file((fs::path(options.save_dir) / kResults).string(), {text.begin(), text.end()});
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  const int status = tally.finish(options.save_dir, seconds.count(), source.not_taken());
  return stopped != 0 ? stopped : status;
}

}  // namespace rtseg
