// The gathers of patch_difference and patch_aggregate, once for each instruction set.
//
// A pair is a query and one of its neighbours, numbered query * K + k. What a pair yields (differences, products) is
// written query by query. What adds patches into a map is made a pixel row of that map at a time: the row collects from
// all patches that cover it, in the order of places and pairs. So every value is written by one thread, in one order.
#pragma once

#include <cstdint>

#include "capability.h"
#include "msgnn/patch_grid.h"
#include "patch_map.h"

namespace msgnn {

// The pairs that each place of a grid belongs to.
struct PairLists {
  const int64_t* start;   // of each place's list, and the end of the last; null: `neighbors` pairs a place, in order
  const int64_t* number;  // of each listed pair; null: in order
  const int64_t* place;   // of the pair's other end, in the other grid
  int64_t neighbors;

  int64_t begin(int64_t own_place) const { return start == nullptr ? own_place * neighbors : start[own_place]; }
  int64_t pair(int64_t listed) const { return number == nullptr ? listed : number[listed]; }
};

template <typename T>
struct PairProblem {
  PatchMap<const T> query;
  PatchMap<const T> database;
  const int64_t* offset;  // of each database patch, in values from the map's start
  const int64_t* index;   // (queries, neighbors)
  int64_t neighbors;
  T* out;  // (queries, neighbors, values)
};

template <typename T>
struct MapSum {
  T* out;  // (height, width, channels) without padding, contiguous
  int64_t height, width;
  PatchMap<const T> own;    // the grid of `out`; its values are read by `add_signs` only
  PatchMap<const T> other;  // not read by `add_gradients`
  const int64_t* offset;    // of each patch of `other`, in values from the map's start
  PairLists pairs;          // of the places of `own`
  const T* values;          // of each pair: see GatherKernels
  T factor;                 // of `add_gradients`
};

// Places of an axis whose patches cover a pixel.
struct Places {
  int64_t begin, end;
};

// `pixel` counts from the first padded one.
inline Places covering(int64_t pixel, int64_t patch_size, int64_t stride, int64_t places) {
  const int64_t begin = maximum(pixel - patch_size + stride, 0) / stride;
  return {begin, maximum(begin, minimum(pixel / stride + 1, places))};
}

// The first three take a range of rows of the query grid, the others one of pixel rows.
template <typename T>
struct GatherKernels {
  void (*differences)(const PairProblem<T>&, int64_t, int64_t);           // out (channels, rows, columns)
  void (*absolute_differences)(const PairProblem<T>&, int64_t, int64_t);  // out (channels), summed over the patch
  void (*products)(const PairProblem<T>&, int64_t, int64_t);              // out (1), summed over the patch
  void (*add_patches)(const MapSum<T>&, int64_t, int64_t);    // other's patches by weight: values (1)
  void (*add_gradients)(const MapSum<T>&, int64_t, int64_t);  // factor * values (channels, rows, columns)
  void (*add_signs)(const MapSum<T>&, int64_t, int64_t);      // sign(own - other) * values (channels)
};

namespace portable {
template <typename T> GatherKernels<T> gather_kernels();
}
#if defined(__x86_64__)
namespace avx2 {
template <typename T> GatherKernels<T> gather_kernels();
}
namespace avx512 {
template <typename T> GatherKernels<T> gather_kernels();
}
#endif

template <typename T>
GatherKernels<T> gather_kernels(Capability capability) {
  switch (capability) {
#if defined(__x86_64__)
    case Capability::avx512_vnni:
    case Capability::avx512: return avx512::gather_kernels<T>();
    case Capability::avx2: return avx2::gather_kernels<T>();
#endif
    default: return portable::gather_kernels<T>();
  }
}

}  // namespace msgnn
