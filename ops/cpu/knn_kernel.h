// The exact nearest-neighbour search of one tile of queries, once for each instruction set.
//
// Three passes stream over a query's candidates, each cheaper than the next and each a proved filter of it:
//   1. codes: every patch, shifted by the tile's channel means, is rounded to `scale * n` (n integers where the processor
//      multiplies bytes, else float32 values), with the norm of what rounding lost kept as `error`. Since
//      | |q - d| - |q' - d'| | <= error_q + error_d, a candidate whose coded distance exceeds the k-th best by more
//      than both errors cannot be nearer. This is a small matrix product, the bulk of the work.
//   2. float32 differences of the patches themselves, whose relative rounding error is bounded.
//   3. float64 differences, which rank; ties go to the smaller index.
// The k best so far are always exact, so the order of visits decides the speed only, not the result.
#pragma once

#include <cstdint>

#include "capability.h"
#include "msgnn/nearest.h"
#include "msgnn/patch_grid.h"
#include "patch_map.h"

namespace msgnn {

template <typename T>
struct KnnProblem {
  PatchMap<const T> query;
  PatchMap<const T> database;
  double gain;  // power of two that brings the values near 1
  int64_t num_neighbors;
  int64_t window;         // side in grid places, 0: everything
  const int64_t* origin;  // (queries, 2) top-left places, or null: centred
  int64_t* index;         // (queries, num_neighbors)
  T* distance;
};

// A rectangle of the query grid.
struct KnnTile {
  int64_t top, left, bottom, right;
};

constexpr int64_t kTileSide = 24;
constexpr int64_t kCandidatesAtOnce = 96;

template <typename T>
using KnnSearch = void (*)(const KnnProblem<T>&, const KnnTile&);

namespace portable {
template <typename T> void knn_search(const KnnProblem<T>&, const KnnTile&);
}
#if defined(__x86_64__)
namespace avx2 {
template <typename T> void knn_search(const KnnProblem<T>&, const KnnTile&);
}
namespace avx512 {
template <typename T> void knn_search(const KnnProblem<T>&, const KnnTile&);
}
namespace avx512_vnni {
template <typename T> void knn_search(const KnnProblem<T>&, const KnnTile&);
}
#endif

template <typename T>
KnnSearch<T> knn_search(Capability capability) {
  switch (capability) {
#if defined(__x86_64__)
    case Capability::avx512_vnni: return avx512_vnni::knn_search<T>;
    case Capability::avx512: return avx512::knn_search<T>;
    case Capability::avx2: return avx2::knn_search<T>;
#endif
    default: return portable::knn_search<T>;
  }
}

}  // namespace msgnn
