// The small matrix product under every convolution: rows of pixels times weights, sums held in registers.

constexpr int64_t kRowsAtOnce = MSGNN_VECTOR_BYTES == 64 ? 14 : 6;  // with 2 vectors each: 28 of 32 registers, 12 of 16
constexpr int64_t kAhead = 16;  // rows of weights to fetch before they are needed

constexpr int64_t kCacheLine = 16;

// sums[row][vector] += in[row][depth] * weight[depth][vector], where a row's values lie in blocks of kLanes. Of `next`,
// if FETCH, 16 rows are fetched into the cache meanwhile.
template <bool FETCH, int64_t ROWS, int64_t VECTORS>
inline __attribute__((always_inline)) void accumulate(
    vfloat (&sums)[ROWS][VECTORS], const float* in, int64_t row_pitch, int64_t block_pitch, int64_t channels,
    const float* weight, const float* next) {
  for (int64_t block = 0; block < channels; block += kLanes, in += block_pitch) {
#pragma GCC unroll 1
    for (int64_t d = 0; d < kLanes; ++d, weight += channels) {
      if (FETCH) __builtin_prefetch(next + (block + d) * kCacheLine);
      vfloat factor[VECTORS];
#pragma GCC unroll 2
      for (int64_t v = 0; v < VECTORS; ++v) {
        factor[v] = load<vfloat>(weight + v * kLanes);
        __builtin_prefetch(weight + kAhead * channels + v * kLanes);  // all weights together leave the first cache
      }
#pragma GCC unroll 14
      for (int64_t row = 0; row < ROWS; ++row) {
        const vfloat value = broadcast(in[row * row_pitch + d]);
#pragma GCC unroll 2
        for (int64_t v = 0; v < VECTORS; ++v) sums[row][v] += value * factor[v];
      }
    }
  }
}

inline vfloat leaky(vfloat value, float slope) { return value > vfloat{} ? value : value * slope; }

// Calls run<ROWS>(first) so that ROWS, even shares of at most kRowsAtOnce, cover `rows`.
template <template <int64_t> class Run, int64_t ROWS = kRowsAtOnce, typename... Arguments>
inline void dispatch_rows(int64_t rows, const Arguments&... arguments) {
  if constexpr (ROWS > 1) {
    if (rows < ROWS) return dispatch_rows<Run, ROWS - 1>(rows, arguments...);
  }
  Run<ROWS>::run(arguments...);
}
