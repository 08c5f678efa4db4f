/// Videos as NumPy's .npy files: format 1.0 and 2.0, C order.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

#include "worldmodel/tensor.hpp"

namespace worldmodel {

struct NpyHeader {
  std::string dtype; ///< numpy's name ("uint8"), or its code where that has no plain name
  Shape shape;
  std::size_t begins; ///< where the values begin, in bytes
};

/// `InputError`: missing, not such a file, in Fortran order, or cut off.
NpyHeader read_npy_header(const std::filesystem::path &path);

/// The values of a uint8 file; `InputError` as `read_npy_header`, or for another dtype.
Video read_video(const std::filesystem::path &path);

/// Write under a temporary name and rename: whole or not at all.
void write_video(const std::filesystem::path &path, const Video &video);

} // namespace worldmodel
