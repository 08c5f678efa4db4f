/// What the program was told.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "worldmodel/predictor.hpp"

namespace worldmodel {

extern const char *const USAGE;

struct Arguments {
  std::filesystem::path artifact, observed, future;
  std::optional<std::int64_t> steps;
  std::int64_t chunks = 1;
  std::string feed = "frames";
  Options options;
  bool self_test = false;

  /// Three paths and then key=value; `InputError` for anything else.
  static Arguments from(const std::vector<std::string> &words);

  Feed fed() const { return feed == "latents" ? Feed::latents : Feed::frames; }
};

} // namespace worldmodel
