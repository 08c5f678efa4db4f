/// Observed frames in, the next frames out, from an artifact and ONNX Runtime on the CPU:
///
///     worldmodel::Predictor predictor("artifact");
///     worldmodel::Video future = predictor.predict(observed); // uint8 [B, F, H, W, 3] both
///
/// Shape legend: B clips (cameras), F frames, H height, W width, 3 colours; c f h w latents; N
/// steps.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "worldmodel/artifact.hpp"
#include "worldmodel/error.hpp"
#include "worldmodel/self_test.hpp"
#include "worldmodel/tensor.hpp"

namespace worldmodel {

class Sessions;

struct Options {
  int threads = 0;                ///< of one operator; 0 takes one a core
  std::string prompt_sha256 = {}; ///< the prompt that must be baked in; empty takes any
};

/// What the next chunk of a rollout starts from: the predicted 8-bit frames, encoded again, or the
/// predicted latents, so that the encoder runs once for the whole rollout.
enum class Feed { frames, latents };

/// An artifact at work. Not for several threads at once.
///
/// Every method throws `InputError` for what cannot be used, before anything is run.
class Predictor {
public:
  /// Check all files of an artifact and load them.
  explicit Predictor(const std::filesystem::path &folder, const Options &options = {});
  Predictor(Artifact artifact, const Options &options);
  Predictor(Predictor &&) noexcept;
  Predictor &operator=(Predictor &&) noexcept;
  ~Predictor();

  const Artifact &artifact() const { return artifact_; }

  /// The chunk right after `video`, both uint8 RGB [B, F, H, W, 3] at the manifest's frame rate.
  /// `steps`: evaluations of the network, by default the artifact's.
  Video predict(const Video &video, std::optional<std::int64_t> steps = {});

  /// `chunks` chunks, each from the one before: uint8 [B, chunks * F, H, W, 3].
  Video rollout(const Video &video, std::int64_t chunks, Feed feed = Feed::frames,
                std::optional<std::int64_t> steps = {});

  /// Normalised latents, float32 [B, c, f, h, w].
  Latents encode(const Video &video);

  /// One guided evaluation of the network, float32 [B, c, f, h, w].
  Latents velocity(const Latents &latents, float sigma);

  /// The latents that the source flows to; `InputError` where they are not finite.
  Latents integrate(const Latents &source, const Schedule &schedule);

  /// Frames, uint8 [B, F, H, W, 3].
  Video decode(const Latents &latents);

  /// Predict what the artifact predicted where it was made, and compare.
  SelfTestResult self_test();

  /// How often each part ran, and wall-clock seconds spent in it, since `restart_counts`.
  const std::map<std::string, std::int64_t> &calls() const;
  const std::map<std::string, double> &seconds() const;
  void restart_counts();

private:
  Video streamed(const Latents &latents);

  Artifact artifact_;
  std::unique_ptr<Sessions> sessions_;
};

/// "1.21.0": the library that is loaded, not the headers that were compiled.
std::string onnxruntime_version();

} // namespace worldmodel
