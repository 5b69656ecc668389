// Body of the kernel in self_similar_kernel.h. Included inside the namespace of one instruction set, after vector.h.

// A lane is a candidate, so its sum's order does not depend on the length of a vector.
inline void self_similar_block(const SelfSimilarProblem& problem, int64_t row, int64_t column, double* out) {
  constexpr int64_t held = 5;  // vectors of sums that stay in registers
  constexpr int64_t step = held * kDoubles;
  static_assert(kBlockColumns % step == 0);
  for (int64_t first = column; first < column + kBlockColumns; first += step) {
    vdouble sums[held] = {};
    const double* asking = problem.patch;
    for (int64_t c = 0; c < problem.channels; ++c) {
      for (int64_t y = row; y < row + problem.patch_size; ++y) {
        const double* answering = problem.region + (c * problem.region_rows + y) * problem.pitch + first;
        for (int64_t x = 0; x < problem.patch_size; ++x, ++asking, ++answering) {
          for (int64_t v = 0; v < held; ++v) {
            const vdouble difference = load<vdouble>(answering + v * kDoubles) - *asking;
            sums[v] += difference * difference;
          }
        }
      }
    }
    for (int64_t v = 0; v < held; ++v) store(out + first + v * kDoubles, sums[v]);
  }
}

void self_similar_row(const SelfSimilarProblem& problem, int64_t row, double* out) {
  for (int64_t column = 0; column < problem.columns; column += kBlockColumns) {
    self_similar_block(problem, row, column, out);
  }
}
