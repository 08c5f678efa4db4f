/// Numbers in C order with their shape.
///
/// Shape legend: B clips (cameras), F frames, H height, W width, 3 colours; c f h w latents.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace worldmodel {

using Shape = std::vector<std::int64_t>;

template <class Value> struct Tensor {
  Shape shape;
  std::vector<Value> values;
};

using Video = Tensor<std::uint8_t>; ///< RGB [B, F, H, W, 3]
using Latents = Tensor<float>;      ///< normalised latents [B, c, f, h, w]

/// How many values a tensor of this shape has; `InputError` where that is no number of a machine.
std::size_t elements(const Shape &shape);

/// "[2, 9, 16, 24, 3]"
std::string shown(const Shape &shape);

/// Videos of the same cameras and size, one after another; `InputError` where they differ.
Video joined(const std::vector<Video> &videos);

/// Latent frame `place` of every camera: [B, c, 1, h, w].
Latents latent_frame(const Latents &latents, std::int64_t place);

} // namespace worldmodel
