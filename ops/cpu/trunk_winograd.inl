// One tile row of a Winograd convolution: transform patches, multiply position by position, transform back.
// Included inside the namespace of one instruction set.

constexpr int64_t kTile = 4;  // outputs a side

// Interpolation points 0, +-a, +-b, ..., infinity. Among multiples of 1/8 these lose the least to rounding.
template <int64_t POINTS>
inline constexpr double kMagnitudes[1] = {};
template <>
inline constexpr double kMagnitudes<6>[2] = {0.75, 1.5};
template <>
inline constexpr double kMagnitudes<8>[3] = {0.5, 1.0, 2.0};

// Coefficients of the product of (x^2 - m^2) over all magnitudes m, and over all but one, from the highest power down.
template <int64_t POINTS>
struct Polynomials {
  float all[POINTS / 2] = {};
  float others[POINTS / 2 - 1][POINTS / 2] = {};

  constexpr Polynomials() {
    multiply(-1, all);
    for (int64_t m = 0; m < POINTS / 2 - 1; ++m) multiply(m, others[m]);
  }

 private:
  static constexpr void multiply(int64_t skip, float (&out)[POINTS / 2]) {
    double exact[POINTS / 2] = {1};
    for (int64_t m = 0; m < POINTS / 2 - 1; ++m) {
      if (m == skip) continue;
      const double square = kMagnitudes<POINTS>[m] * kMagnitudes<POINTS>[m];
      for (int64_t k = POINTS / 2 - 1; k > 0; --k) exact[k] -= square * exact[k - 1];
    }
    for (int64_t k = 0; k < POINTS / 2; ++k) out[k] = static_cast<float>(exact[k]);
  }
};

// One axis of a patch, to the positions 0, +a, -a, +b, -b, ..., infinity.
template <int64_t POINTS>
inline __attribute__((always_inline)) void transform_patch(const vfloat (&in)[POINTS], vfloat (&out)[POINTS]) {
  constexpr Polynomials<POINTS> polynomials;
  vfloat zero = in[POINTS - 2], infinity = in[POINTS - 1];
#pragma GCC unroll 3
  for (int64_t k = 1; k < POINTS / 2; ++k) {
    zero += polynomials.all[k] * in[POINTS - 2 - 2 * k];
    infinity += polynomials.all[k] * in[POINTS - 1 - 2 * k];
  }
  out[0] = zero;
  out[POINTS - 1] = infinity;
#pragma GCC unroll 3
  for (int64_t m = 0; m < POINTS / 2 - 1; ++m) {
    const float magnitude = static_cast<float>(kMagnitudes<POINTS>[m]);
    vfloat even = in[POINTS - 2], odd = in[POINTS - 3];
#pragma GCC unroll 2
    for (int64_t k = 1; k < POINTS / 2 - 1; ++k) {
      even += polynomials.others[m][k] * in[POINTS - 2 - 2 * k];
      odd += polynomials.others[m][k] * in[POINTS - 3 - 2 * k];
    }
    out[1 + 2 * m] = even + magnitude * odd;
    out[2 + 2 * m] = even - magnitude * odd;
  }
}

// One axis of products, back to kTile outputs.
template <int64_t POINTS>
inline __attribute__((always_inline)) void transform_products(const vfloat (&in)[POINTS], vfloat (&out)[kTile]) {
  vfloat sum[POINTS / 2 - 1], difference[POINTS / 2 - 1];
#pragma GCC unroll 3
  for (int64_t m = 0; m < POINTS / 2 - 1; ++m) {
    sum[m] = in[1 + 2 * m] + in[2 + 2 * m];
    difference[m] = in[1 + 2 * m] - in[2 + 2 * m];
  }
#pragma GCC unroll 4
  for (int64_t power = 0; power < kTile; ++power) {
    vfloat total = power == 0 ? in[0] : power == kTile - 1 ? in[POINTS - 1] : vfloat{};
#pragma GCC unroll 3
    for (int64_t m = 0; m < POINTS / 2 - 1; ++m) {
      float factor = 1;
#pragma GCC unroll 3
      for (int64_t k = 0; k < power; ++k) factor *= static_cast<float>(kMagnitudes<POINTS>[m]);
      total += factor * (power % 2 == 0 ? sum[m] : difference[m]);
    }
    out[power] = total;
  }
}

// Pixels from which a run of tiles in one row is computed.
template <int64_t POINTS>
struct Patches {
  const float* rows[POINTS];         // at the first pixel inside the map
  const float* offset_rows[POINTS];  // added, where has_offset
  bool has_offset;
  int64_t before, inside, after;  // columns; those before and after the map are 0
};

// Transformed patches and products lie as [channel / kLanes][tile][position][channel % kLanes].
constexpr int64_t kGroupTiles = MSGNN_VECTOR_BYTES == 64 ? kRowsAtOnce : 2 * kRowsAtOnce;  // transformed at once
template <int64_t POINTS>
inline constexpr int64_t kTileValues = (POINTS * POINTS + 1) * kLanes;  // odd, so that tiles meet in no cache set
template <int64_t POINTS>
inline constexpr int64_t kBlockValues = kGroupTiles * kTileValues<POINTS>;

// Columns of a patch that wait, transformed vertically, for the horizontal transform: two tiles' worth, used in turn.
constexpr int64_t kWaiting = 2 * kTile;

template <int64_t POINTS, bool ODD>
inline void transform_columns(const float* waiting, float* out) {
  for (int64_t i = 0; i < POINTS; ++i) {
    vfloat pixel[POINTS], transformed[POINTS];
#pragma GCC unroll 8
    for (int64_t j = 0; j < POINTS; ++j) {
      pixel[j] = load<vfloat>(waiting + ((j + (ODD ? kTile : 0)) % kWaiting * POINTS + i) * kLanes);
    }
    transform_patch<POINTS>(pixel, transformed);
#pragma GCC unroll 8
    for (int64_t j = 0; j < POINTS; ++j) store(out + (i * POINTS + j) * kLanes, transformed[j]);
  }
}

// Transforms `tiles` patches; `waiting` holds (channels / kLanes, kWaiting, POINTS, kLanes).
template <int64_t POINTS>
void transform_patches(const Patches<POINTS>& patches, int64_t channels, int64_t tiles, float* waiting, float* out) {
  for (int64_t t = 0; t < tiles; ++t) {
    for (int64_t c = 0; c < channels; c += kLanes) {
      float* mine = waiting + c * kWaiting * POINTS;
      float* tile = out + c / kLanes * kBlockValues<POINTS> + t * kTileValues<POINTS>;
      const int64_t end = t * kTile + POINTS;
      for (int64_t column = t == 0 ? 0 : end - kTile; column < end; ++column) {
        float* to = mine + column % kWaiting * POINTS * kLanes;
        const int64_t x = column - patches.before;
        if (x < 0 || x >= patches.inside) {
          std::fill(to, to + POINTS * kLanes, 0.0f);
          continue;
        }
        const int64_t place = x * channels + c;
        vfloat pixel[POINTS], transformed[POINTS];
#pragma GCC unroll 8
        for (int64_t i = 0; i < POINTS; ++i) pixel[i] = load<vfloat>(patches.rows[i] + place);
        if (patches.has_offset) {
#pragma GCC unroll 8
          for (int64_t i = 0; i < POINTS; ++i) pixel[i] += load<vfloat>(patches.offset_rows[i] + place);
        }
        transform_patch<POINTS>(pixel, transformed);
#pragma GCC unroll 8
        for (int64_t i = 0; i < POINTS; ++i) store(to + i * kLanes, transformed[i]);
      }
      if (t % 2 == 0) {
        transform_columns<POINTS, false>(mine, tile);
      } else {
        transform_columns<POINTS, true>(mine, tile);
      }
    }
  }
}

template <int64_t POINTS, int64_t VECTORS, bool ADD>
struct Product {
  template <int64_t ROWS>
  struct Of {
    static __attribute__((noinline)) void run(const float* in, const float* weight, int64_t channels, float* out) {
      vfloat sums[ROWS][VECTORS];
#pragma GCC unroll 14
      for (int64_t row = 0; row < ROWS; ++row) {
#pragma GCC unroll 2
        for (int64_t v = 0; v < VECTORS; ++v) sums[row][v] = vfloat{};
      }
      accumulate<false>(sums, in, kTileValues<POINTS>, kBlockValues<POINTS>, channels, weight, nullptr);
#pragma GCC unroll 14
      for (int64_t row = 0; row < ROWS; ++row) {
#pragma GCC unroll 2
        for (int64_t v = 0; v < VECTORS; ++v) {
          float* to = out + row * kTileValues<POINTS> + v * kBlockValues<POINTS>;
          store(to, ADD ? load<vfloat>(to) + sums[row][v] : sums[row][v]);
        }
      }
    }
  };
};

// At every position, products[tile] (+)= patches[tile] * weight: a small matrix product each.
template <int64_t POINTS, bool ADD>
void multiply_positions(
    const float* patches, const float* weight, int64_t tiles, int64_t channels, float* products) {
  const int64_t blocks = (tiles + kRowsAtOnce - 1) / kRowsAtOnce;
  for (int64_t position = 0; position < POINTS * POINTS; ++position, weight += channels * channels) {
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t first = tiles * block / blocks, rows = tiles * (block + 1) / blocks - first;
      const float* from = patches + first * kTileValues<POINTS> + position * kLanes;
      float* to = products + first * kTileValues<POINTS> + position * kLanes;
      int64_t c = 0;
      for (; c + 2 * kLanes <= channels; c += 2 * kLanes, to += 2 * kBlockValues<POINTS>) {
        dispatch_rows<Product<POINTS, 2, ADD>::template Of>(rows, from, weight + c, channels, to);
      }
      if (c < channels) dispatch_rows<Product<POINTS, 1, ADD>::template Of>(rows, from, weight + c, channels, to);
    }
  }
}

// Where a run of tiles in one row goes.
struct Outputs {
  float* rows[kTile];            // at the run's first column
  const float* residual[kTile];  // added
  const float* offset[kTile];    // added too, or null
  float negative_slope;
  const float* bias;
  int64_t first_row, end_row, first_column, end_column;  // the part inside the map
};

// What comes of the products: a middle map, which is 0 outside the map, or the result, which is not written there.
enum class Stage { middle, result, active_result, residual_result };

template <int64_t POINTS, Stage STAGE>
void transform_tiles(const float* products, int64_t channels, int64_t tiles, const Outputs& outputs) {
  const bool rows_inside = outputs.first_row <= 0 && outputs.end_row >= kTile;
  const vfloat slope = broadcast(outputs.negative_slope);
  for (int64_t t = 0; t < tiles; ++t) {
    const bool inside =
        rows_inside && t * kTile >= outputs.first_column && (t + 1) * kTile <= outputs.end_column;
    for (int64_t c = 0; c < channels; c += kLanes) {
      const float* tile = products + c / kLanes * kBlockValues<POINTS> + t * kTileValues<POINTS>;
      const vfloat bias = load<vfloat>(outputs.bias + c);
      vfloat half[kTile][POINTS];
#pragma GCC unroll 8
      for (int64_t j = 0; j < POINTS; ++j) {
        vfloat column[POINTS], sums[kTile];
#pragma GCC unroll 8
        for (int64_t i = 0; i < POINTS; ++i) column[i] = load<vfloat>(tile + (i * POINTS + j) * kLanes);
        transform_products<POINTS>(column, sums);
#pragma GCC unroll 4
        for (int64_t i = 0; i < kTile; ++i) half[i][j] = sums[i];
      }
#pragma GCC unroll 4
      for (int64_t i = 0; i < kTile; ++i) {
        vfloat row[kTile];
        transform_products<POINTS>(half[i], row);
#pragma GCC unroll 4
        for (int64_t j = 0; j < kTile; ++j) {
          const int64_t column = t * kTile + j, place = column * channels + c;
          vfloat value = row[j] + bias;
          if (STAGE == Stage::middle || STAGE == Stage::active_result) {
            value = value > vfloat{} ? value : value * slope;
          }
          if (!inside) {
            const bool here = i >= outputs.first_row && i < outputs.end_row && column >= outputs.first_column &&
                              column < outputs.end_column;
            if (!here && STAGE != Stage::middle) continue;
            if (!here) value = vfloat{};
          }
          if (STAGE == Stage::residual_result) {
            vfloat input = load<vfloat>(outputs.residual[i] + place);
            if (outputs.offset[i] != nullptr) input += load<vfloat>(outputs.offset[i] + place);
            value += input;
          }
          store(outputs.rows[i] + place, value);
        }
      }
    }
  }
}

// One axis of a kernel to positions: the kernel as a polynomial at each point, over what Lagrange's formula divides by.
template <int64_t POINTS>
struct KernelTable {
  double values[POINTS][POINTS - kTile + 1] = {};

  KernelTable() {
    const auto point = [](int64_t p) {
      return p == 0 ? 0.0 : (p % 2 == 1 ? 1 : -1) * kMagnitudes<POINTS>[(p - 1) / 2];
    };
    for (int64_t position = 0; position < POINTS - 1; ++position) {
      double denominator = 1, power = 1;
      for (int64_t other = 0; other < POINTS - 1; ++other) {
        if (other != position) denominator *= point(position) - point(other);
      }
      for (double& value : values[position]) {
        value = power / denominator;
        power *= point(position);
      }
    }
    values[POINTS - 1][POINTS - kTile] = 1;
  }
};

// Weights (KERNEL, KERNEL, input, output) to (position, input, output), in float64 until the end.
template <int64_t POINTS>
void transform_kernel(int64_t channels, const float* weight, const float* gate, float* out) {
  constexpr int64_t KERNEL = POINTS - kTile + 1;
  const KernelTable<POINTS> table;
  const int64_t square = channels * channels;
  std::vector<double> row(POINTS * KERNEL * channels);
  for (int64_t input = 0; input < channels; ++input) {
    const double factor = gate != nullptr ? gate[input] : 1;
    for (int64_t i = 0; i < POINTS; ++i) {
      for (int64_t x = 0; x < KERNEL; ++x) {
        double* sum = row.data() + (i * KERNEL + x) * channels;
        std::fill(sum, sum + channels, 0.0);
        for (int64_t y = 0; y < KERNEL; ++y) {
          const float* from = weight + ((y * KERNEL + x) * channels + input) * channels;
          const double share = table.values[i][y] * factor;
          for (int64_t output = 0; output < channels; ++output) sum[output] += share * from[output];
        }
      }
      for (int64_t j = 0; j < POINTS; ++j) {
        float* to = out + (i * POINTS + j) * square + input * channels;
        const double* from = row.data() + i * KERNEL * channels;
        for (int64_t output = 0; output < channels; ++output) {
          double sum = 0;
          for (int64_t x = 0; x < KERNEL; ++x) sum += table.values[j][x] * from[x * channels + output];
          to[output] = static_cast<float>(sum);
        }
      }
    }
  }
}
