// Memory of the maps that a fused forward pass makes, used again as soon as a map is gone.
//
// A C library hands large blocks back to the system and asks for them anew, and the system clears every page of them:
// above 32 MiB a map that costs a third of the whole pass. While a pass holds the pool open, its maps come from here.
// Up to 512 MiB stay for the next pass, in pages that the system may take back at any time in between.
#pragma once

#include <ATen/ATen.h>

namespace msgnn {

// An uninitialised channels-last map (images, channels, height, width), float32.
at::Tensor new_trunk_map(at::IntArrayRef sizes);

}  // namespace msgnn
