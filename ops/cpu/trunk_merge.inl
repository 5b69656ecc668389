// A 1x1 convolution over several maps, see trunk_kernels.h. Included inside the namespace of one instruction set.

template <int64_t VECTORS>
struct MergeBlock {
  template <int64_t ROWS>
  struct Of {
    // `ROWS` pixels from `pixel` on, `VECTORS` vectors of channels from `c` on; adds to energy[channel].
    static void run(const DenseMerge& p, int64_t pixel, int64_t c, double* energy) {
      vfloat sums[ROWS][VECTORS];
#pragma GCC unroll 14
      for (int64_t row = 0; row < ROWS; ++row) {
#pragma GCC unroll 2
        for (int64_t v = 0; v < VECTORS; ++v) sums[row][v] = load<vfloat>(p.bias + c + v * kLanes);
      }
      for (int64_t map = 0; map < p.num_maps; ++map) {
        const float* weight = p.weight + map * p.channels * p.channels + c;
        accumulate(sums, p.maps[map] + pixel * p.channels, p.channels, kLanes, p.channels, weight);
      }
      vfloat squares[VECTORS] = {};
#pragma GCC unroll 14
      for (int64_t row = 0; row < ROWS; ++row) {
        const int64_t place = (pixel + row) * p.channels + c;
#pragma GCC unroll 2
        for (int64_t v = 0; v < VECTORS; ++v) {
          vfloat value = leaky(sums[row][v], p.negative_slope);
          store(p.merged + place + v * kLanes, value);
          if (p.offset != nullptr) value += load<vfloat>(p.offset + place + v * kLanes);
          squares[v] += value * value;
        }
      }
      for (int64_t v = 0; v < VECTORS; ++v) {
        for (int64_t lane = 0; lane < kLanes; ++lane) energy[c + v * kLanes + lane] += squares[v][lane];
      }
    }
  };
};

inline void dense_merge(const DenseMerge& p, int64_t begin, int64_t end) {
  const int64_t parts = (p.pixels + kMergePart - 1) / kMergePart;
  for (int64_t part = begin; part < end; ++part) {
    double* energy = p.energy + part * p.channels;
    std::fill(energy, energy + p.channels, 0.0);
    const int64_t image = part / parts * p.pixels;
    const int64_t last = image + std::min(p.pixels, (part % parts + 1) * kMergePart);
    for (int64_t pixel = image + part % parts * kMergePart; pixel < last; pixel += kRowsAtOnce) {
      const int64_t rows = std::min(kRowsAtOnce, last - pixel);
      int64_t c = 0;
      for (; c + 2 * kLanes <= p.channels; c += 2 * kLanes) {
        dispatch_rows<MergeBlock<2>::Of>(rows, p, pixel, c, energy);
      }
      if (c < p.channels) dispatch_rows<MergeBlock<1>::Of>(rows, p, pixel, c, energy);
    }
  }
}
