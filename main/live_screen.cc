#include "main/live_screen.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <string_view>

namespace shufflefs {
namespace {

void put(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(STDOUT_FILENO, text.data(), text.size());
    if (n <= 0) return;  // the terminal is gone; the next read of a key says so
    text.remove_prefix(static_cast<std::size_t>(n));
  }
}

}  // namespace

LiveScreen::LiveScreen() {
  sigset_t wanted;
  ::sigemptyset(&wanted);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGWINCH}) ::sigaddset(&wanted, signal);
  ::sigprocmask(SIG_BLOCK, &wanted, &mask_before_);
  signals_ = ::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
  ::tcgetattr(STDIN_FILENO, &before_);
  termios raw = before_;
  raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
  ::tcsetattr(STDIN_FILENO, TCSANOW, &raw);
  put("\x1b[?1049h\x1b[?25l\x1b[2J");  // the other screen, no cursor
}

LiveScreen::~LiveScreen() {
  put("\x1b[?25h\x1b[?1049l");
  ::tcsetattr(STDIN_FILENO, TCSANOW, &before_);
  ::close(signals_);
  ::sigprocmask(SIG_SETMASK, &mask_before_, nullptr);
}

LiveScreen::Size LiveScreen::size() const {
  winsize window{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) != 0 || window.ws_row == 0) return {};
  return {window.ws_row, window.ws_col};
}

void LiveScreen::draw(const std::string& text) {
  std::string out = "\x1b[H";
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    if (at > 0) out += "\r\n";
    out.append(text, at, end - at);
    out += "\x1b[K";  // the rest of the old line
    at = end + 1;
  }
  put(out + "\x1b[J");
}

char LiveScreen::wait_for_key(std::chrono::milliseconds patience) {
  std::array<pollfd, 2> wanted{pollfd{STDIN_FILENO, POLLIN, 0}, pollfd{signals_, POLLIN, 0}};
  if (::poll(wanted.data(), wanted.size(), static_cast<int>(patience.count())) <= 0) return 0;
  if ((wanted[1].revents & POLLIN) != 0) {
    signalfd_siginfo info{};
    const ssize_t got = ::read(signals_, &info, sizeof info);
    return got == sizeof info && info.ssi_signo != SIGWINCH ? 'q' : ' ';
  }
  char key = 'q';
  return ::read(STDIN_FILENO, &key, 1) == 1 ? key : 'q';
}

}  // namespace shufflefs
