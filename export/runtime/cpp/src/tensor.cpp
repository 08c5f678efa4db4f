#include "worldmodel/tensor.hpp"

#include <limits>

#include "worldmodel/error.hpp"

namespace worldmodel {

std::size_t elements(const Shape &shape) {
  std::size_t count = 1;
  for (const std::int64_t size : shape) {
    if (size < 0 || (size > 0 && count > std::numeric_limits<std::int64_t>::max() /
                                             static_cast<std::size_t>(size)))
      throw InputError("shape " + shown(shape) + ": no machine holds that; use another shape");
    count *= static_cast<std::size_t>(size);
  }
  return count;
}

std::string shown(const Shape &shape) {
  std::string text;
  for (const std::int64_t size : shape)
    text += (text.empty() ? "" : ", ") + std::to_string(size);
  return "[" + text + "]";
}

Video joined(const std::vector<Video> &videos) {
  Video whole{videos.at(0).shape, {}};
  whole.shape[1] = 0;
  for (const Video &video : videos) {
    Shape rest = video.shape;
    rest[1] = whole.shape[1];
    if (rest != whole.shape)
      throw InputError("decoder: gave frames " + shown(video.shape) + " after " +
                       shown(whole.shape) + "; export the artifact again");
    whole.shape[1] += video.shape[1];
  }
  whole.values.reserve(elements(whole.shape));
  for (std::size_t camera = 0; camera < static_cast<std::size_t>(whole.shape[0]); ++camera)
    for (const Video &video : videos) {
      const std::size_t count = video.values.size() / static_cast<std::size_t>(whole.shape[0]);
      const auto *first = video.values.data() + camera * count;
      whole.values.insert(whole.values.end(), first, first + count);
    }
  return whole;
}

Latents latent_frame(const Latents &latents, std::int64_t place) {
  const Shape &shape = latents.shape;
  Latents frame{{shape[0], shape[1], 1, shape[3], shape[4]}, {}};
  const std::size_t planes = static_cast<std::size_t>(shape[0] * shape[1]);
  const std::size_t frames = static_cast<std::size_t>(shape[2]);
  const std::size_t area = static_cast<std::size_t>(shape[3] * shape[4]);
  frame.values.reserve(planes * area);
  for (std::size_t plane = 0; plane < planes; ++plane) {
    const float *first =
        latents.values.data() + (plane * frames + static_cast<std::size_t>(place)) * area;
    frame.values.insert(frame.values.end(), first, first + area);
  }
  return frame;
}

} // namespace worldmodel
