/// An artifact's folder: its manifest and its files, each checked before it is used.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "worldmodel/manifest.hpp"

namespace worldmodel {

/// A folder that `worldmodel export` wrote.
struct Artifact {
  std::filesystem::path folder;
  Manifest manifest;

  /// Read the manifest; files are checked when they are asked for. `InputError`: no artifact, a
  /// manifest that cannot be used, or another prompt than `prompt_sha256` (empty takes any).
  static Artifact open(const std::filesystem::path &folder, const std::string &prompt_sha256 = "");

  /// The parts that a prediction runs, in their order.
  std::vector<std::string> parts() const;

  /// The ONNX file of each part; `InputError` where one is missing, altered (sha256 of graph and
  /// weights) or of another opset than the manifest says.
  std::map<std::string, std::filesystem::path> onnx_files() const;

  /// `InputError` unless these are frames that the encoder takes: "uint8" [B, F, H, W, 3].
  void check_video(const std::string &dtype, const Shape &shape,
                   const std::string &what = "video") const;
};

} // namespace worldmodel
