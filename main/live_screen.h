// A full-screen view in the terminal that is drawn again and again, without flicker: every line is
// written over the old one, and nothing is cleared before. The screen of before comes back at the
// end, also after Ctrl-C.
//
// One thread. 100 lines of ours (termios and a handful of escape sequences) instead of a library
// for windows: nothing here needs more.
#pragma once

#include <termios.h>

#include <chrono>
#include <csignal>
#include <cstddef>
#include <string>

namespace shufflefs {

class LiveScreen {
 public:
  // REQUIRES: the standard input and output are a terminal.
  LiveScreen();
  LiveScreen(const LiveScreen&) = delete;
  LiveScreen& operator=(const LiveScreen&) = delete;
  ~LiveScreen();

  struct Size {
    std::size_t rows = 24;
    std::size_t columns = 80;
  };
  // As it is now; the window may be resized at any time.
  [[nodiscard]] Size size() const;
  void draw(const std::string& text);
  // Waits for a key; returns it, 0 when the time is over, 'q' at a signal to end.
  [[nodiscard]] char wait_for_key(std::chrono::milliseconds patience);

 private:
  termios before_{};
  sigset_t mask_before_{};
  int signals_ = -1;
};

}  // namespace shufflefs
