// A 1x1 convolution over several maps, see trunk_kernels.h. Included inside the namespace of one instruction set.
//
// A chunk of pixels takes its shares from a few maps after a few others, its sums waiting in the first cache. So each map
// is read in long runs, fetched ahead, once for all results, and its weights serve the whole chunk.

constexpr int64_t kChunk = 84;  // pixels; a multiple of both kRowsAtOnce, and kMergePart is one of it
constexpr int64_t kMapsAtOnce = 3;

// CHANNELS is the number of channels if known when compiling, so that rows lie at known places, or 0.
template <int64_t VECTORS, int64_t CHANNELS>
struct MergeBlock {
  template <int64_t ROWS>
  struct Of {
    // The share of maps [first, end) in one result, in `ROWS` pixels from `pixel` on and `VECTORS` vectors of channels from `c`
    // on. Meanwhile pixels that are read later are fetched.
    static void run(
        const DenseMerge& p, int64_t result, int64_t first, int64_t end, int64_t pixel, int64_t c, double* energy) {
      const int64_t channels = CHANNELS != 0 ? CHANNELS : p.channels, place = pixel * channels + c;
      float* merged = p.results[result] + place;
      vfloat sums[ROWS][VECTORS];
#pragma GCC unroll 14
      for (int64_t row = 0; row < ROWS; ++row) {
#pragma GCC unroll 2
        for (int64_t v = 0; v < VECTORS; ++v) {
          sums[row][v] = first == 0 ? vfloat{} : load<vfloat>(merged + row * channels + v * kLanes);
        }
      }
      for (int64_t map = first; map < end; ++map) {
        const float* weight = p.weight + (result * p.num_maps + map) * channels * channels + c;
        // The map read next in the place of this one, or the same further on.
        const int64_t later = map + kMapsAtOnce;
        const float* next = later < p.num_maps ? p.maps[later] : p.maps[map % kMapsAtOnce] + kChunk * channels;
        accumulate<true>(
            sums, p.maps[map] + pixel * channels, channels, kLanes, channels, weight, next + pixel * channels);
      }
      if (result > 0 || end < p.num_maps) {
#pragma GCC unroll 14
        for (int64_t row = 0; row < ROWS; ++row) {
#pragma GCC unroll 2
          for (int64_t v = 0; v < VECTORS; ++v) store(merged + row * channels + v * kLanes, sums[row][v]);
        }
        return;
      }
      const float* before = p.sums != nullptr ? p.sums + place : nullptr;
      const float* offset = p.offset != nullptr ? p.offset + place : nullptr;
      vfloat squares[VECTORS] = {};
#pragma GCC unroll 14
      for (int64_t row = 0; row < ROWS; ++row) {
#pragma GCC unroll 2
        for (int64_t v = 0; v < VECTORS; ++v) {
          vfloat value = sums[row][v] + load<vfloat>(p.bias + c + v * kLanes);
          if (before != nullptr) value += load<vfloat>(before + row * channels + v * kLanes);
          value = leaky(value, p.negative_slope);
          store(merged + row * channels + v * kLanes, value);
          if (offset != nullptr) value += load<vfloat>(offset + row * channels + v * kLanes);
          squares[v] += value * value;
        }
      }
      for (int64_t v = 0; v < VECTORS; ++v) {
        for (int64_t lane = 0; lane < kLanes; ++lane) energy[c + v * kLanes + lane] += squares[v][lane];
      }
    }
  };
};

// Pixels [begin, end) of all images together.
inline void merge_chunk(const DenseMerge& p, int64_t begin, int64_t end, double* energy) {
  for (int64_t first = 0; first < p.num_maps; first += kMapsAtOnce) {
    const int64_t last = std::min(p.num_maps, first + kMapsAtOnce);
    for (int64_t result = 0; result < p.num_results; ++result) {
      for (int64_t pixel = begin; pixel < end; pixel += kRowsAtOnce) {
        const int64_t rows = std::min(kRowsAtOnce, end - pixel);
        int64_t c = 0;
        for (; c + 2 * kLanes <= p.channels; c += 2 * kLanes) {
          if (p.channels == 32) {
            dispatch_rows<MergeBlock<2, 32>::Of>(rows, p, result, first, last, pixel, c, energy);
          } else {
            dispatch_rows<MergeBlock<2, 0>::Of>(rows, p, result, first, last, pixel, c, energy);
          }
        }
        if (c < p.channels) dispatch_rows<MergeBlock<1, 0>::Of>(rows, p, result, first, last, pixel, c, energy);
      }
    }
  }
}

inline void dense_merge(const DenseMerge& p, int64_t begin, int64_t end) {
  const int64_t parts = (p.pixels + kMergePart - 1) / kMergePart;
  for (int64_t part = begin; part < end; ++part) {
    double* energy = p.energy + part * p.channels;
    std::fill(energy, energy + p.channels, 0.0);
    const int64_t image = part / parts * p.pixels, first = image + part % parts * kMergePart;
    const int64_t last = std::min(image + p.pixels, first + kMergePart);
    for (int64_t pixel = first; pixel < last; pixel += kChunk) {
      merge_chunk(p, pixel, std::min(last, pixel + kChunk), energy);
    }
  }
}
