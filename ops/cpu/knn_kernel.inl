// Body of knn_search, see knn_kernel.h. Included inside the namespace of one instruction set, after vector.h.

constexpr int64_t kQueries = 8;  // whose codes lie side by side: one run of queries in a grid row

#if MSGNN_BYTE_PRODUCTS
constexpr int64_t kCodesPerWord = 4;  // signed bytes
typedef vint Products;
constexpr int64_t kQueriesAtOnce = 8, kVectorsAtOnce = 3;
#else
constexpr int64_t kCodesPerWord = 1;  // a float
typedef vfloat Products;
constexpr int64_t kQueriesAtOnce = MSGNN_VECTOR_BYTES == 64 ? 8 : 4, kVectorsAtOnce = MSGNN_VECTOR_BYTES == 16 ? 2 : 3;
#endif
constexpr int64_t kColumnsAtOnce = kVectorsAtOnce * kLanes;

// What is known of a coded patch: the patch is scale * n + (something of norm `error` at most); norm = |scale * n|^2.
struct Code {
  float scale;
  float norm;
  float error;
};

// Per-thread buffers of one tile.
template <typename T>
struct Coder {
  const KnnProblem<T>& problem;
  int64_t values, words;
  float levels, slack;
  std::vector<float> mean;       // of one run of a patch
  std::vector<float> centred;    // patch, shifted and scaled
  std::vector<uint32_t> packed;  // its code

  explicit Coder(const KnnProblem<T>& p)
      : problem(p),
        values(p.query.patch_values()),
        words((values + kCodesPerWord - 1) / kCodesPerWord),
        levels(127),
        // Relative to the norms: rounding of a product of `values` terms (none with integers), and of what follows it.
        slack(((kCodesPerWord == 1 ? 1.2f * static_cast<float>(values) : 0.0f) + 40) * 0x1p-24f),
        mean(p.query.run()),
        centred(words * kCodesPerWord),
        packed(words) {
    for (int64_t i = 0; i < p.query.run(); ++i) mean[i] = p.mean[i % p.query.channels];
    // (n + 128) * n' summed over a patch must stay below 2^31.
    while ((levels + 128) * levels * static_cast<double>(values) >= 0x1p31) --levels;
  }

  // Codes `patch` into `packed`.
  Code encode(const T* patch, int64_t row_pitch) {
    const int64_t run = problem.query.run(), height = problem.query.patch_size;
    const T gain = static_cast<T>(problem.gain);
    float* out = centred.data();
    float largest = 0;
    for (int64_t row = 0; row < height; ++row) {
      const T* from = patch + row * row_pitch;
      for (int64_t i = 0; i < run; ++i) out[row * run + i] = static_cast<float>(from[i] * gain - mean[i]);
    }
    float square[16] = {}, high[16] = {};
    for (int64_t i = 0; i < values; i += 16) {
      const int64_t count = minimum(16, values - i);
      if (count == 16) {
        for (int64_t lane = 0; lane < 16; ++lane) {
          const float value = out[i + lane];
          square[lane] += value * value;
          high[lane] = std::fabs(value) > high[lane] ? std::fabs(value) : high[lane];
        }
      } else {
        for (int64_t lane = 0; lane < count; ++lane) {
          const float value = out[i + lane];
          square[lane] += value * value;
          high[lane] = std::fabs(value) > high[lane] ? std::fabs(value) : high[lane];
        }
      }
    }
    float energy = 0;
    for (int64_t lane = 0; lane < 16; ++lane) {
      energy += square[lane];
      largest = high[lane] > largest ? high[lane] : largest;
    }
    if (!std::isfinite(energy)) return not_coded(patch, row_pitch);
    const Code code = quantize(largest, energy);
    // Rounding of the shift, and room for what is too small for float32.
    return {code.scale, code.norm * (1 - slack), (code.error + 0x1p-22f * std::sqrt(energy)) * (1 + 0x1p-10f) + 1e-18f};
  }

  // A patch that holds NaN or infinity is infinitely far from all; one too large for float32 tells nothing.
  Code not_coded(const T* patch, int64_t row_pitch) {
    std::fill(packed.begin(), packed.end(), kCodesPerWord == 4 ? kMiddle : 0u);
    for (int64_t row = 0; row < problem.query.patch_size; ++row) {
      for (int64_t i = 0; i < problem.query.run(); ++i) {
        if (!std::isfinite(patch[row * row_pitch + i])) return {0, std::numeric_limits<float>::infinity(), 0};
      }
    }
    return {0, -std::numeric_limits<float>::max(), 0};
  }

  static constexpr uint32_t kMiddle = 0x80808080u;  // four zeros, as unsigned bytes shifted by 128

#if MSGNN_BYTE_PRODUCTS
  Code quantize(float largest, float) {
    // Adding 1.5 * 2^23 rounds to the nearest integer, which the low bits then hold.
    constexpr float rounder = 12582912.0f;
    const float inverse = largest > 1e-30f ? levels / largest : 0, scale = largest > 1e-30f ? largest / levels : 0;
    uint8_t* bytes = reinterpret_cast<uint8_t*>(packed.data());
    float lost[16] = {};
    int32_t energy = 0;
    std::fill(centred.begin() + values, centred.end(), 0.0f);
    int64_t i = 0;
    for (; i + 16 <= words * 4; i += 16) {
      for (int64_t lane = 0; lane < 16; ++lane) {
        const float value = centred[i + lane], integer = (value * inverse + rounder) - rounder;
        const float rest = value - scale * integer;
        lost[lane] += rest * rest;
        const int32_t n = static_cast<int32_t>(integer);
        energy += n * n;
        bytes[i + lane] = static_cast<uint8_t>(n + 128);
      }
    }
    for (; i < words * 4; ++i) {
      const float value = centred[i], integer = (value * inverse + rounder) - rounder;
      const float rest = value - scale * integer;
      lost[i % 16] += rest * rest;
      const int32_t n = static_cast<int32_t>(integer);
      energy += n * n;
      bytes[i] = static_cast<uint8_t>(n + 128);
    }
    float error = 0;
    for (float part : lost) error += part;
    return {scale, scale * scale * static_cast<float>(energy), std::sqrt(error)};
  }
#else
  Code quantize(float, float energy) {
    std::memcpy(packed.data(), centred.data(), values * sizeof(float));
    return {1, energy, 0};
  }
#endif
};

// Products of kQueriesAtOnce coded queries with VECTORS vectors of coded candidates.
template <int64_t VECTORS>
void products(
    const uint32_t* queries, const uint32_t* candidates, int64_t words, int64_t pitch, const int32_t* start,
    uint32_t* out) {
  Products sums[kQueriesAtOnce][VECTORS];
#pragma GCC unroll 8
  for (int64_t q = 0; q < kQueriesAtOnce; ++q) {
#pragma GCC unroll 3
    for (int64_t v = 0; v < VECTORS; ++v) {
#if MSGNN_BYTE_PRODUCTS
      sums[q][v] = start[q] - Products{};
#else
      sums[q][v] = Products{};
#endif
    }
  }
  for (int64_t word = 0; word < words; ++word) {
    Products candidate[VECTORS];
#pragma GCC unroll 3
    for (int64_t v = 0; v < VECTORS; ++v) candidate[v] = load<Products>(candidates + word * pitch + v * kLanes);
#pragma GCC unroll 8
    for (int64_t q = 0; q < kQueriesAtOnce; ++q) {
#if MSGNN_BYTE_PRODUCTS
      const __m512i query = _mm512_set1_epi32(static_cast<int32_t>(queries[word * kQueries + q]));
#else
      float value;
      std::memcpy(&value, queries + word * kQueries + q, sizeof(float));
      const vfloat query = broadcast(value);
#endif
#pragma GCC unroll 3
      for (int64_t v = 0; v < VECTORS; ++v) {
#if MSGNN_BYTE_PRODUCTS
        sums[q][v] = (Products)_mm512_dpbusd_epi32((__m512i)sums[q][v], (__m512i)candidate[v], query);
#else
        sums[q][v] += query * candidate[v];
#endif
      }
    }
  }
#pragma GCC unroll 8
  for (int64_t q = 0; q < kQueriesAtOnce; ++q) {
#pragma GCC unroll 3
    for (int64_t v = 0; v < VECTORS; ++v) store(out + q * kColumnsAtOnce + v * kLanes, sums[q][v]);
  }
}

template <typename T>
double exact_distance(const T* a, int64_t a_pitch, const T* b, int64_t b_pitch, int64_t run, int64_t height) {
  double sums[16] = {};
  for (int64_t row = 0; row < height; ++row, a += a_pitch, b += b_pitch) {
    int64_t i = 0;
    for (; i + 16 <= run; i += 16) {
      for (int64_t lane = 0; lane < 16; ++lane) {
        const double difference = static_cast<double>(a[i + lane]) - static_cast<double>(b[i + lane]);
        sums[lane] += difference * difference;
      }
    }
    for (; i < run; ++i) {
      const double difference = static_cast<double>(a[i]) - static_cast<double>(b[i]);
      sums[i % 16] += difference * difference;
    }
  }
  for (int64_t half = 8; half > 0; half /= 2) {
    for (int64_t lane = 0; lane < half; ++lane) sums[lane] += sums[lane + half];
  }
  return std::isnan(sums[0]) ? std::numeric_limits<double>::infinity() : sums[0];
}

inline float quick_distance(
    const float* a, int64_t a_pitch, const float* b, int64_t b_pitch, int64_t run, int64_t height) {
  vfloat sums[4] = {};
  float rest = 0;
  for (int64_t row = 0; row < height; ++row, a += a_pitch, b += b_pitch) {
    int64_t i = 0;
    for (; i + 4 * kLanes <= run; i += 4 * kLanes) {
#pragma GCC unroll 4
      for (int64_t part = 0; part < 4; ++part) {
        const vfloat difference = load<vfloat>(a + i + part * kLanes) - load<vfloat>(b + i + part * kLanes);
        sums[part] += difference * difference;
      }
    }
    for (; i + kLanes <= run; i += kLanes) {
      const vfloat difference = load<vfloat>(a + i) - load<vfloat>(b + i);
      sums[0] += difference * difference;
    }
    for (; i < run; ++i) {
      const float difference = a[i] - b[i];
      rest += difference * difference;
    }
  }
  const vfloat total = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  for (int64_t lane = 0; lane < kLanes; ++lane) rest += total[lane];
  return rest;
}

// A run of queries in one grid row: their codes, windows and nearest candidates so far.
template <typename T>
struct QueryRun {
  int64_t row, column, count;
  std::vector<uint32_t> codes;  // [words][kQueries]
  int32_t start[kQueries] = {};
  float norm[kQueries] = {}, scale[kQueries] = {}, error[kQueries] = {};
  float reach[kQueries] = {};  // k-th best distance so far, in coded units, plus the query's own error
  int64_t top[kQueries], left[kQueries];
  int64_t first_row, end_row, first_column, end_column;  // bounds of all windows
  std::vector<double> best;                              // [kQueries][k], ascending by (distance, index)
  std::vector<int64_t> best_index;
};

template <typename T>
class TileSearch {
 public:
  TileSearch(const KnnProblem<T>& problem, const KnnTile& tile)
      : problem_(problem),
        coder_(problem),
        height_(problem.window ? problem.window : problem.database.rows),
        width_(problem.window ? problem.window : problem.database.columns),
        pitch_(kCandidatesAtOnce + kColumnsAtOnce),
        candidates_(coder_.words * pitch_),
        products_(kQueriesAtOnce * kColumnsAtOnce),
        relative_slack_(static_cast<double>(coder_.values + 16) * 0x1p-23) {
    for (int64_t row = tile.top; row < tile.bottom; ++row) {
      for (int64_t column = tile.left; column < tile.right; column += kQueries) {
        runs_.push_back(start_run(row, column, minimum(kQueries, tile.right - column)));
      }
    }
  }

  void search() {
    int64_t top = problem_.database.rows, bottom = 0, left = problem_.database.columns, right = 0;
    for (const auto& run : runs_) {
      top = minimum(top, run.first_row), bottom = maximum(bottom, run.end_row);
      left = minimum(left, run.first_column), right = maximum(right, run.end_column);
    }
    for (int64_t row = top; row < bottom; ++row) {
      for (int64_t column = left; column < right; column += kCandidatesAtOnce) {
        search_candidates(row, column, minimum(column + kCandidatesAtOnce, right));
      }
    }
    for (const auto& run : runs_) write(run);
  }

 private:
  QueryRun<T> start_run(int64_t row, int64_t column, int64_t count) {
    QueryRun<T> run;
    run.row = row, run.column = column, run.count = count;
    run.codes.assign(coder_.words * kQueries, 0);
    run.best.assign(kQueries * problem_.num_neighbors, std::numeric_limits<double>::infinity());
    run.best_index.assign(kQueries * problem_.num_neighbors, std::numeric_limits<int64_t>::max());
    run.first_row = problem_.database.rows, run.end_row = 0;
    run.first_column = problem_.database.columns, run.end_column = 0;
    for (int64_t q = 0; q < count; ++q) {
      place_window(run, q);
      encode_query(run, q);
      seed(run, q);
    }
    return run;
  }

  void place_window(QueryRun<T>& run, int64_t q) {
    const auto& query = problem_.query;
    const auto& database = problem_.database;
    const int64_t place = run.row * query.columns + run.column + q;
    if (problem_.origin != nullptr) {
      run.top[q] = problem_.origin[2 * place], run.left[q] = problem_.origin[2 * place + 1];
    } else {
      run.top[q] = centred_window(run.row, query.rows, database.rows, height_);
      run.left[q] = centred_window(run.column + q, query.columns, database.columns, width_);
    }
    run.first_row = minimum(run.first_row, run.top[q]);
    run.end_row = maximum(run.end_row, run.top[q] + height_);
    run.first_column = minimum(run.first_column, run.left[q]);
    run.end_column = maximum(run.end_column, run.left[q] + width_);
  }

  void encode_query(QueryRun<T>& run, int64_t q) {
    const Code code = coder_.encode(problem_.query.patch(run.row, run.column + q), problem_.query.row_pitch);
    const bool known = std::isfinite(code.norm) && code.norm >= 0;
    run.scale[q] = -2 * code.scale;
    run.norm[q] = known ? code.norm : 0;
    run.error[q] = known ? code.error : std::numeric_limits<float>::infinity();
    run.reach[q] = std::numeric_limits<float>::infinity();
    for (int64_t word = 0; word < coder_.words; ++word) {
#if MSGNN_BYTE_PRODUCTS
      const uint32_t codes = coder_.packed[word] ^ Coder<T>::kMiddle;  // signed again
      for (int64_t byte = 0; byte < 4; ++byte) run.start[q] -= 128 * static_cast<int8_t>(codes >> (8 * byte));
#else
      const uint32_t codes = coder_.packed[word];
#endif
      run.codes[word * kQueries + q] = codes;
    }
  }

  // Visits as many candidates around the query's own place as are asked for, so that the first bound is a good one.
  void seed(QueryRun<T>& run, int64_t q) {
    const int64_t k = problem_.num_neighbors;
    int64_t side = 1;
    while (side * side < k) ++side;
    const int64_t rows = minimum(side, height_), columns = minimum((k + rows - 1) / rows, width_);
    const int64_t height = maximum(rows, (k + columns - 1) / columns);
    const int64_t own_row = centred_window(run.row, problem_.query.rows, problem_.database.rows, 1);
    const int64_t own_column = centred_window(run.column + q, problem_.query.columns, problem_.database.columns, 1);
    const int64_t top = clamped(own_row - height / 2, run.top[q], run.top[q] + height_ - height);
    const int64_t left = clamped(own_column - columns / 2, run.left[q], run.left[q] + width_ - columns);
    for (int64_t row = top; row < top + height; ++row) {
      for (int64_t column = left; column < left + columns; ++column) visit(run, q, row, column);
    }
  }

  void search_candidates(int64_t row, int64_t first, int64_t end) {
    bool wanted = false;
    for (const auto& run : runs_) wanted |= covers(run, row, first, end);
    if (!wanted) return;
    for (int64_t column = first; column < end; ++column) {
      const Code code = coder_.encode(problem_.database.patch(row, column), problem_.database.row_pitch);
      scale_[column - first] = code.scale, norm_[column - first] = code.norm, error_[column - first] = code.error;
      uint32_t* to = candidates_.data() + (column - first);
      for (int64_t word = 0; word < coder_.words; ++word) to[word * pitch_] = coder_.packed[word];
    }
    for (auto& run : runs_) {
      if (!covers(run, row, first, end)) continue;
      const int64_t stop = minimum(end, run.end_column);
      for (int64_t column = maximum(first, run.first_column); column < stop; column += kColumnsAtOnce) {
        for (int64_t q = 0; q < run.count; q += kQueriesAtOnce) {
          compare(run, q, row, column, column - first, minimum(kColumnsAtOnce, stop - column));
        }
      }
    }
  }

  static bool covers(const QueryRun<T>& run, int64_t row, int64_t first, int64_t end) {
    return run.first_row <= row && row < run.end_row && run.first_column < end && first < run.end_column;
  }

  void compare(QueryRun<T>& run, int64_t q, int64_t row, int64_t column, int64_t offset, int64_t count) {
    const uint32_t* queries = run.codes.data() + q;
    const uint32_t* candidates = candidates_.data() + offset;
    const int64_t vectors = (count + kLanes - 1) / kLanes;
    if (vectors == 1) {
      products<1>(queries, candidates, coder_.words, pitch_, run.start + q, products_.data());
    } else if (vectors == 2) {
      products<2>(queries, candidates, coder_.words, pitch_, run.start + q, products_.data());
    } else {
      products<kVectorsAtOnce>(queries, candidates, coder_.words, pitch_, run.start + q, products_.data());
    }
    const int64_t queries_left = minimum(kQueriesAtOnce, run.count - q);
    for (int64_t i = 0; i < queries_left; ++i) {
      if (row < run.top[q + i] || row >= run.top[q + i] + height_) continue;
      for (int64_t v = 0; v < vectors; ++v) {
        const int64_t lane = v * kLanes;
        uint32_t bits = nearby(run, q + i, products_.data() + i * kColumnsAtOnce + lane, offset + lane);
        if (count - lane < kLanes) bits &= (1u << (count - lane)) - 1;
        for (; bits != 0; bits &= bits - 1) {
          const int64_t candidate = column + lane + __builtin_ctz(bits);
          if (candidate >= run.left[q + i] && candidate < run.left[q + i] + width_) visit(run, q + i, row, candidate);
        }
      }
    }
  }

  // Which of kLanes candidates may be within reach: |d'|^2 - 2 q'd' <= (reach + error)^2 - |q'|^2.
  uint32_t nearby(const QueryRun<T>& run, int64_t q, const uint32_t* product, int64_t offset) const {
#if MSGNN_BYTE_PRODUCTS
    const vfloat value = __builtin_convertvector(load<vint>(product), vfloat);
#else
    const vfloat value = load<vfloat>(product);
#endif
    const vfloat scaled = value * load<vfloat>(scale_ + offset);
    const vfloat distance = scaled * broadcast(run.scale[q]) + load<vfloat>(norm_ + offset);
    const vfloat reach = broadcast(run.reach[q]) + load<vfloat>(error_ + offset);
    return not_greater(distance, reach * reach - broadcast(run.norm[q]));
  }

  void visit(QueryRun<T>& run, int64_t q, int64_t row, int64_t column) {
    const int64_t k = problem_.num_neighbors, index = row * problem_.database.columns + column;
    double* best = run.best.data() + q * k;
    int64_t* best_index = run.best_index.data() + q * k;
    const double farthest = best[k - 1];
    if (farthest == 0 && index > best_index[k - 1]) return;
    const auto& query = problem_.query;
    const auto& database = problem_.database;
    const T* a = query.patch(run.row, run.column + q);
    const T* b = database.patch(row, column);
    if constexpr (std::is_same_v<T, float>) {
      const double quick = quick_distance(a, query.row_pitch, b, database.row_pitch, query.run(), query.patch_size);
      // What float32 cannot hold goes on; underflow changes a term by less than 1e-44.
      const double slack = 1e-44 * static_cast<double>(coder_.values);
      if (std::isfinite(quick) && quick * (1 - relative_slack_) - slack > farthest) return;
    }
    const double distance =
        exact_distance(a, query.row_pitch, b, database.row_pitch, query.run(), query.patch_size);
    if (!(distance < farthest || (distance == farthest && index < best_index[k - 1]))) return;
    for (int64_t i = 0; i < k; ++i) {
      if (best_index[i] == index) return;  // a seed, met again
    }
    int64_t place = k - 1;
    for (; place > 0 && (distance < best[place - 1] || (distance == best[place - 1] && index < best_index[place - 1]));
         --place) {
      best[place] = best[place - 1], best_index[place] = best_index[place - 1];
    }
    best[place] = distance, best_index[place] = index;
    const double reach = (std::sqrt(best[k - 1]) * problem_.gain + run.error[q]) * (1 + 0x1p-18);
    run.reach[q] = static_cast<float>(reach);
  }

  void write(const QueryRun<T>& run) const {
    const int64_t k = problem_.num_neighbors;
    const int64_t first = (run.row * problem_.query.columns + run.column) * k;
    for (int64_t i = 0; i < run.count * k; ++i) {
      problem_.index[first + i] = run.best_index[i];
      problem_.distance[first + i] = static_cast<T>(run.best[i]);
    }
  }

  const KnnProblem<T>& problem_;
  Coder<T> coder_;
  const int64_t height_, width_, pitch_;  // of a window; of candidates_ in words
  std::vector<uint32_t> candidates_;      // [words][pitch]
  std::vector<uint32_t> products_;
  const double relative_slack_;
  float scale_[kCandidatesAtOnce + kColumnsAtOnce] = {}, norm_[kCandidatesAtOnce + kColumnsAtOnce] = {},
        error_[kCandidatesAtOnce + kColumnsAtOnce] = {};
  std::vector<QueryRun<T>> runs_;
};

template <typename T>
void knn_search(const KnnProblem<T>& problem, const KnnTile& tile) {
  TileSearch<T>(problem, tile).search();
}

template void knn_search<float>(const KnnProblem<float>&, const KnnTile&);
template void knn_search<double>(const KnnProblem<double>&, const KnnTile&);
