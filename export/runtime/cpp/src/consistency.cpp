#include "consistency.hpp"

#include <algorithm>
#include <set>
#include <tuple>

namespace worldmodel {

namespace {

using Dtypes = std::map<std::string, std::string>;

struct Interface {
  Dtypes inputs, outputs;
};

/// Ports of each part with their dtypes; a streaming decoder's memory comes after these.
const std::map<std::string, Interface> INTERFACES = {
    {"encoder", {{{"video", "uint8"}}, {{"latents", "float32"}}}},
    {"step", {{{"latents", "float32"}, {"sigma", "float32"}}, {{"velocity", "float32"}}}},
    {"decoder", {{{"latents", "float32"}}, {{"video", "uint8"}}}},
    {"decoder_first", {{{"latents", "float32"}}, {{"video", "uint8"}}}},
    {"decoder_next", {{{"latents", "float32"}}, {{"video", "uint8"}}}},
};

template <class Names> std::string comma(const Names &names) {
  std::string text;
  for (const auto &name : names)
    text += (text.empty() ? "" : ", ") + name;
  return text;
}

bool fits(const std::vector<Port> &ports, const Dtypes &wanted, bool more) {
  Dtypes found;
  for (std::size_t place = 0; place < std::min(ports.size(), wanted.size()); ++place)
    found[ports[place].name] = ports[place].dtype;
  return found == wanted && (more || ports.size() == wanted.size());
}

std::vector<std::tuple<std::string, std::vector<Axis>>> memory(const std::vector<Port> &ports) {
  std::vector<std::tuple<std::string, std::vector<Axis>>> found;
  for (std::size_t place = 1; place < ports.size(); ++place)
    found.emplace_back(ports[place].dtype, ports[place].shape);
  return found;
}

std::string parts_misfit(const Manifest &manifest) {
  std::set<std::string> parts, wanted = {"encoder", "step"};
  for (const auto &[name, part] : manifest.parts)
    if (name != "single")
      parts.insert(name);
  if (parts.count("decoder"))
    wanted.insert("decoder");
  else
    wanted.insert({"decoder_first", "decoder_next"});
  if (parts == wanted)
    return "";
  return "parts are " + comma(parts) +
         ", not encoder, step and decoder (or decoder_first, decoder_next)";
}

std::string ports_misfit(const Manifest &manifest) {
  for (const auto &[name, part] : manifest.parts) {
    const auto found = INTERFACES.find(name);
    const bool more = name.rfind("decoder_", 0) == 0;
    if (found != INTERFACES.end() && !(fits(part.inputs, found->second.inputs, more) &&
                                       fits(part.outputs, found->second.outputs, more)))
      return "parts." + name + " has other inputs or outputs than belong to it";
  }
  if (!manifest.streams())
    return "";
  const Part &first = manifest.parts.at("decoder_first"), &next = manifest.parts.at("decoder_next");
  const auto taken = memory(next.inputs);
  if (taken != memory(first.outputs) || taken != memory(next.outputs) || first.inputs.size() != 1)
    return "parts.decoder_next does not take what decoder_first and it itself leave";
  return "";
}

bool within_folder(const std::string &name) {
  const std::filesystem::path path(name);
  return !path.is_absolute() && std::find(path.begin(), path.end(), "..") == path.end();
}

std::string files_misfit(const Manifest &manifest) {
  for (const auto &[name, part] : manifest.parts)
    if (!manifest.files.count(part.file))
      return "parts." + name + ".file " + part.file + " has no sha256 in files";
  for (const auto &[name, digest] : manifest.files)
    if (!within_folder(name) || digest.size() != 64 ||
        digest.find_first_not_of("0123456789abcdef") != std::string::npos)
      return "files." + name + " is not the sha256 of a file within the artifact";
  return "";
}

bool fits(const Schedule &schedule, const std::string &steps) {
  for (std::size_t row = 0; row < schedule.velocity.size(); ++row)
    if (schedule.velocity[row].size() != row + 1)
      return false;
  const auto named = [&](std::size_t count) { return std::to_string(count) == steps; };
  return named(schedule.sigmas.size()) && named(schedule.source.size()) &&
         named(schedule.velocity.size());
}

std::string schedules_misfit(const Manifest &manifest) {
  for (const auto &[steps, schedule] : manifest.schedules)
    if (!fits(schedule, steps))
      return "schedules." + steps + " needs " + steps +
             " sigmas, as many source coefficients and rows of 1 to " + steps;
  if (!manifest.schedules.count(std::to_string(manifest.default_steps)))
    return "default_steps " + std::to_string(manifest.default_steps) + " has no schedule";
  return "";
}

} // namespace

std::string misfit(const Manifest &manifest) {
  for (const auto &check : {parts_misfit, ports_misfit, files_misfit, schedules_misfit})
    if (const std::string problem = check(manifest); !problem.empty())
      return problem;
  return "";
}

} // namespace worldmodel
