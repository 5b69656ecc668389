// Gradients of weights, see train_kernels.h. Included inside the namespace of one instruction set.
//
// A convolution's weights get A (grad) A^T times B (patch) B^T at every position of Winograd's transforms, summed over tiles:
// the convolution's algorithm read backwards. That sum, and the one of a 1x1 convolution over pixels, is a product of two
// matrices of 2 x channels columns and very many rows, whose result is kept in registers while some tens of rows go by.

constexpr int64_t kOuterRows = MSGNN_VECTOR_BYTES == 64 ? 8 : 4;  // with 2 vectors each; divides kLanes
constexpr int64_t kBatchGroups = 4;                               // groups of tiles whose products are added at once

// Rows of channels: row r of group g at g * group + r * pitch, its channels in blocks of kLanes.
struct Rows {
  const float* data;
  int64_t group, pitch, block;
};

// sums[kOuterRows][VECTORS] += in^T * grad, over counts[g] rows of each group. If FETCH, what lies behind the rows, in
// Winograd's layout those of the next position, is fetched into the first cache.
template <int64_t VECTORS, bool FETCH>
inline void add_outer(
    const Rows& in, const Rows& grad, const int64_t* counts, int64_t groups, int64_t channels, float* out) {
  vfloat sums[kOuterRows][VECTORS];
#pragma GCC unroll 8
  for (int64_t i = 0; i < kOuterRows; ++i) {
#pragma GCC unroll 2
    for (int64_t v = 0; v < VECTORS; ++v) sums[i][v] = load<vfloat>(out + i * channels + v * kLanes);
  }
  for (int64_t g = 0; g < groups; ++g) {
    const float *left = in.data + g * in.group, *right = grad.data + g * grad.group;
    for (int64_t row = 0; row < counts[g]; ++row, left += in.pitch, right += grad.pitch) {
      vfloat factor[VECTORS];
#pragma GCC unroll 2
      for (int64_t v = 0; v < VECTORS; ++v) {
        factor[v] = load<vfloat>(right + v * grad.block);
        if (FETCH) __builtin_prefetch(right + v * grad.block + kLanes);
      }
      if (FETCH) __builtin_prefetch(left + kLanes);
#pragma GCC unroll 8
      for (int64_t i = 0; i < kOuterRows; ++i) {
        const vfloat value = broadcast(left[i]);
#pragma GCC unroll 2
        for (int64_t v = 0; v < VECTORS; ++v) sums[i][v] += value * factor[v];
      }
    }
  }
#pragma GCC unroll 8
  for (int64_t i = 0; i < kOuterRows; ++i) {
#pragma GCC unroll 2
    for (int64_t v = 0; v < VECTORS; ++v) store(out + i * channels + v * kLanes, sums[i][v]);
  }
}

// out (channels, channels) += in^T * grad.
template <bool FETCH>
inline void add_outer_product(
    Rows in, const Rows& grad, const int64_t* counts, int64_t groups, int64_t channels, float* out) {
  for (int64_t block = 0; block < channels; block += kLanes, in.data += in.block) {
    for (int64_t i = 0; i < kLanes; i += kOuterRows) {
      const Rows left = {in.data + i, in.group, in.pitch, in.block};
      Rows right = grad;
      float* to = out + (block + i) * channels;
      int64_t c = 0;
      for (; c + 2 * kLanes <= channels; c += 2 * kLanes, right.data += 2 * right.block) {
        (FETCH && i == 0 ? add_outer<2, FETCH> : add_outer<2, false>)(left, right, counts, groups, channels, to + c);
      }
      if (c < channels) add_outer<1, false>(left, right, counts, groups, channels, to + c);
    }
  }
}

// One axis of a tile's gradient, to the positions 0, +a, -a, ..., infinity: the transpose of transform_products.
template <int64_t POINTS>
inline __attribute__((always_inline)) void transform_gradient(const vfloat (&in)[kTile], vfloat (&out)[POINTS]) {
  out[0] = in[0];
  out[POINTS - 1] = in[kTile - 1];
#pragma GCC unroll 3
  for (int64_t m = 0; m < POINTS / 2 - 1; ++m) {
    const float a = static_cast<float>(kMagnitudes<POINTS>[m]);
    const vfloat even = in[0] + a * a * in[2], odd = a * (in[1] + a * a * in[3]);
    out[1 + 2 * m] = even + odd;
    out[2 + 2 * m] = even - odd;
  }
}

template <int64_t POINTS>
class WeightGradientRunner {
 public:
  explicit WeightGradientRunner(const ConvWeightGradient& problem)
      : p_(problem),
        group_values_(problem.channels / kLanes * kBlockValues<POINTS>),
        memory_(2 * kBatchGroups * group_values_ + (kWaiting * POINTS + kGroupColumns) * problem.channels + kAlignment) {
    const auto address = reinterpret_cast<uintptr_t>(memory_.data()) / sizeof(float);
    patches_ = memory_.data() + (kAlignment - address % kAlignment) % kAlignment;
    grads_ = patches_ + kBatchGroups * group_values_;
    waiting_ = grads_ + kBatchGroups * group_values_;
    zeros_ = waiting_ + kWaiting * POINTS * problem.channels;
  }

  void run(int64_t task) {
    const int64_t part = task % p_.parts, map = task / p_.parts % p_.num_maps, image = task / p_.parts / p_.num_maps;
    sums_ = p_.sums + task * kPositions * p_.channels * p_.channels;
    std::fill(sums_, sums_ + kPositions * p_.channels * p_.channels, 0.0f);
    bias_ = map == 0 ? p_.bias + (image * p_.parts + part) * p_.channels : nullptr;
    if (bias_ != nullptr) std::fill(bias_, bias_ + p_.channels, 0.0);
    const int64_t rows = (p_.height + kTile - 1) / kTile, columns = (p_.width + kTile - 1) / kTile;
    const int64_t groups = (columns + kGroupTiles - 1) / kGroupTiles;
    int64_t waiting = 0;
    for (int64_t row = rows * part / p_.parts; row < rows * (part + 1) / p_.parts; ++row) {
      for (int64_t group = 0; group < groups; ++group) {
        const int64_t first = columns * group / groups, tiles = columns * (group + 1) / groups - first;
        const int64_t top = row * kTile, left = first * kTile;
        transform_patches<POINTS>(
            patches_at<POINTS>(
                p_.maps[map], p_.offset, zeros_, image, p_.height, p_.width, p_.channels, top - kHalo, left - kHalo,
                tiles),
            p_.channels, tiles, waiting_, patches_ + waiting * group_values_);
        transform_gradients(image, top, left, tiles, grads_ + waiting * group_values_);
        counts_[waiting++] = tiles;
        if (waiting == kBatchGroups) add(std::exchange(waiting, 0));
      }
    }
    add(waiting);
  }

 private:
  static constexpr int64_t kHalo = (POINTS - kTile) / 2, kPositions = POINTS * POINTS;
  static constexpr int64_t kGroupColumns = kGroupTiles * kTile + 2 * kHalo;
  static constexpr int64_t kAlignment = 16;  // floats of a cache line

  void transform_gradients(int64_t image, int64_t top, int64_t left, int64_t tiles, float* out) {
    const int64_t pitch = p_.width * p_.channels;
    for (int64_t c = 0; c < p_.channels; c += kLanes) {
      vfloat total = {};
      for (int64_t t = 0; t < tiles; ++t) {
        const int64_t x = left + t * kTile;
        const float* from = p_.grad + (image * p_.height + top) * pitch + x * p_.channels + c;
        const bool inside = top + kTile <= p_.height && x + kTile <= p_.width;
        vfloat half[kTile][POINTS];
#pragma GCC unroll 4
        for (int64_t i = 0; i < kTile; ++i) {
          vfloat pixel[kTile];
#pragma GCC unroll 4
          for (int64_t j = 0; j < kTile; ++j) {
            const bool here = inside || (top + i < p_.height && x + j < p_.width);
            pixel[j] = here ? load<vfloat>(from + i * pitch + j * p_.channels) : vfloat{};
            total += pixel[j];
          }
          transform_gradient<POINTS>(pixel, half[i]);
        }
        float* tile = out + c / kLanes * kBlockValues<POINTS> + t * kTileValues<POINTS>;
#pragma GCC unroll 8
        for (int64_t j = 0; j < POINTS; ++j) {
          vfloat column[kTile], transformed[POINTS];
#pragma GCC unroll 4
          for (int64_t i = 0; i < kTile; ++i) column[i] = half[i][j];
          transform_gradient<POINTS>(column, transformed);
#pragma GCC unroll 8
          for (int64_t i = 0; i < POINTS; ++i) store(tile + (i * POINTS + j) * kLanes, transformed[i]);
        }
      }
      if (bias_ == nullptr) continue;
      for (int64_t lane = 0; lane < kLanes; ++lane) bias_[c + lane] += total[lane];
    }
  }

  void add(int64_t groups) {
    float* to = sums_;
    for (int64_t position = 0; position < kPositions; ++position, to += p_.channels * p_.channels) {
      const Rows in = {patches_ + position * kLanes, group_values_, kTileValues<POINTS>, kBlockValues<POINTS>};
      const Rows grad = {grads_ + position * kLanes, group_values_, kTileValues<POINTS>, kBlockValues<POINTS>};
      add_outer_product<true>(in, grad, counts_, groups, p_.channels, to);
    }
  }

  const ConvWeightGradient& p_;
  const int64_t group_values_;
  std::vector<float> memory_;
  float *patches_, *grads_, *waiting_, *zeros_, *sums_ = nullptr;
  double* bias_ = nullptr;
  int64_t counts_[kBatchGroups] = {};
};

inline void conv_weight_gradient(const ConvWeightGradient& problem, int64_t begin, int64_t end) {
  if (problem.kernel == 3) {
    WeightGradientRunner<6> runner(problem);
    for (int64_t task = begin; task < end; ++task) runner.run(task);
  } else {
    WeightGradientRunner<8> runner(problem);
    for (int64_t task = begin; task < end; ++task) runner.run(task);
  }
}

// The transpose of transform_kernel, in float64.
template <int64_t POINTS>
void finish_weight_gradient_of(const ConvWeightGradient& p, int64_t task, float* out) {
  constexpr int64_t KERNEL = POINTS - kTile + 1;
  const KernelTable<POINTS> table;
  const int64_t square = p.channels * p.channels;
  for (int64_t place = 0; place < square; place += kDoubles) {
    vdouble half[KERNEL][POINTS] = {};
    for (int64_t j = 0; j < POINTS; ++j) {
#pragma GCC unroll 8
      for (int64_t i = 0; i < POINTS; ++i) {
        vdouble sum = {};
        for (int64_t part = 0; part < p.parts; ++part) {
          sum += load_doubles(p.sums + ((task * p.parts + part) * POINTS * POINTS + i * POINTS + j) * square + place);
        }
#pragma GCC unroll 5
        for (int64_t y = 0; y < KERNEL; ++y) half[y][j] += table.values[i][y] * sum;
      }
    }
#pragma GCC unroll 5
    for (int64_t y = 0; y < KERNEL; ++y) {
#pragma GCC unroll 5
      for (int64_t x = 0; x < KERNEL; ++x) {
        vdouble sum = {};
#pragma GCC unroll 8
        for (int64_t j = 0; j < POINTS; ++j) sum += table.values[j][x] * half[y][j];
        store(out + (y * KERNEL + x) * square + place, __builtin_convertvector(sum, vhalf));
      }
    }
  }
}

inline void finish_weight_gradient(const ConvWeightGradient& p, float* out, int64_t begin, int64_t end) {
  const int64_t values = p.kernel * p.kernel * p.channels * p.channels;
  for (int64_t task = begin; task < end; ++task) {
    (p.kernel == 3 ? finish_weight_gradient_of<6> : finish_weight_gradient_of<8>)(p, task, out + task * values);
  }
}

constexpr int64_t kChunkPixels = 64;

inline void merge_weight_gradient(const MergeWeightGradient& p, int64_t begin, int64_t end) {
  const int64_t square = p.channels * p.channels;
  int64_t runs = 0;
  for (int64_t n = 0; n < p.num_grads; ++n) runs += p.end[n] - p.first[n];
  for (int64_t part = begin; part < end; ++part) {
    float* sums = p.sums + part * runs * square;
    double* bias = p.bias + part * p.num_grads * p.channels;
    std::fill(sums, sums + runs * square, 0.0f);
    std::fill(bias, bias + p.num_grads * p.channels, 0.0);
    const int64_t last = p.pixels * (part + 1) / p.parts;
    for (int64_t pixel = p.pixels * part / p.parts; pixel < last; pixel += kChunkPixels) {
      const int64_t count = std::min(kChunkPixels, last - pixel);
      float* to = sums;
      for (int64_t n = 0; n < p.num_grads; ++n) {
        const Rows grad = {p.grads[n] + pixel * p.channels, 0, p.channels, kLanes};
        for (int64_t map = p.first[n]; map < p.end[n]; ++map, to += square) {
          const Rows in = {p.maps[map] + pixel * p.channels, 0, p.channels, kLanes};
          add_outer_product<false>(in, grad, &count, 1, p.channels, to);
        }
        for (int64_t c = 0; c < p.channels; c += kLanes) {
          vfloat total = {};
          for (int64_t row = 0; row < count; ++row) total += load<vfloat>(grad.data + row * p.channels + c);
          for (int64_t lane = 0; lane < kLanes; ++lane) bias[n * p.channels + c + lane] += total[lane];
        }
      }
    }
  }
}
