#include "worldmodel/self_test.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include <openssl/evp.h>

#include "digest.hpp"
#include "worldmodel/error.hpp"

namespace worldmodel {

namespace {

constexpr std::int64_t CELL = 8, BLOCKS = 4, COLOURS = 3;

/// Bytes of 32-bit words, the lowest first, as numpy's `RandomState(seed).bytes` gives them.
std::vector<std::uint8_t> drawn(std::uint32_t seed, std::size_t count) {
  std::mt19937 words(seed);
  std::vector<std::uint8_t> bytes;
  bytes.reserve(count + 3);
  while (bytes.size() < count) {
    const auto word = static_cast<std::uint32_t>(words());
    for (int shift = 0; shift < 32; shift += 8)
      bytes.push_back(static_cast<std::uint8_t>(word >> shift));
  }
  return bytes;
}

std::vector<std::uint8_t> from_base64(const std::string &text) {
  std::vector<std::uint8_t> bytes(text.size() / 4 * 3 + 3);
  const auto *letters = reinterpret_cast<const unsigned char *>(text.data());
  const int count = EVP_DecodeBlock(bytes.data(), letters, static_cast<int>(text.size()));
  const auto padding =
      std::count(text.end() - std::min<long>(2, static_cast<long>(text.size())), text.end(), '=');
  bytes.resize(count < 0 ? 0 : static_cast<std::size_t>(count - padding));
  return bytes;
}

} // namespace

Video observed_frames(std::int64_t seed, const Shape &shape) {
  if (seed < 0 || seed > std::numeric_limits<std::uint32_t>::max())
    throw InputError("self_test.seed " + std::to_string(seed) +
                     ": is no whole number of 32 bits; export the artifact again");
  const std::int64_t cameras = shape.at(0), frames = shape.at(1), height = shape.at(2),
                     width = shape.at(3);
  const std::int64_t rows = (height + CELL - 1) / CELL,
                     columns = (width + frames + CELL - 1) / CELL;
  const std::vector<std::uint8_t> texture =
      drawn(static_cast<std::uint32_t>(seed), elements({cameras, rows, columns, COLOURS}));
  Video video{shape, {}};
  video.values.reserve(elements(shape));
  for (std::int64_t camera = 0; camera < cameras; ++camera)
    for (std::int64_t frame = 0; frame < frames; ++frame)
      for (std::int64_t y = 0; y < height; ++y)
        for (std::int64_t x = frame; x < frame + width; ++x) {
          const std::int64_t cell = (camera * rows + y / CELL) * columns + x / CELL;
          const auto colour = texture.begin() + cell * COLOURS;
          video.values.insert(video.values.end(), colour, colour + COLOURS);
        }
  return video;
}

std::vector<double> thumbnail(const Video &video) {
  const std::int64_t pictures = video.shape.at(0) * video.shape.at(1), height = video.shape.at(2),
                     width = video.shape.at(3);
  if (height < BLOCKS || width < BLOCKS)
    throw InputError("self-test: frames of " + shown(video.shape) +
                     " have no 4 x 4 blocks; export for larger frames");
  std::vector<double> means;
  for (std::int64_t picture = 0; picture < pictures; ++picture)
    for (std::int64_t row = 0; row < BLOCKS; ++row)
      for (std::int64_t column = 0; column < BLOCKS; ++column)
        for (std::int64_t colour = 0; colour < COLOURS; ++colour) {
          const std::int64_t top = row * height / BLOCKS, bottom = (row + 1) * height / BLOCKS;
          const std::int64_t left = column * width / BLOCKS, right = (column + 1) * width / BLOCKS;
          double sum = 0; // of the columns' means, in numpy's order, so that halves round alike
          for (std::int64_t x = left; x < right; ++x) {
            std::int64_t levels = 0;
            for (std::int64_t y = top; y < bottom; ++y)
              levels += video.values[static_cast<std::size_t>(
                  ((picture * height + y) * width + x) * COLOURS + colour)];
            sum += static_cast<double>(levels) / static_cast<double>(bottom - top);
          }
          means.push_back(sum / static_cast<double>(right - left));
        }
  return means;
}

SelfTestResult compare(const Video &predicted, const SelfTest &noted) {
  const std::vector<double> ours = thumbnail(predicted);
  const std::vector<std::uint8_t> theirs = from_base64(noted.thumbnail);
  if (theirs.size() != ours.size())
    throw InputError("self_test.thumbnail: is not one of " + shown(predicted.shape) +
                     "; export the artifact again");
  double difference = 0;
  for (std::size_t place = 0; place < ours.size(); ++place)
    difference = std::max(difference, std::abs(std::nearbyint(ours[place]) - theirs[place]));
  const bool exact = sha256_of(predicted.values.data(), predicted.values.size()) == noted.sha256;
  return {exact, difference, difference <= noted.tolerance};
}

} // namespace worldmodel
