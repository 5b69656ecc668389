// A map as the CPU kernels read it: padded, channels last, so that a patch is `patch_size` contiguous runs.
#pragma once

#include <cstdint>

namespace msgnn {

template <typename T>
struct PatchMap {
  T* data;            // of the first grid place's first pixel
  int64_t row_pitch;  // values from one pixel row to the next
  int64_t channels;
  int64_t patch_size;
  int64_t stride;
  int64_t rows;  // of the grid
  int64_t columns;

  int64_t run() const { return patch_size * channels; }          // contiguous values in one row of a patch
  int64_t patch_values() const { return patch_size * run(); }    // in order (row, column, channel)
  T* patch(int64_t row, int64_t column) const { return data + row * stride * row_pitch + column * stride * channels; }
};

}  // namespace msgnn
