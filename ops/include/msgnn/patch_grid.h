// Where patches lie in a map: the geometry every op and every backend shares.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define MSGNN_HOST_DEVICE __host__ __device__
#define MSGNN_UNROLL _Pragma("unroll")
#else
#define MSGNN_HOST_DEVICE
#define MSGNN_UNROLL
#endif

namespace msgnn {

MSGNN_HOST_DEVICE inline int64_t minimum(int64_t a, int64_t b) { return a < b ? a : b; }
MSGNN_HOST_DEVICE inline int64_t maximum(int64_t a, int64_t b) { return a < b ? b : a; }
MSGNN_HOST_DEVICE inline int64_t clamped(int64_t value, int64_t low, int64_t high) {
  return maximum(low, minimum(value, high));
}

// Patches along an axis of `size` pixels: ceil((size - patch_size) / stride) + 1, at least 1.
MSGNN_HOST_DEVICE inline int64_t grid_length(int64_t size, int64_t patch_size, int64_t stride) {
  return size <= patch_size ? 1 : (size - patch_size + stride - 1) / stride + 1;
}

// Zero pixels before the axis that, with those after it, complete its last patch; the smaller half comes first.
MSGNN_HOST_DEVICE inline int64_t padding_before(int64_t size, int64_t patch_size, int64_t stride) {
  return ((grid_length(size, patch_size, stride) - 1) * stride + patch_size - size) / 2;
}

// Pixels of the axis with its padding, at least `size`.
MSGNN_HOST_DEVICE inline int64_t padded_length(int64_t size, int64_t patch_size, int64_t stride) {
  return (grid_length(size, patch_size, stride) - 1) * stride + patch_size;
}

// First place of the window of `side` places that is centred on a query's own relative place, kept inside the grid.
MSGNN_HOST_DEVICE inline int64_t centred_window(int64_t query_place, int64_t queries, int64_t places, int64_t side) {
  const int64_t own = (2 * query_place + 1) * places / (2 * queries);
  return clamped(own - side / 2, 0, places - side);
}

}  // namespace msgnn
