// How Catch2 shows a Result in a failed check. Force-included in every unit test
// (tests/CMakeLists.txt): Boost's own stream operator would need one for every value type.
#pragma once

#include <catch2/catch_test_macros.hpp>
#include <catch2/catch_tostring.hpp>

#include "base/result.h"

template <class T>
struct Catch::StringMaker<shufflefs::Result<T>> {
  static std::string convert(const shufflefs::Result<T>& result) {
    return result ? std::string("a value") : "error: " + result.error().message;
  }
};
