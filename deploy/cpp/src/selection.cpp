#include "selection.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <utility>

#include "configuration.hpp"
#include "error.hpp"
#include "images.hpp"
#include "processor.hpp"

namespace rtseg {
namespace {

constexpr int kTurns = 5;

template <typename Predictor>
double milliseconds_for(Predictor& predictor, const cv::Mat& image) {
  const auto start = std::chrono::steady_clock::now();
  predictor.predict({image});
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

/// Whether the choice is among this precision too.
bool is_asked_for(const std::string& offered, const std::string& precision, const Device& device) {
  if (precision != kAuto) return offered == precision;
  const std::vector<std::string>& those = device.auto_precisions;
  return std::find(those.begin(), those.end(), offered) != those.end();
}

}  // namespace

std::string Trial::text() const {
  char time_taken[40] = "";
  if (milliseconds) std::snprintf(time_taken, sizeof time_taken, "%.1f ms", *milliseconds);
  return name + ": " + (milliseconds ? time_taken : left_out ? "left out" : "dropped") + " (" + note + ")";
}

template <typename Predictor>
std::unique_ptr<Predictor> fastest(const Contract& contract, const Configuration& wanted, const cv::Mat& image,
                                   std::vector<Trial>& trials) {
  const std::string& device = wanted.device;
  const std::string& precision = wanted.precision;
  const std::string obstacle = device == "cpu" && precision != kAuto ? processor_obstacle(precision) : "";
  if (!obstacle.empty()) throw InputError(obstacle);
  struct Passed {
    std::size_t trial;  // its index
    bool asked_for;
    std::unique_ptr<Predictor> predictor;
  };
  std::vector<Passed> passed;
  for (const Device& known : devices()) {
    if (known.name != device) continue;
    for (const auto& [backend, precisions] : known.backends) {
      for (const std::string& chosen : precisions) {
        const bool asked_for = is_asked_for(chosen, precision, known);
        if (!asked_for && !(precision == kAuto && chosen == kInt8 && contract.int8)) continue;
        const Configuration configuration{device, backend, chosen, wanted.threads, "", wanted.strict};
        trials.push_back({configuration.text(), std::nullopt, "", false});
        try {
          auto predictor = std::make_unique<Predictor>(contract, configuration);
          const Verification verification = predictor->verify();
          trials.back().note = verification.text();
          if (verification.passed) passed.push_back({trials.size() - 1, asked_for, std::move(predictor)});
        } catch (const NotInstalled& e) {
          trials.back().note = e.what();
          trials.back().left_out = true;
        } catch (const std::exception& e) {  // however a backend fails, the others may work
          trials.back().note = e.what();
        }
      }
    }
  }
  if (std::none_of(passed.begin(), passed.end(), [](const Passed& one) { return one.asked_for; })) {
    std::string tried;
    for (const Trial& trial : trials) tried += (tried.empty() ? "" : "; ") + trial.name + ": " + trial.note;
    throw InputError("no configuration reproduces the golden output of " + contract.folder + ": " +
                     (tried.empty() ? "no " + device + " backend computes in " + precision : tried));
  }
  const cv::Mat pixels = image.empty() ? read_image(contract.path(contract.golden.image)) : image;
  // The least of several turns, alternating, so that other load does not decide. The first turn is slower.
  for (int turn = 0; turn <= kTurns; ++turn)
    for (Passed& one : passed) {
      const double time_taken = milliseconds_for(*one.predictor, pixels);
      std::optional<double>& least = trials[one.trial].milliseconds;
      if (turn > 0) least = std::min(least.value_or(time_taken), time_taken);
    }
  for (const Passed& one : passed)
    if (!one.asked_for) trials[one.trial].note += "; chosen only with --precision " + std::string(kInt8);
  const auto best = std::min_element(passed.begin(), passed.end(), [&](const Passed& a, const Passed& b) {
    if (a.asked_for != b.asked_for) return a.asked_for;
    return *trials[a.trial].milliseconds < *trials[b.trial].milliseconds;
  });
  return std::move(best->predictor);
}

template std::unique_ptr<Predictor> fastest(const Contract&, const Configuration&, const cv::Mat&, std::vector<Trial>&);
template std::unique_ptr<PosePredictor> fastest(const Contract&, const Configuration&, const cv::Mat&,
                                                std::vector<Trial>&);

}  // namespace rtseg
