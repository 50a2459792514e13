// What Ctrl-C and SIGTERM do.
#pragma once

namespace rtseg {

/// From now on both signals end the program at once, with the status that a shell gives it: 130 or 143. A signal that
/// is ignored stays so.
void end_at_signals();

/// While one exists, the first signal only sets a flag, so that what has begun can be finished; a second ends the
/// program.
class Deferral {
 public:
  Deferral();
  ~Deferral();
  Deferral(const Deferral&) = delete;
  Deferral& operator=(const Deferral&) = delete;

  /// The status for the signal that came since then; 0 if none came.
  int status() const;
};

}  // namespace rtseg
