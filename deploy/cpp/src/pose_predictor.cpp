#include "pose_predictor.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include "error.hpp"
#include "images.hpp"
#include "npy.hpp"

namespace rtseg {
namespace {

constexpr double kCounted = 0.2;  // keypoints with a higher score count for a person's score

}  // namespace

/// A person as the network sees it.
struct PosePredictor::Crop {
  cv::Mat pixels;  // at the size of the network's input
  Region region;   // of the image
  ScoredBox box;

  Crop(const cv::Mat& image, const ScoredBox& from, const Pose& pose)
      : region(region_of(clipped(from.corners, image.size()), pose)), box(from) {
    pixels = crop(image, region, pose);
  }
};

double Person::score() const {
  double sum = 0;
  int count = 0;
  for (const auto& [place, score] : keypoints) {
    if (!(score > kCounted)) continue;
    sum += score;
    ++count;
  }
  return count == 0 ? 0 : box.score * (sum / count);
}

PosePredictor::PosePredictor(Contract contract, const Configuration& configuration)
    : contract_(bounded(std::move(contract), configuration)),
      configuration_(configuration),
      preprocess_(contract_),
      network_(load_network(contract_, configuration)) {}

std::vector<PoseResult> PosePredictor::predict(const std::vector<cv::Mat>& images,
                                               const std::vector<std::vector<ScoredBox>>& boxes, int batch_size) {
  auto start = Clock::now();
  Timings timings;
  std::vector<std::pair<std::size_t, const ScoredBox*>> everyone;
  for (std::size_t i = 0; i < images.size(); ++i) {
    check_boxes(boxes[i], images[i].size());
    for (const ScoredBox& box : boxes[i]) everyone.emplace_back(i, &box);
  }
  const int most = contract_.input.shape.max[0];
  const auto size = static_cast<std::size_t>(std::max(1, most < 0 ? batch_size : std::min(batch_size, most)));
  std::vector<PoseResult> results(images.size());
  for (std::size_t first = 0; first < everyone.size(); first += size) {
    const std::size_t end = std::min(first + size, everyone.size());
    auto cutting = Clock::now();
    std::vector<Crop> crops;
    for (std::size_t k = first; k < end; ++k)
      crops.emplace_back(images[everyone[k].first], *everyone[k].second, *contract_.pose);
    timings.pre += lap(cutting);
    std::vector<Person> persons = estimate(crops, timings);
    for (std::size_t k = first; k < end; ++k)
      results[everyone[k].first].persons.push_back(std::move(persons[k - first]));
  }
  timings.post = lap(start) - timings.pre - timings.run;
  for (PoseResult& result : results) result.timings = timings;
  return results;
}

std::vector<PoseResult> PosePredictor::predict(const std::vector<cv::Mat>& images) {
  std::vector<std::vector<ScoredBox>> boxes;
  for (const cv::Mat& image : images) boxes.push_back({whole_image(image.size())});
  return predict(images, boxes, 1);
}

Verification PosePredictor::verify() {
  const Golden& golden = contract_.golden;
  const Tolerance& tolerance = golden.tolerance_of(configuration_.precision);
  const cv::Mat image = read_image(contract_.path(golden.image));
  const ScoredBox box{golden.person->box, 1};
  const std::vector<Keypoint> found = predict({image}, {{box}}, 1)[0].persons[0].keypoints;

  Timings timings;
  const Heatmaps heatmaps = run({Crop(image, box, *contract_.pose).pixels}, timings);
  Verification verification;
  verification.unit = "keypoints";
  verification.rms_error =
      relative_error(heatmaps.values.data(), {heatmaps.keypoints, heatmaps.height, heatmaps.width},
                     read_npy(contract_.path(*golden.output)), golden.step);
  int agreeing = 0;
  for (std::size_t k = 0; k < found.size(); ++k) {
    const auto& [x, y, score] = golden.person->keypoints[k];
    const bool lost = found[k].score <= 0, unknown = score <= 0;
    const bool near = std::hypot(found[k].place.x - x, found[k].place.y - y) <= *tolerance.pixels;
    if (lost || unknown ? lost && unknown : near) ++agreeing;
  }
  verification.agreement = agreeing / static_cast<double>(found.size());
  verification.passed =
      verification.agreement >= tolerance.agreement && *verification.rms_error <= tolerance.rms_error;
  return verification;
}

/// The network's heatmaps of crops, without the copies that fill a fixed batch up.
Heatmaps PosePredictor::run(const std::vector<cv::Mat>& crops, Timings& timings) {
  auto start = Clock::now();
  std::vector<cv::Mat> filled = crops;
  filled.resize(std::max(crops.size(), static_cast<std::size_t>(contract_.input.shape.min[0])), crops.back());
  const Batch batch = preprocess_(filled);
  timings.pre += lap(start);
  NetworkOutput output = network_->run(batch);
  timings.run += lap(start);

  const Pose& pose = *contract_.pose;
  Heatmaps heatmaps{static_cast<int>(crops.size()), static_cast<int>(pose.keypoints.size()), pose.height / kStride,
                    pose.width / kStride, {}};
  std::vector<int> expected{static_cast<int>(filled.size()), heatmaps.keypoints, heatmaps.height, heatmaps.width};
  auto* values = std::get_if<std::vector<float>>(&output.values);
  if (values == nullptr || output.shape != expected) {
    // As many as were asked for, as Python has it.
    expected[0] = heatmaps.count;
    if (!output.shape.empty()) output.shape[0] = std::min(output.shape[0], heatmaps.count);
    throw InputError("expected heatmaps of " + shape_text(expected) + " of the network, got " +
                     shape_text(output.shape) + "; export the model again");
  }
  values->resize(volume({heatmaps.count, heatmaps.keypoints, heatmaps.height, heatmaps.width}));
  if (!std::all_of(values->begin(), values->end(), [](float value) { return std::isfinite(value); }))
    throw InputError("expected finite heatmaps of the network, got others; choose another --precision");
  heatmaps.values = std::move(*values);
  return heatmaps;
}

std::vector<Person> PosePredictor::estimate(const std::vector<Crop>& crops, Timings& timings) {
  const Pose& pose = *contract_.pose;
  std::vector<cv::Mat> pixels, mirrored;
  for (const Crop& crop : crops) pixels.push_back(crop.pixels);
  Heatmaps heatmaps = run(pixels, timings);
  if (pose.flip_test) {
    for (const Crop& crop : crops) cv::flip(crop.pixels, mirrored.emplace_back(), 1);
    average_flipped(heatmaps, run(mirrored, timings), pose);
  }
  std::vector<Person> persons;
  for (std::size_t i = 0; i < crops.size(); ++i) {
    Person person{crops[i].box, decode(heatmaps, static_cast<int>(i), pose.decode)};
    for (Keypoint& keypoint : person.keypoints) keypoint.place = to_image(keypoint.place, crops[i].region, pose);
    persons.push_back(std::move(person));
  }
  return persons;
}

ScoredBox whole_image(cv::Size size) {
  return {{0, 0, static_cast<double>(size.width), static_cast<double>(size.height)}, 1};
}

void check_boxes(const std::vector<ScoredBox>& boxes, cv::Size size) {
  for (const ScoredBox& box : boxes) {
    const Corners inside = clipped(box.corners, size);
    const bool finite =
        std::all_of(box.corners.begin(), box.corners.end(), [](double value) { return std::isfinite(value); });
    if (finite && inside[2] > inside[0] && inside[3] > inside[1]) continue;
    char text[120];
    std::snprintf(text, sizeof text, "%g, %g, %g, %g", box.corners[0], box.corners[1], box.corners[2], box.corners[3]);
    throw InputError("expected a box with an area inside the image of " + std::to_string(size.width) + " x " +
                     std::to_string(size.height) + " pixels, got " + text +
                     " (left, top, right, bottom); correct it");
  }
}

}  // namespace rtseg
