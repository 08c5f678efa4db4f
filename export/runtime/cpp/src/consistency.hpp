/// Whether what a manifest says fits together.
#pragma once

#include <string>

#include "worldmodel/manifest.hpp"

namespace worldmodel {

/// What does not fit together, in words; empty where all is well.
std::string misfit(const Manifest &manifest);

} // namespace worldmodel
