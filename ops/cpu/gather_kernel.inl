// Bodies of the kernels in gather_kernel.h. Included inside the namespace of one instruction set, after vector.h.

typedef double vdouble __attribute__((vector_size(MSGNN_VECTOR_BYTES)));
typedef int64_t vlong __attribute__((vector_size(MSGNN_VECTOR_BYTES)));

template <typename T>
using Vector = std::conditional_t<std::is_same_v<T, float>, vfloat, vdouble>;

inline float absolute(float x) { return std::fabs(x); }
inline double absolute(double x) { return std::fabs(x); }
inline vfloat absolute(vfloat x) { return (vfloat)((vint)x & 0x7fffffff); }
inline vdouble absolute(vdouble x) { return (vdouble)((vlong)x & 0x7fffffffffffffff); }

// -1, 0 or 1; 0 for NaN, as torch.sign.
template <typename T, typename V>
inline V sign(V x) {
  const V zero = {}, one = zero + static_cast<T>(1);
  return (x > zero ? one : zero) - (x < zero ? one : zero);
}

template <typename T>
inline T lanes_sum(Vector<T> x) {
  constexpr int64_t lanes = MSGNN_VECTOR_BYTES / sizeof(T);
  T parts[lanes];
  store(parts, x);
  for (int64_t half = lanes / 2; half > 0; half /= 2) {
    for (int64_t lane = 0; lane < half; ++lane) parts[lane] += parts[lane + half];
  }
  return parts[0];
}

// Calls step(V{}, number of vectors, first value) over `size` values: blocks of vectors that stay in registers, then
// values one by one.
template <typename T, typename Step>
inline void in_blocks(int64_t size, const Step& step) {
  constexpr int64_t lanes = MSGNN_VECTOR_BYTES / sizeof(T);
  int64_t i = 0;
  for (; i + 6 * lanes <= size; i += 6 * lanes) step(Vector<T>{}, std::integral_constant<int64_t, 6>{}, i);
  for (; i + 2 * lanes <= size; i += 2 * lanes) step(Vector<T>{}, std::integral_constant<int64_t, 2>{}, i);
  for (; i + lanes <= size; i += lanes) step(Vector<T>{}, std::integral_constant<int64_t, 1>{}, i);
  for (; i < size; ++i) step(T{}, std::integral_constant<int64_t, 1>{}, i);
}

// Columns of a grid that are made together, row after row: neighbours are mostly close, so what a strip reads stays in
// the caches, and within the reach of the processor's page table buffer, however wide the map is.
constexpr int64_t kStrip = 64;

// Calls visit(number, patch) for every place in the grid rows from `begin` to `end`.
template <typename T, typename Visit>
inline void for_places(const PatchMap<const T>& grid, int64_t begin, int64_t end, const Visit& visit) {
  for (int64_t left = 0; left < grid.columns; left += kStrip) {
    const int64_t right = minimum(left + kStrip, grid.columns);
    for (int64_t row = begin; row < end; ++row) {
      for (int64_t column = left; column < right; ++column) {
        visit(row * grid.columns + column, grid.patch(row, column));
      }
    }
  }
}

template <typename T>
void differences(const PairProblem<T>& problem, int64_t begin, int64_t end) {
  const auto& query = problem.query;
  const auto& database = problem.database;
  const int64_t area = query.patch_size * query.patch_size, channels = query.channels;
  for_places(query, begin, end, [&](int64_t m, const T* asking) {
    for (int64_t pair = m * problem.neighbors; pair < (m + 1) * problem.neighbors; ++pair) {
      const T* answering = database.data + problem.offset[problem.index[pair]];
      T* out = problem.out + pair * area * channels;
      if (area == 1) {
        in_blocks<T>(channels, [&](auto zero, auto count, int64_t first) {
          using V = decltype(zero);
          for (int64_t v = 0; v < count; ++v, first += sizeof(V) / sizeof(T)) {
            store(out + first, load<V>(asking + first) - load<V>(answering + first));
          }
        });
        continue;
      }
      for (int64_t row = 0; row < query.patch_size; ++row) {
        for (int64_t column = 0; column < query.patch_size; ++column, ++out) {
          const T* q = asking + row * query.row_pitch + column * channels;
          const T* d = answering + row * database.row_pitch + column * channels;
          for (int64_t c = 0; c < channels; ++c) out[c * area] = q[c] - d[c];
        }
      }
    }
  });
}

template <typename T>
void absolute_differences(const PairProblem<T>& problem, int64_t begin, int64_t end) {
  const auto& query = problem.query;
  const auto& database = problem.database;
  const int64_t side = query.patch_size, channels = query.channels;
  for_places(query, begin, end, [&](int64_t m, const T* asking) {
    for (int64_t pair = m * problem.neighbors; pair < (m + 1) * problem.neighbors; ++pair) {
      const T* answering = database.data + problem.offset[problem.index[pair]];
      T* out = problem.out + pair * channels;
      in_blocks<T>(channels, [&](auto zero, auto count, int64_t first) {
        using V = decltype(zero);
        constexpr int64_t lanes = sizeof(V) / sizeof(T);
        V sum[count] = {};
        for (int64_t row = 0; row < side; ++row) {
          for (int64_t column = 0; column < side; ++column) {
            const T* q = asking + row * query.row_pitch + column * channels + first;
            const T* d = answering + row * database.row_pitch + column * channels + first;
            for (int64_t v = 0; v < count; ++v) sum[v] += absolute(load<V>(q + v * lanes) - load<V>(d + v * lanes));
          }
        }
        for (int64_t v = 0; v < count; ++v) store(out + first + v * lanes, sum[v]);
      });
    }
  });
}

template <typename T>
void products(const PairProblem<T>& problem, int64_t begin, int64_t end) {
  const auto& query = problem.query;
  const auto& database = problem.database;
  constexpr int64_t lanes = MSGNN_VECTOR_BYTES / sizeof(T);
  const int64_t run = query.run();
  for_places(query, begin, end, [&](int64_t m, const T* asking) {
    for (int64_t pair = m * problem.neighbors; pair < (m + 1) * problem.neighbors; ++pair) {
      const T* answering = database.data + problem.offset[problem.index[pair]];
      Vector<T> sums[2] = {};
      T rest = 0;
      for (int64_t row = 0; row < query.patch_size; ++row) {
        const T* q = asking + row * query.row_pitch;
        const T* d = answering + row * database.row_pitch;
        int64_t i = 0;
        for (; i + 2 * lanes <= run; i += 2 * lanes) {
          sums[0] += load<Vector<T>>(q + i) * load<Vector<T>>(d + i);
          sums[1] += load<Vector<T>>(q + i + lanes) * load<Vector<T>>(d + i + lanes);
        }
        for (; i + lanes <= run; i += lanes) sums[0] += load<Vector<T>>(q + i) * load<Vector<T>>(d + i);
        for (; i < run; ++i) rest += q[i] * d[i];
      }
      problem.out[pair] = lanes_sum<T>(sums[0] + sums[1]) + rest;
    }
  });
}

// Adds to `sum`, `size` values, what `term` yields for each listed pair.
template <typename T, typename Term>
inline void add_terms(T* sum, int64_t size, const Term& term, int64_t begin, int64_t end) {
  in_blocks<T>(size, [&](auto zero, auto count, int64_t first) {
    using V = decltype(zero);
    constexpr int64_t lanes = sizeof(V) / sizeof(T);
    V total[count];
    for (int64_t v = 0; v < count; ++v) total[v] = load<V>(sum + first + v * lanes);
    for (int64_t listed = begin; listed < end; ++listed) {
      const auto pair = term.pair(listed);
      for (int64_t v = 0; v < count; ++v) total[v] += term.template value<V>(pair, first + v * lanes);
    }
    for (int64_t v = 0; v < count; ++v) store(sum + first + v * lanes, total[v]);
  });
}

// Calls add(sum, row of the grid, column of the grid, row of the patch, first and end of the listed pairs) for every
// patch that covers a pixel row, where `sum` is what one row of that patch adds to.
template <typename T, typename Add>
void sum_rows(const MapSum<T>& problem, int64_t begin, int64_t end, const Add& add) {
  const auto& grid = problem.own;
  const int64_t size = grid.patch_size, stride = grid.stride, channels = grid.channels;
  const int64_t top = padding_before(problem.height, size, stride), left = padding_before(problem.width, size, stride);
  const int64_t right = left + problem.width;
  std::vector<T> buffer;
  for (int64_t strip = 0; strip < grid.columns; strip += kStrip) {
    // Pixels of the strip, and those that patches over it reach; all count from the first padded one.
    const int64_t from = maximum(left, strip * stride);
    const int64_t to = strip + kStrip < grid.columns ? minimum(right, (strip + kStrip) * stride) : right;
    if (from >= to) continue;
    const int64_t first_column = covering(from, size, stride, grid.columns).begin;
    const int64_t end_column = covering(to - 1, size, stride, grid.columns).end;
    const int64_t low = minimum(from, first_column * stride);
    const int64_t high = maximum(to, (end_column - 1) * stride + size);
    const bool apart = low < from || to < high;
    if (apart) buffer.resize((high - low) * channels);
    for (int64_t y = begin; y < end; ++y) {
      T* out = problem.out + (y * problem.width + from - left) * channels;
      T* sums = apart ? buffer.data() : out;
      std::fill_n(sums, (high - low) * channels, static_cast<T>(0));
      const Places rows = covering(y + top, size, stride, grid.rows);
      for (int64_t row = rows.begin; row < rows.end; ++row) {
        for (int64_t column = first_column; column < end_column; ++column) {
          const int64_t place = row * grid.columns + column;
          const int64_t first = problem.pairs.begin(place), last = problem.pairs.begin(place + 1);
          if (first == last) continue;
          add(sums + (column * stride - low) * channels, row, column, y + top - row * stride, first, last);
        }
      }
      if (apart) std::memcpy(out, sums + (from - low) * channels, (to - from) * channels * sizeof(T));
    }
  }
}

template <typename T>
struct WeightedPatch {
  const MapSum<T>& problem;
  const T* other;

  struct Pair {
    const T* patch;
    T weight;
  };
  Pair pair(int64_t listed) const {
    return {other + problem.offset[problem.pairs.place[listed]], problem.values[problem.pairs.pair(listed)]};
  }
  template <typename V>
  V value(const Pair& pair, int64_t i) const {
    return pair.weight * load<V>(pair.patch + i);
  }
};

template <typename T>
void add_patches(const MapSum<T>& problem, int64_t begin, int64_t end) {
  sum_rows(problem, begin, end, [&](T* sum, int64_t, int64_t, int64_t patch_row, int64_t first, int64_t last) {
    const WeightedPatch<T> term{problem, problem.other.data + patch_row * problem.other.row_pitch};
    add_terms(sum, problem.own.run(), term, first, last);
  });
}

template <typename T>
struct PixelGradient {
  const MapSum<T>& problem;

  const T* pair(int64_t listed) const { return problem.values + problem.pairs.pair(listed) * problem.own.channels; }
  template <typename V>
  V value(const T* gradient, int64_t i) const {
    return problem.factor * load<V>(gradient + i);
  }
};

template <typename T>
void add_gradients(const MapSum<T>& problem, int64_t begin, int64_t end) {
  const int64_t size = problem.own.patch_size, channels = problem.own.channels;
  sum_rows(problem, begin, end, [&](T* sum, int64_t, int64_t, int64_t patch_row, int64_t first, int64_t last) {
    if (size == 1) {
      add_terms(sum, channels, PixelGradient<T>{problem}, first, last);
      return;
    }
    for (int64_t listed = first; listed < last; ++listed) {
      const T* gradient = problem.values + (problem.pairs.pair(listed) * channels * size + patch_row) * size;
      for (int64_t column = 0; column < size; ++column) {
        for (int64_t c = 0; c < channels; ++c) {
          sum[column * channels + c] += problem.factor * gradient[c * size * size + column];
        }
      }
    }
  });
}

template <typename T>
struct SignedGradient {
  const MapSum<T>& problem;
  const T* own;
  const T* other;

  struct Pair {
    const T* pixel;
    const T* gradient;
  };
  Pair pair(int64_t listed) const {
    return {
        other + problem.offset[problem.pairs.place[listed]],
        problem.values + problem.pairs.pair(listed) * problem.own.channels};
  }
  template <typename V>
  V value(const Pair& pair, int64_t i) const {
    return sign<T>(load<V>(own + i) - load<V>(pair.pixel + i)) * load<V>(pair.gradient + i);
  }
};

template <typename T>
void add_signs(const MapSum<T>& problem, int64_t begin, int64_t end) {
  const auto& own = problem.own;
  sum_rows(
      problem, begin, end,
      [&](T* sum, int64_t row, int64_t column, int64_t patch_row, int64_t first, int64_t last) {
        const T* pixels = own.patch(row, column) + patch_row * own.row_pitch;
        const T* others = problem.other.data + patch_row * problem.other.row_pitch;
        for (int64_t x = 0; x < own.run(); x += own.channels) {
          add_terms(sum + x, own.channels, SignedGradient<T>{problem, pixels + x, others + x}, first, last);
        }
      });
}

template <typename T>
GatherKernels<T> gather_kernels() {
  return {differences<T>, absolute_differences<T>, products<T>, add_patches<T>, add_gradients<T>, add_signs<T>};
}

template GatherKernels<float> gather_kernels<float>();
template GatherKernels<double> gather_kernels<double>();
