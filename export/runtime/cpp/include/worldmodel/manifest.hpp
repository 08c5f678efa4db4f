/// `manifest.json`: what an artifact is, how its parts are called and in which numbers its loop
/// runs.
///
/// The same keys, checks and words as `worldmodel/export/runtime/manifest.py`. The loop is linear:
/// with x_0 = x_source and v_j = step(x_j, sigmas[j]),
///
///     x_{i+1} = source[i] * x_source + sum over j <= i of velocity[i][j] * v_j
///
/// and x_N is the prediction. A streaming decoder is two parts: `decoder_first` (latent frame 0)
/// and `decoder_next` (each later one). What they carry from call to call is matched by order: the
/// outputs after `video` of either are the inputs after `latents` of `decoder_next`.
///
/// Shape legend: B clips (cameras), F frames, H height, W width, 3 colours; c f h w latents; N
/// steps.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "worldmodel/tensor.hpp"

namespace worldmodel {

/// What was exported, and the sha256 of its transformer, its VAE and the prompts baked in.
struct Checkpoint {
  std::string name, transformer_sha256, vae_sha256, prompt_sha256;
};

/// In which numbers each part computes: fp32, fp16, bf16, int8 or fp8.
struct Precision {
  std::string encoder, step, decoder;
};

/// The loop of N steps: sigmas [N], source [N], and row i of velocity with i + 1 coefficients.
struct Schedule {
  std::vector<double> sigmas, source;
  std::vector<std::vector<double>> velocity;
};

/// A size, or the name of a free axis.
using Axis = std::variant<std::int64_t, std::string>;

/// An input or output of a part; `dtype` is numpy's name.
struct Port {
  std::string name, dtype;
  std::vector<Axis> shape;
};

/// One ONNX file (its weights may lie beside it in `<file>.data`), its ports in their order.
struct Part {
  std::string file;
  std::vector<Port> inputs, outputs;
};

/// What the artifact predicted where it was made, from frames that follow from a seed.
struct SelfTest {
  std::int64_t seed, steps;
  std::string sha256;    ///< of the uint8 pixels [B, F, H, W, 3]
  std::string thumbnail; ///< base64 of uint8 [B, F, 4, 4, 3], means of blocks of each frame
  double tolerance;      ///< largest difference of a thumbnail that passes, in levels of 255
};

/// The fields are the keys of `manifest.json`.
struct Manifest {
  std::int64_t schema;
  std::string family;
  Checkpoint checkpoint;
  std::int64_t frames, height, width, cameras; ///< of a chunk; of the trace where `dynamic`
  double frame_rate;
  bool dynamic;
  Shape latents; ///< [c, f, h, w]
  Precision precision;
  double guidance;
  std::int64_t opset;
  std::map<std::string, Schedule> schedules; ///< number of steps, as text, to its loop
  std::int64_t default_steps;
  std::map<std::string, Part> parts;
  std::map<std::string, std::string> files; ///< sha256 of every file but the manifest
  std::optional<SelfTest> self_test;
  std::map<std::string, std::string> versions;
  std::string created;
  std::string conventions; ///< "paper" or "published"; manifests without the key are "paper"

  /// Read and check a file. `InputError`: not there, not JSON, changed since it was written, of
  /// another schema, with a key too many or too few, a value of another type, or with parts, files
  /// or schedules that do not fit together.
  static Manifest read(const std::filesystem::path &path);

  /// [B, F, H, W, 3]
  Shape video_shape() const { return {cameras, frames, height, width, 3}; }

  /// Whether the decoder is the streaming pair.
  bool streams() const { return parts.count("decoder_next") > 0; }

  /// The loop of this many steps (by default `default_steps`); `InputError` where there is none.
  const Schedule &schedule(std::optional<std::int64_t> steps = {}) const;
};

} // namespace worldmodel
