// Squared distances of one row of candidate patches to the anchor's patch, once for each instruction set.
#pragma once

#include <cstdint>

#include "capability.h"

namespace msgnn {

// Candidates made at a time: whole vectors in every instruction set. 40 is a full row at NLCL's radius of 20.
constexpr int64_t kBlockColumns = 40;

struct SelfSimilarProblem {
  const double* region;  // (channels, region_rows, pitch), what the candidates' patches cover
  int64_t channels, region_rows, pitch;
  const double* patch;  // (channels, patch_size, patch_size), the anchor's
  int64_t patch_size;
  int64_t columns;  // of candidates, a multiple of kBlockColumns; pitch is at least columns + patch_size - 1
};

// Writes the sums of one row of candidates, `columns` values; each is summed in the order (channel, row, column).
using SelfSimilarRow = void (*)(const SelfSimilarProblem&, int64_t row, double* out);

namespace portable {
void self_similar_row(const SelfSimilarProblem&, int64_t, double*);
}
#if defined(__x86_64__)
namespace avx2 {
void self_similar_row(const SelfSimilarProblem&, int64_t, double*);
}
namespace avx512 {
void self_similar_row(const SelfSimilarProblem&, int64_t, double*);
}
#endif

inline SelfSimilarRow self_similar_row(Capability capability) {
  switch (capability) {
#if defined(__x86_64__)
    case Capability::avx512_vnni:
    case Capability::avx512: return avx512::self_similar_row;
    case Capability::avx2: return avx2::self_similar_row;
#endif
    default: return portable::self_similar_row;
  }
}

}  // namespace msgnn
