#include "predictor.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <opencv2/imgcodecs.hpp>
#include <utility>

#include "error.hpp"
#include "images.hpp"
#include "npy.hpp"
#include "postprocess.hpp"

namespace rtseg {
namespace {

/// Throws InputError unless the output has the shape and the type that the contract states.
void check_output(const NetworkOutput& output, const Contract& contract, const Batch& batch) {
  const bool ids = contract.output.op == OutputOp::kArgmax;
  const std::vector<int>& shape = output.shape;
  const bool right = shape.size() == (ids ? 3 : 4) && shape[0] == batch.shape[0] &&
                     std::all_of(shape.begin(), shape.end(), [](int n) { return n > 0; }) &&
                     ids != std::holds_alternative<std::vector<float>>(output.values) &&
                     (ids || shape[1] == contract.output.num_classes);
  if (!right)
    throw InputError("expected " + std::to_string(contract.output.num_classes) + " classes of the network, got " +
                     shape_text(shape) + " of " + (ids ? "class ids" : "logits") + "; export the model again");
}

/// Copy class ids, (h, w) from `from` on, to `ids`. Throws InputError if one is not that of a class.
template <typename Id, typename Value>
void copy_ids(const Value* from, int classes, cv::Mat& ids) {
  const auto [least, most] = std::minmax_element(from, from + ids.total());
  if (!(*least >= 0 && *most < static_cast<Value>(classes)))
    throw InputError("expected class ids from 0 to " + std::to_string(classes - 1) + " of the network, got others; " +
                     "export the model again");
  std::transform(from, from + ids.total(), ids.ptr<Id>(), [](Value value) { return static_cast<Id>(value); });
}

/// The planes of one image in an output of logits or probabilities.
Planes planes_of(const NetworkOutput& output, int index) {
  const cv::Size size(output.shape[3], output.shape[2]);
  const std::size_t volume = static_cast<std::size_t>(output.shape[1]) * size.area();
  const auto& values = std::get<std::vector<float>>(output.values);
  return {&values[static_cast<std::size_t>(index) * volume], output.shape[1], size};
}

}  // namespace

double lap(Clock::time_point& start) {
  const auto now = Clock::now();
  const double taken = std::chrono::duration<double, std::milli>(now - start).count();
  start = now;
  return taken;
}

double relative_error(const float* found, const std::vector<int>& shape, const Array& golden, int step) {
  const auto kept = [&](int n) { return (n + step - 1) / step; };
  const std::vector<int> expected{shape[0], kept(shape[1]), kept(shape[2])};
  if (golden.shape != expected)
    throw InputError("the golden output has shape " + shape_text(golden.shape) + ", the network gives " +
                     shape_text(expected) + "; export the model again");
  double error = 0, total = 0;
  std::size_t i = 0;
  for (int k = 0; k < shape[0]; ++k)
    for (int y = 0; y < shape[1]; y += step)
      for (int x = 0; x < shape[2]; x += step, ++i) {
        const double value = found[(static_cast<std::size_t>(k) * shape[1] + y) * shape[2] + x];
        error += (value - golden.values[i]) * (value - golden.values[i]);
        total += static_cast<double>(golden.values[i]) * golden.values[i];
      }
  return std::sqrt(error / total);
}

Contract bounded(Contract contract, const Configuration& configuration) {
  const bool other_provider = !configuration.provider.empty() && configuration.provider != "cuda";
  if (configuration.backend == "tensorrt" || other_provider) contract.input.shape = contract.tensorrt.shape;
  return contract;
}

std::string Verification::text() const {
  char error[40] = "", share[20];
  if (rms_error) std::snprintf(error, sizeof error, "relative error %.1e, ", *rms_error);
  std::snprintf(share, sizeof share, "%.2f%%", 100 * agreement);
  return error + std::string(share) + " of the " + unit + " agree" + (cost ? ", " + *cost : "");
}

Predictor::Predictor(Contract contract, const Configuration& configuration)
    : contract_(bounded(std::move(contract), configuration)),
      configuration_(configuration),
      preprocess_(contract_),
      network_(load_network(contract_, configuration)) {}

void Predictor::bring_to_size(const Fit& fit, int batch) {
  fit_ = fit;
  tiles_at_once_ = batch;
  if (fit.tile) check_tile(preprocess_, *fit.tile, fit.overlap);  // the engine may take fewer sizes than the contract
  if (!fit.resize) return;
  Resize resize;
  resize.height = fit.resize->height;
  resize.width = fit.resize->width;
  contract_.preprocess.resize = resize;
  contract_.preprocess.pad.reset();
  preprocess_ = Preprocessor(contract_);
}

void Predictor::follow_video(int steady, int motion) {
  if (steady > 1) check_steady(contract_, fit_.tile.has_value());
  clip_.emplace(steady, motion);
}

std::vector<Result> Predictor::predict(const std::vector<cv::Mat>& images, bool with_confidence) {
  if (!clip_) return segment(images, with_confidence, {});
  std::vector<cv::Mat> still;
  for (const cv::Mat& image : images) still.push_back(clip_->stillness.next(image));
  std::vector<Result> results = segment(images, with_confidence, still);
  for (std::size_t i = 0; i < results.size(); ++i) clip_->flicker.add(results[i].mask, still[i]);
  return results;
}

/// Replace the outputs for the frames of a video by their mean over time.
void Predictor::steady(NetworkOutput& output, const std::vector<cv::Mat>& images, const std::vector<cv::Mat>& still) {
  auto& values = std::get<std::vector<float>>(output.values);
  const int classes = output.shape[1];
  const cv::Size size(output.shape[3], output.shape[2]);
  const std::size_t volume = static_cast<std::size_t>(classes) * size.area();
  for (std::size_t i = 0; i < images.size(); ++i)
    clip_->mean.apply(&values[i * volume], classes, size, still[i], geometry(contract_, images[i].size()));
}

/// `still` says of each frame of a video where it stands still; it is empty for images.
std::vector<Result> Predictor::segment(const std::vector<cv::Mat>& images, bool with_confidence,
                                       const std::vector<cv::Mat>& still) {
  if (fit_.tile && !fits(images)) {
    std::vector<Result> results;
    for (const cv::Mat& image : images) results.push_back(predict_in_tiles(image, with_confidence));
    return results;
  }
  Timings timings;
  NetworkOutput output = run(images, timings);
  auto start = Clock::now();
  if (!still.empty() && clip_->steady) steady(output, images, still);
  std::vector<Result> results;
  for (int i = 0; i < static_cast<int>(images.size()); ++i) {
    results.push_back({to_mask(output, i, images[i].size()), {}, {}});
    if (with_confidence) results.back().confidence = confidence_of(output, i, images[i].size());
  }
  timings.post = lap(start);
  for (Result& result : results) result.timings = timings;
  return results;
}

/// Whether the model takes images as they are, and none of them is larger than a tile.
bool Predictor::fits(const std::vector<cv::Mat>& images) const {
  std::vector<cv::Size> sizes;
  for (const cv::Mat& image : images) sizes.push_back(image.size());
  const auto larger = [&](cv::Size size) { return size.width > fit_.tile->width || size.height > fit_.tile->height; };
  if (std::any_of(sizes.begin(), sizes.end(), larger)) return false;
  try {
    preprocess_.input_shape(sizes);
  } catch (const InputError&) {
    return false;
  }
  return true;
}

Result Predictor::predict_in_tiles(const cv::Mat& image, bool with_confidence) {
  const int classes = contract_.output.num_classes;
  Result result;
  result.mask.create(image.size(), id_type(classes));
  if (with_confidence && contract_.output.op != OutputOp::kArgmax) result.confidence.create(image.size(), CV_32F);
  auto start = Clock::now();
  const auto run_tiles = [&](const std::vector<cv::Mat>& tiles) -> PlanesOf {
    Timings timings;
    auto output = std::make_shared<NetworkOutput>(run(tiles, timings));
    result.timings.pre += timings.pre;
    result.timings.run += timings.run;
    return [this, output, size = tiles[0].size()](int index) { return planes(*output, index, size); };
  };
  const auto use = [&](const cv::Rect& part, const std::vector<cv::Mat>& planes) {
    const auto plane = [&](int k) { return planes[k]; };
    largest(classes, plane).copyTo(result.mask(part));
    if (result.confidence.empty()) return;
    const bool probabilities = contract_.output.op == OutputOp::kSoftmax;
    confidence(classes, plane, probabilities).copyTo(result.confidence(part));
  };
  blend_tiles(image, fit_, classes, tiles_at_once_, least_tile(contract_), run_tiles, use);
  result.timings.post = lap(start) - result.timings.pre - result.timings.run;
  return result;
}

Verification Predictor::verify() {
  if (configuration_.precision == kInt8 && contract_.int8) return verify_int8(*contract_.int8);
  const Golden& golden = contract_.golden;
  const cv::Mat image = read_image(contract_.path(golden.image));
  const Tolerance& tolerance = golden.tolerance_of(configuration_.precision);

  Timings timings;
  const NetworkOutput output = run({image}, timings);
  Verification verification;
  verification.agreement = agreement(output, image.size(), *golden.mask);
  if (golden.output) {
    const std::vector<int> shape(output.shape.begin() + 1, output.shape.end());
    verification.rms_error = relative_error(std::get<std::vector<float>>(output.values).data(), shape,
                                            read_npy(contract_.path(*golden.output)), golden.step);
  }
  // A comparison with NaN is false: an output that overflowed does not pass.
  verification.passed = verification.agreement >= tolerance.agreement &&
                        (!verification.rms_error || *verification.rms_error <= tolerance.rms_error);
  return verification;
}

Verification Predictor::verify_int8(const Int8& int8) {
  Verification verification;
  verification.agreement = 1;
  for (const GoldenFrame& frame : int8.frames) {
    const cv::Mat image = read_image(contract_.path(frame.image));
    Timings timings;
    const NetworkOutput output = run({image}, timings);
    verification.agreement = std::min(verification.agreement, agreement(output, image.size(), frame.mask));
  }
  verification.passed = verification.agreement >= int8.result(configuration_.backend).agreement;
  verification.unit = "pixels in the worst of " + std::to_string(int8.frames.size()) + " frames";
  verification.cost = int8.cost(configuration_.backend);
  return verification;
}

/// The share of pixels whose class ids agree with the image file `mask` of the folder, of the first image of the output.
double Predictor::agreement(const NetworkOutput& output, cv::Size image, const std::string& mask) const {
  const cv::Mat found = to_mask(output, 0, image);
  const cv::Mat expected = read_image(contract_.path(mask), cv::IMREAD_UNCHANGED);
  if (expected.size() != found.size() || expected.type() != found.type())
    throw InputError("the golden mask has another size or type than the network's; export the model again");
  return cv::countNonZero(found == expected) / static_cast<double>(found.total());
}

NetworkOutput Predictor::run(const std::vector<cv::Mat>& images, Timings& timings) {
  auto start = Clock::now();
  std::vector<cv::Mat> filled = images;  // a graph with a fixed batch is filled up with the last image
  const auto batch_size = static_cast<std::size_t>(contract_.input.shape.min[0]);
  filled.resize(std::max(images.size(), batch_size), images.back());
  const Batch batch = preprocess_(filled);
  timings.pre = lap(start);
  NetworkOutput output = network_->run(batch);
  timings.run = lap(start);
  check_output(output, contract_, batch);
  return output;
}

/// The network's output for one image -> class ids at the image's size. Logits and probabilities are resized before the
/// argmax, as in PaddleSeg's predict; class ids are resized by nearest-neighbour.
cv::Mat Predictor::to_mask(const NetworkOutput& output, int index, cv::Size image) const {
  const Geometry sizes = geometry(contract_, image);
  const cv::Size size(output.shape.back(), output.shape[output.shape.size() - 2]);
  if (contract_.output.op == OutputOp::kArgmax) {
    if (size != sizes.network)
      throw InputError("expected class ids for " + shape_text({sizes.network.height, sizes.network.width}) +
                       " pixels of the network, got " + shape_text(output.shape) + "; export the model again");
    const int classes = contract_.output.num_classes;
    cv::Mat ids(size, classes <= 256 ? CV_8U : CV_16U);
    std::visit(
        [&](const auto& values) {
          const auto* from = &values[static_cast<std::size_t>(index) * size.area()];
          if (ids.depth() == CV_8U) {
            copy_ids<std::uint8_t>(from, classes, ids);
          } else {
            copy_ids<std::uint16_t>(from, classes, ids);
          }
        },
        output.values);
    return restore_ids(ids, sizes);
  }
  return argmax(planes_of(output, index), sizes);
}

/// The network's output for one image -> logits or probabilities of each class at the image's size, which may be changed;
/// of class ids, 1 for that class and 0 else.
std::vector<cv::Mat> Predictor::planes(NetworkOutput& output, int index, cv::Size image) const {
  std::vector<cv::Mat> planes;
  if (contract_.output.op == OutputOp::kArgmax) {
    const cv::Mat ids = to_mask(output, index, image);
    for (int k = 0; k < contract_.output.num_classes; ++k) {
      cv::Mat plane;
      cv::Mat(ids == k).convertTo(plane, CV_32F, 1.0 / 255);
      planes.push_back(plane);
    }
    return planes;
  }
  const Geometry sizes = geometry(contract_, image);
  for (int k = 0; k < contract_.output.num_classes; ++k) {
    Scratch scratch;  // of its own, as all planes are kept
    planes.push_back(restore(planes_of(output, index), k, sizes, scratch));
  }
  return planes;
}

cv::Mat Predictor::confidence_of(const NetworkOutput& output, int index, cv::Size image) const {
  if (contract_.output.op == OutputOp::kArgmax) return {};
  return confidence(planes_of(output, index), geometry(contract_, image), contract_.output.op == OutputOp::kSoftmax);
}

}  // namespace rtseg
