// A function that is called at most once and may own what cannot be copied.
#pragma once

#include <memory>
#include <utility>

namespace shufflefs::sim {

class Action {
 public:
  Action() = default;
  template <class F>
  explicit Action(F function) : held_(std::make_unique<Held<F>>(std::move(function))) {}

  explicit operator bool() const { return held_ != nullptr; }
  // Empties it first: what the function owns may lead back here.
  void run() { std::exchange(held_, nullptr)->run(); }

 private:
  struct Base {
    Base() = default;
    Base(const Base&) = delete;
    Base& operator=(const Base&) = delete;
    virtual ~Base() = default;
    virtual void run() = 0;
  };
  template <class F>
  struct Held final : Base {
    explicit Held(F function_in) : function(std::move(function_in)) {}
    void run() override { std::move(function)(); }
    F function;
  };
  std::unique_ptr<Base> held_;
};

}  // namespace shufflefs::sim
