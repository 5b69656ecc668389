// A (B, C, H, W) map as it lies in memory, and its grid of zero-padded patches: what one GPU thread or a test reads.
#pragma once

#include <cstdint>

#include "msgnn/patch_grid.h"

namespace msgnn {

// Divides numbers that are not negative; 64 bits, which a GPU has no instruction for, only where they are needed.
MSGNN_HOST_DEVICE inline int64_t quotient(int64_t number, int64_t divisor) {
  if (((number | divisor) >> 32) == 0) return static_cast<uint32_t>(number) / static_cast<uint32_t>(divisor);
  return number / divisor;
}

template <typename T>
struct StridedMap {
  T* data;
  int64_t images, channels, height, width;
  int64_t image_pitch, channel_pitch, row_pitch, column_pitch;  // in values
  int64_t patch_size, stride;
  int64_t rows, columns, top, left;  // of the grid, and its padding before the map

  MSGNN_HOST_DEVICE StridedMap(
      T* data, const int64_t* sizes, const int64_t* pitches, int64_t patch_size, int64_t stride)
      : data(data),
        images(sizes[0]), channels(sizes[1]), height(sizes[2]), width(sizes[3]),
        image_pitch(pitches[0]), channel_pitch(pitches[1]), row_pitch(pitches[2]), column_pitch(pitches[3]),
        patch_size(patch_size),
        stride(stride),
        rows(grid_length(height, patch_size, stride)),
        columns(grid_length(width, patch_size, stride)),
        top(padding_before(height, patch_size, stride)),
        left(padding_before(width, patch_size, stride)) {}

  MSGNN_HOST_DEVICE int64_t places() const { return rows * columns; }
  MSGNN_HOST_DEVICE int64_t patch_values() const { return channels * patch_size * patch_size; }

  MSGNN_HOST_DEVICE bool holds(int64_t y, int64_t x) const { return 0 <= y && y < height && 0 <= x && x < width; }
  MSGNN_HOST_DEVICE T& pixel(int64_t image, int64_t channel, int64_t y, int64_t x) const {
    return data[image * image_pitch + channel * channel_pitch + y * row_pitch + x * column_pitch];
  }
  // 0 outside, where the padding is.
  MSGNN_HOST_DEVICE T padded(int64_t image, int64_t channel, int64_t y, int64_t x) const {
    return holds(y, x) ? pixel(image, channel, y, x) : T(0);
  }

  // First pixel of the patches in a row or column of the grid, in pixels of the map: negative in the padding.
  MSGNN_HOST_DEVICE int64_t patch_top(int64_t row) const { return row * stride - top; }
  MSGNN_HOST_DEVICE int64_t patch_left(int64_t column) const { return column * stride - left; }
};

// Patches of an axis that cover one of its pixels, counted from the first padded one.
struct CoveringPatches {
  int64_t begin, end;
};

MSGNN_HOST_DEVICE inline CoveringPatches covering_patches(
    int64_t padded_pixel, int64_t patch_size, int64_t stride, int64_t places) {
  const int64_t begin = quotient(maximum(padded_pixel - patch_size + stride, 0), stride);
  return {begin, maximum(begin, minimum(quotient(padded_pixel, stride) + 1, places))};
}

}  // namespace msgnn
