// What came of the images of a run: counts, reasons and times.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "predictor.hpp"

namespace rtseg {

constexpr int kAllWritten = 0, kSomeFailed = 1, kCannotStart = 2;  ///< exit statuses

/// An image without a result, and the reason.
struct Failure {
  std::string name, reason;
};

/// What came of writing a group of images.
struct Outcome {
  std::size_t written = 0;
  std::vector<Failure> failures;
};

/// What came of the images so far.
class Tally {
 public:
  void skip(const std::vector<Failure>& failures);
  /// The times of a batch of that many images.
  void add(const Timings& timings, std::size_t count);
  void add(const Outcome& outcome);

  /// Print the counts, the files that are no images, what is to be said of a video and the times, and return the status.
  int finish(const std::string& folder, double seconds, const std::string& not_taken,
             const std::string& of_video = "") const;

 private:
  std::vector<Timings> timings_;
  std::size_t written_ = 0, failed_ = 0;
};

}  // namespace rtseg
