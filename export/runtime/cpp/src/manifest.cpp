#include "worldmodel/manifest.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>

#include "consistency.hpp"
#include "digest.hpp"
#include "json_values.hpp"
#include "worldmodel/error.hpp"

namespace worldmodel {

namespace {

constexpr std::int64_t SCHEMA = 1;
const std::string AGAIN = "; export the artifact again";
const std::string UNSEALED(64, '0');

Checkpoint checkpoint(const Json &value, const std::string &key) {
  const Object object(value, key, {"name", "transformer_sha256", "vae_sha256", "prompt_sha256"});
  return {object.read("name", text), object.read("transformer_sha256", text),
          object.read("vae_sha256", text), object.read("prompt_sha256", text)};
}

Precision precision(const Json &value, const std::string &key) {
  const auto name = one_of({"fp32", "fp16", "bf16", "int8", "fp8"});
  const Object object(value, key, {"encoder", "step", "decoder"});
  return {object.read("encoder", name), object.read("step", name), object.read("decoder", name)};
}

Schedule schedule(const Json &value, const std::string &key) {
  const Object object(value, key, {"sigmas", "source", "velocity"});
  return {object.read("sigmas", listed(number)), object.read("source", listed(number)),
          object.read("velocity", listed(listed(number)))};
}

Axis axis(const Json &value, const std::string &key) {
  return value.is_string() ? Axis(text(value, key)) : Axis(whole(value, key));
}

Port port(const Json &value, const std::string &key) {
  const Object object(value, key, {"name", "dtype", "shape"});
  return {object.read("name", text), object.read("dtype", text),
          object.read("shape", listed(axis))};
}

Part part(const Json &value, const std::string &key) {
  const Object object(value, key, {"file", "inputs", "outputs"});
  return {object.read("file", text), object.read("inputs", listed(port)),
          object.read("outputs", listed(port))};
}

std::optional<SelfTest> self_test(const Json &value, const std::string &key) {
  if (value.is_null())
    return {};
  const Object object(value, key, {"seed", "steps", "sha256", "thumbnail", "tolerance"});
  return SelfTest{object.read("seed", whole), object.read("steps", whole),
                  object.read("sha256", text), object.read("thumbnail", text),
                  object.read("tolerance", number)};
}

Shape latents(const Json &value, const std::string &key) {
  const Shape found = listed(size)(value, key);
  if (found.size() != 4)
    throw Misfit(key + " has " + std::to_string(found.size()) + " values, not 4");
  return found;
}

Manifest manifest(Json content) {
  content.emplace("conventions", "paper");
  const Object object(content, "",
                      {"schema",    "family",   "checkpoint", "frames",    "height",
                       "width",     "cameras",  "frame_rate", "dynamic",   "latents",
                       "precision", "guidance", "opset",      "schedules", "default_steps",
                       "parts",     "files",    "self_test",  "versions",  "created",
                       "conventions"});
  Manifest made;
  made.schema = object.read("schema", whole);
  made.family = object.read("family", one_of({"ltx", "wan", "tiny"}));
  made.checkpoint = object.read("checkpoint", checkpoint);
  made.frames = object.read("frames", size);
  made.height = object.read("height", size);
  made.width = object.read("width", size);
  made.cameras = object.read("cameras", size);
  made.frame_rate = object.read("frame_rate", number);
  made.dynamic = object.read("dynamic", truth);
  made.latents = object.read("latents", latents);
  made.precision = object.read("precision", precision);
  made.guidance = object.read("guidance", number);
  made.opset = object.read("opset", whole);
  made.schedules = object.read("schedules", named(schedule));
  made.default_steps = object.read("default_steps", whole);
  made.parts = object.read("parts", named(part));
  made.files = object.read("files", named(text));
  made.self_test = object.read("self_test", self_test);
  made.versions = object.read("versions", named(text));
  made.created = object.read("created", text);
  made.conventions = object.read("conventions", one_of({"paper", "published"}));
  return made;
}

/// What was sealed: the key `sha256` is the sha256 of the text with 64 zeros in the digest's place.
Json unsealed(const std::string &written, const std::string &path) {
  Json content = Json::parse(written, nullptr, false);
  if (!content.is_object())
    throw InputError(path + ": not a JSON object" + AGAIN);
  const auto found = content.find("sha256");
  const std::string said =
      found != content.end() && found->is_string() ? found->get<std::string>() : "";
  std::string zeroed = written;
  const std::string line = "\"sha256\": \"";
  if (const std::size_t place = zeroed.find(line + said + "\""); place != std::string::npos)
    zeroed.replace(place + line.size(), said.size(), UNSEALED);
  if (said != sha256_of(zeroed.data(), zeroed.size()))
    throw InputError(path + ": was changed after it was written (its sha256 does not fit)" + AGAIN);
  content.erase("sha256");
  return content;
}

} // namespace

Manifest Manifest::read(const std::filesystem::path &path) {
  const std::string name = path.string();
  std::ifstream file(path, std::ios::binary);
  if (!std::filesystem::is_regular_file(path) || !file)
    throw InputError(name + ": no such file; give the folder that `worldmodel export` wrote");
  const std::string written{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  const Json content = unsealed(written, name);
  const Json schema = content.value("schema", Json());
  if (schema != SCHEMA)
    throw InputError(name + ": schema " + schema.dump() + ", this program reads schema " +
                     std::to_string(SCHEMA) + AGAIN + " with the worldmodel it came with");
  try {
    Manifest made = manifest(content);
    if (const std::string problem = misfit(made); !problem.empty())
      throw Misfit(problem);
    return made;
  } catch (const Misfit &error) {
    throw InputError(name + ": " + error.what() + AGAIN);
  }
}

const Schedule &Manifest::schedule(std::optional<std::int64_t> steps) const {
  const std::string wanted = std::to_string(steps.value_or(default_steps));
  if (const auto found = schedules.find(wanted); found != schedules.end())
    return found->second;
  std::vector<std::size_t> counts;
  for (const auto &[name, schedule] : schedules)
    counts.push_back(schedule.sigmas.size());
  std::sort(counts.begin(), counts.end());
  std::string offered;
  for (const std::size_t count : counts)
    offered += (offered.empty() ? "" : ", ") + std::to_string(count);
  throw InputError("steps=" + wanted + ": this artifact holds schedules of " + offered +
                   "; use one of them");
}

} // namespace worldmodel
