#include "worldmodel/artifact.hpp"

#include <algorithm>

#include "digest.hpp"
#include "onnx_header.hpp"
#include "worldmodel/error.hpp"

namespace worldmodel {

namespace {

void check_sha256(const std::filesystem::path &path, const std::string &expected) {
  const std::string remedy = "; copy or export the artifact again";
  if (!std::filesystem::is_regular_file(path))
    throw InputError(path.string() + ": missing" + remedy);
  if (sha256_of_file(path) != expected)
    throw InputError(path.string() +
                     ": altered or incomplete, its sha256 is not the one noted for it" + remedy);
}

/// Whether a video has the artifact's shape or, where that is free, whole numbers of latents.
bool takes(const Manifest &manifest, const Shape &shape) {
  const bool has_pixels = std::count(shape.begin(), shape.end(), 0) == 0;
  if (!manifest.dynamic || shape.size() != 5 || shape[4] != 3 || !has_pixels)
    return shape == manifest.video_shape();
  const std::int64_t latent_frames = std::max<std::int64_t>(1, manifest.latents[1] - 1);
  const auto at_least_one = [](std::int64_t count) { return std::max<std::int64_t>(1, count); };
  return (shape[1] - 1) % at_least_one((manifest.frames - 1) / latent_frames) == 0 &&
         shape[2] % at_least_one(manifest.height / manifest.latents[2]) == 0 &&
         shape[3] % at_least_one(manifest.width / manifest.latents[3]) == 0;
}

std::string shown(const std::vector<Axis> &axes) {
  std::string text;
  for (const Axis &axis : axes) {
    const auto *size = std::get_if<std::int64_t>(&axis);
    text +=
        (text.empty() ? "" : ", ") + (size ? std::to_string(*size) : std::get<std::string>(axis));
  }
  return "[" + text + "]";
}

} // namespace

Artifact Artifact::open(const std::filesystem::path &folder, const std::string &prompt_sha256) {
  if (!std::filesystem::is_directory(folder))
    throw InputError(folder.string() +
                     ": no such folder; give the folder that `worldmodel export` wrote");
  Manifest manifest = Manifest::read(folder / "manifest.json");
  const std::string &baked = manifest.checkpoint.prompt_sha256;
  if (!prompt_sha256.empty() && prompt_sha256 != baked)
    throw InputError(folder.string() + ": its prompt has sha256 " + baked.substr(0, 12) +
                     "…, not " + prompt_sha256.substr(0, 12) +
                     "… as expected; export the checkpoint with the prompt that you mean");
  return {folder, std::move(manifest)};
}

std::vector<std::string> Artifact::parts() const {
  if (manifest.streams())
    return {"encoder", "step", "decoder_first", "decoder_next"};
  return {"encoder", "step", "decoder"};
}

std::map<std::string, std::filesystem::path> Artifact::onnx_files() const {
  std::map<std::string, std::filesystem::path> found;
  for (const std::string &part : parts()) {
    const std::string &name = manifest.parts.at(part).file;
    for (const std::string &file : {name, name + ".data"})
      if (const auto noted = manifest.files.find(file); noted != manifest.files.end())
        check_sha256(folder / file, noted->second);
    found[part] = folder / name;
  }
  for (const auto &[part, path] : found)
    if (const std::int64_t opset = opset_of(path); opset != manifest.opset)
      throw InputError(path.string() + ": opset " + std::to_string(opset) + ", its manifest says " +
                       std::to_string(manifest.opset) + "; export the artifact again");
  return found;
}

void Artifact::check_video(const std::string &dtype, const Shape &shape,
                           const std::string &what) const {
  if (dtype == "uint8" && takes(manifest, shape))
    return;
  throw InputError(what + " of " + dtype + " " + worldmodel::shown(shape) +
                   ": this artifact takes uint8 " +
                   shown(manifest.parts.at("encoder").inputs[0].shape) +
                   " (cameras, frames, height, width, RGB); cut and scale the frames, or export for"
                   " this shape");
}

} // namespace worldmodel
