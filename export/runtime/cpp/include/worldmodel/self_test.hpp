/// What an artifact is tested with on every machine: frames that follow from a seed.
///
/// The frames are drawn by std::mt19937, which is numpy's frozen `RandomState`. They show a coarse
/// random texture that moves sideways by a pixel a frame.
#pragma once

#include <string>
#include <vector>

#include "worldmodel/manifest.hpp"
#include "worldmodel/tensor.hpp"

namespace worldmodel {

/// A prediction beside the one that the artifact notes.
struct SelfTestResult {
  bool exact;        ///< every pixel is equal
  double difference; ///< largest difference of a block's mean, in levels of 255
  bool passed;       ///< `difference` is within the tolerance; another machine rounds differently
};

/// [B, F, H, W, 3]: frame k is the texture of 8 x 8 cells seen from k pixels further to the right.
Video observed_frames(std::int64_t seed, const Shape &shape);

/// Means of 4 x 4 blocks of each frame, [B, F, 4, 4, 3] in C order.
std::vector<double> thumbnail(const Video &video);

/// The prediction of this machine beside what was noted.
SelfTestResult compare(const Video &predicted, const SelfTest &noted);

} // namespace worldmodel
