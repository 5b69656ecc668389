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

// Turns patches into codes.
template <typename T>
class Coder {
 public:
  const int64_t values, words;
  const float slack;  // relative rounding error of a coded squared distance, of the sum of both norms
  std::vector<uint32_t> packed;  // the last code; bytes are shifted by 128

  Coder(const KnnProblem<T>& problem, const KnnTile& tile)
      : values(problem.query.patch_values()),
        words((values + kCodesPerWord - 1) / kCodesPerWord),
        // Of a product of `values` terms (none with integers), and of the few steps that follow it.
        slack(((kCodesPerWord == 1 ? 1.2f * static_cast<float>(values) : 0.0f) + 40) * 0x1p-24f),
        packed((values + kLanes - 1) / kLanes * kLanes / kCodesPerWord),
        run_(problem.query.run()),
        gain_(static_cast<T>(problem.gain)),
        mean_(run_),
        centred_((values + kLanes - 1) / kLanes * kLanes) {
    find_mean(problem.query, tile);
    // (n + 128) * n' summed over a patch must stay below 2^31.
    while ((levels_ + 128) * levels_ * static_cast<double>(values) >= 0x1p31) --levels_;
  }

  Code encode(const T* patch, int64_t row_pitch) {
    centre(patch, row_pitch);
    vfloat squares = {}, largest = {};
    for (size_t i = 0; i < centred_.size(); i += kLanes) {
      const vfloat value = load<vfloat>(centred_.data() + i), size = value < 0.0f ? -value : value;
      squares += value * value;
      largest = size > largest ? size : largest;
    }
    const float energy = sum(squares);
    if (!std::isfinite(energy)) return not_coded(patch, row_pitch);
    const Code code = quantize(maximum_of(largest), energy);
    // Rounding of the shift, and room for what is too small for float32.
    const float shift = 0x1p-22f * std::sqrt(energy);
    return {code.scale, code.norm * (1 - slack), (code.error + shift) * (1 + 0x1p-10f) + 1e-18f};
  }

  static constexpr uint32_t kZeroBytes = 0x80808080u;

 private:
  // Distances do not depend on a common shift, but codes do: without what the tile's patches have in common, those like
  // them get small and therefore fine codes.
  void find_mean(const PatchMap<const T>& query, const KnnTile& tile) {
    const int64_t channels = query.channels, middle = query.patch_size / 2;
    const double count = static_cast<double>((tile.bottom - tile.top) * (tile.right - tile.left));
    for (int64_t row = tile.top; row < tile.bottom; ++row) {
      for (int64_t column = tile.left; column < tile.right; ++column) {
        const T* pixel = query.patch(row, column) + middle * (query.row_pitch + channels);
        for (int64_t channel = 0; channel < channels; ++channel) {
          const float share = static_cast<float>(pixel[channel] * gain_ / count);
          mean_[channel] += std::isfinite(share) ? share : 0;
        }
      }
    }
    for (int64_t i = channels; i < run_; ++i) mean_[i] = mean_[i - channels];
  }

  void centre(const T* patch, int64_t row_pitch) {
    float* out = centred_.data();
    for (int64_t row = 0; row * run_ < values; ++row, patch += row_pitch, out += run_) {
      int64_t i = 0;
      if constexpr (std::is_same_v<T, float>) {
        for (; i + kLanes <= run_; i += kLanes) {
          store(out + i, load<vfloat>(patch + i) * broadcast(gain_) - load<vfloat>(mean_.data() + i));
        }
      }
      for (; i < run_; ++i) out[i] = static_cast<float>(patch[i] * gain_ - mean_[i]);
    }
  }

  // A patch that holds NaN or infinity is infinitely far from all; one too large for float32 tells nothing.
  Code not_coded(const T* patch, int64_t row_pitch) {
    std::fill(packed.begin(), packed.end(), kCodesPerWord == 4 ? kZeroBytes : 0u);
    for (int64_t row = 0; row * run_ < values; ++row) {
      for (int64_t i = 0; i < run_; ++i) {
        if (!std::isfinite(patch[row * row_pitch + i])) return {0, std::numeric_limits<float>::infinity(), 0};
      }
    }
    return {0, -std::numeric_limits<float>::max(), 0};
  }

#if MSGNN_BYTE_PRODUCTS
  Code quantize(float largest, float) {
    const float inverse = largest > 1e-30f ? levels_ / largest : 0, scale = largest > 1e-30f ? largest / levels_ : 0;
    uint8_t* bytes = reinterpret_cast<uint8_t*>(packed.data());
    vfloat lost = {}, squares = {};
    for (size_t i = 0; i < centred_.size(); i += kLanes) {
      const vfloat value = load<vfloat>(centred_.data() + i);
      const __m512i n = _mm512_cvtps_epi32((__m512)(value * broadcast(inverse)));
      const vfloat integer = (vfloat)_mm512_cvtepi32_ps(n), rest = value - integer * broadcast(scale);
      lost += rest * rest;
      squares += integer * integer;
      const __m128i narrow = _mm512_cvtepi32_epi8(_mm512_add_epi32(n, _mm512_set1_epi32(128)));
      std::memcpy(bytes + i, &narrow, 16);
    }
    return {scale, scale * scale * sum(squares), std::sqrt(sum(lost))};
  }
#else
  Code quantize(float, float energy) {
    std::memcpy(packed.data(), centred_.data(), values * sizeof(float));
    return {1, energy, 0};
  }
#endif

  static float maximum_of(vfloat values) {
    float largest = 0;
    for (int64_t lane = 0; lane < kLanes; ++lane) largest = values[lane] > largest ? values[lane] : largest;
    return largest;
  }

  const int64_t run_;
  const T gain_;
  float levels_ = 127;
  std::vector<float> mean_;     // of one run of a patch
  std::vector<float> centred_;  // patch, shifted and scaled
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
  vdouble sums[4] = {};
  double rest = 0;
  for (int64_t row = 0; row < height; ++row, a += a_pitch, b += b_pitch) {
    int64_t i = 0;
    for (; i + 4 * kDoubles <= run; i += 4 * kDoubles) {
#pragma GCC unroll 4
      for (int64_t part = 0; part < 4; ++part) {
        const vdouble difference = load_doubles(a + i + part * kDoubles) - load_doubles(b + i + part * kDoubles);
        sums[part] += difference * difference;
      }
    }
    for (; i < run; ++i) {
      const double difference = static_cast<double>(a[i]) - static_cast<double>(b[i]);
      rest += difference * difference;
    }
  }
  const vdouble total = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  for (int64_t lane = 0; lane < kDoubles; ++lane) rest += total[lane];
  return ranked_distance(rest);
}

inline float quick_distance(
    const float* a, int64_t a_pitch, const float* b, int64_t b_pitch, int64_t run, int64_t height) {
  vfloat sums[2] = {};
  float rest = 0;
  for (int64_t row = 0; row < height; ++row, a += a_pitch, b += b_pitch) {
    int64_t i = 0;
    for (; i + 2 * kLanes <= run; i += 2 * kLanes) {
      const vfloat first = load<vfloat>(a + i) - load<vfloat>(b + i);
      const vfloat second = load<vfloat>(a + i + kLanes) - load<vfloat>(b + i + kLanes);
      sums[0] += first * first;
      sums[1] += second * second;
    }
    for (; i < run; ++i) {
      const float difference = a[i] - b[i];
      rest += difference * difference;
    }
  }
  return rest + sum(sums[0] + sums[1]);
}

// A candidate that the codes could not exclude, and the least distance it may have.
struct Pending {
  int32_t row, column;
  float lower;
};

// A run of queries in one grid row: their codes, windows and nearest candidates so far.
struct QueryRun {
  int64_t row, column, count;
  std::vector<uint32_t> codes;  // [words][kQueries]
  int32_t start[kQueries] = {};
  float norm[kQueries] = {}, scale[kQueries] = {}, error[kQueries] = {};
  float ranked[kQueries] = {};  // distance of the k-th best
  float limit[kQueries] = {};   // k candidates are at most so far
  float reach[kQueries] = {};  // the same and the query's own error
  int64_t top[kQueries], left[kQueries];
  int64_t first_row, end_row, first_column, end_column;  // bounds of all windows
  std::vector<float> upper;                              // [kQueries][k] least upper bounds of distances, ascending
  std::vector<Pending> pending;                          // [kQueries][max_pending], so many of each:
  int64_t num_pending[kQueries] = {};
  std::vector<double> best;  // [kQueries][k] squared distances, ascending by (distance, index)
  std::vector<int64_t> best_index;
};

template <typename T>
class TileSearch {
 public:
  TileSearch(const KnnProblem<T>& problem, const KnnTile& tile)
      : problem_(problem),
        coder_(problem, tile),
        height_(problem.window ? problem.window : problem.database.rows),
        width_(problem.window ? problem.window : problem.database.columns),
        pitch_(kCandidatesAtOnce + kColumnsAtOnce),
        candidates_(coder_.words * pitch_),
        products_(kQueriesAtOnce * kColumnsAtOnce),
        max_pending_(4 * problem.num_neighbors + 16),
        screen_(coder_.values) {
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
    // From the middle outwards: near patches tend to be similar, and a good bound early spares work later.
    const int64_t middle = (top + bottom) / 2;
    for (int64_t step = 0; step < 2 * (bottom - top); ++step) {
      const int64_t row = step % 2 ? middle - 1 - step / 2 : middle + step / 2;
      if (row < top || row >= bottom) continue;
      for (int64_t column = left; column < right; column += kCandidatesAtOnce) {
        search_candidates(row, column, minimum(column + kCandidatesAtOnce, right));
      }
    }
    for (auto& run : runs_) {
      for (int64_t q = 0; q < run.count; ++q) rank_pending(run, q);
      write(run);
    }
  }

 private:
  QueryRun start_run(int64_t row, int64_t column, int64_t count) {
    QueryRun run;
    run.row = row, run.column = column, run.count = count;
    run.codes.assign(coder_.words * kQueries, 0);
    run.upper.assign(kQueries * problem_.num_neighbors, std::numeric_limits<float>::infinity());
    run.pending.resize(kQueries * max_pending_);
    run.best.assign(kQueries * problem_.num_neighbors, std::numeric_limits<double>::infinity());
    run.best_index.assign(kQueries * problem_.num_neighbors, kNoCandidate);
    run.first_row = problem_.database.rows, run.end_row = 0;
    run.first_column = problem_.database.columns, run.end_column = 0;
    for (int64_t q = 0; q < count; ++q) {
      place_window(run, q);
      encode_query(run, q);
    }
    return run;
  }

  void place_window(QueryRun& run, int64_t q) {
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

  void encode_query(QueryRun& run, int64_t q) {
    const Code code = coder_.encode(problem_.query.patch(run.row, run.column + q), problem_.query.row_pitch);
    const bool known = std::isfinite(code.norm) && code.norm >= 0;
    run.scale[q] = -2 * code.scale;
    run.norm[q] = known ? code.norm : 0;
    run.error[q] = known ? code.error : std::numeric_limits<float>::infinity();
    run.ranked[q] = run.limit[q] = run.reach[q] = std::numeric_limits<float>::infinity();
    for (int64_t word = 0; word < coder_.words; ++word) {
#if MSGNN_BYTE_PRODUCTS
      const uint32_t codes = coder_.packed[word] ^ Coder<T>::kZeroBytes;  // signed again
      for (int64_t byte = 0; byte < 4; ++byte) run.start[q] -= 128 * static_cast<int8_t>(codes >> (8 * byte));
#else
      const uint32_t codes = coder_.packed[word];
#endif
      run.codes[word * kQueries + q] = codes;
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

  static bool covers(const QueryRun& run, int64_t row, int64_t first, int64_t end) {
    return run.first_row <= row && row < run.end_row && run.first_column < end && first < run.end_column;
  }

  void compare(QueryRun& run, int64_t q, int64_t row, int64_t column, int64_t offset, int64_t count) {
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
        check(run, q + i, row, column + lane, products_.data() + i * kColumnsAtOnce + lane, offset + lane, count - lane);
      }
    }
  }

  // Takes note of those of kLanes candidates that may be within reach: |d'|^2 - 2 q'd' <= (reach + error)^2 - |q'|^2.
  void check(
      QueryRun& run, int64_t q, int64_t row, int64_t column, const uint32_t* product, int64_t offset, int64_t count) {
#if MSGNN_BYTE_PRODUCTS
    const vfloat value = __builtin_convertvector(load<vint>(product), vfloat);
#else
    const vfloat value = load<vfloat>(product);
#endif
    const vfloat scaled = value * load<vfloat>(scale_ + offset);
    const vfloat distance = scaled * broadcast(run.scale[q]) + load<vfloat>(norm_ + offset);
    const vfloat reach = broadcast(run.reach[q]) + load<vfloat>(error_ + offset);
    uint32_t bits = not_greater(distance, reach * reach - broadcast(run.norm[q]));
    if (count < kLanes) bits &= (1u << count) - 1;
    if (bits == 0) return;
    float distances[kLanes];
    store(distances, distance);
    for (; bits != 0; bits &= bits - 1) {
      const int64_t lane = __builtin_ctz(bits), candidate = column + lane;
      if (candidate < run.left[q] || candidate >= run.left[q] + width_) continue;
      note(run, q, row, candidate, distances[lane] + run.norm[q], norm_[offset + lane], error_[offset + lane]);
    }
  }

  // `squared`: the coded distance, at most 2 * slack * (both norms) below the true one.
  void note(QueryRun& run, int64_t q, int64_t row, int64_t column, float squared, float norm, float error) {
    const int64_t k = problem_.num_neighbors;
    float* upper = run.upper.data() + q * k;
    const float least = squared > 0 ? squared : 0, errors = run.error[q] + error;
    float most = std::sqrt(least + 4 * coder_.slack * (run.norm[q] + norm)) * (1 + 0x1p-20f) + errors;
    // Also where one of the two patches has no code.
    if (!(most >= 0) || norm < 0) most = std::numeric_limits<float>::infinity();
    const float lower = std::sqrt(least) * (1 - 0x1p-20f) - errors;
    run.pending[q * max_pending_ + run.num_pending[q]++] = {static_cast<int32_t>(row), static_cast<int32_t>(column), lower};
    if (most < upper[k - 1]) {
      int64_t place = k - 1;
      for (; place > 0 && most < upper[place - 1]; --place) upper[place] = upper[place - 1];
      upper[place] = most;
      tighten(run, q);
    }
    if (run.num_pending[q] == max_pending_) thin_out(run, q);
  }

  void tighten(QueryRun& run, int64_t q) const {
    const float upper = run.upper[(q + 1) * problem_.num_neighbors - 1];
    run.limit[q] = upper < run.ranked[q] ? upper : run.ranked[q];
    run.reach[q] = (run.limit[q] + run.error[q]) * (1 + 0x1p-18f);
  }

  // Makes room: drops what later candidates have excluded, and ranks the rest if that was not much.
  void thin_out(QueryRun& run, int64_t q) {
    Pending* first = run.pending.data() + q * max_pending_;
    Pending* end = std::remove_if(
        first, first + run.num_pending[q], [&](const Pending& one) { return one.lower > run.limit[q]; });
    run.num_pending[q] = end - first;
    if (2 * run.num_pending[q] > max_pending_) rank_pending(run, q);
  }

  // Nearest bounds first, so that the k-th best is soon what it will be and spares the others.
  void rank_pending(QueryRun& run, int64_t q) {
    Pending* first = run.pending.data() + q * max_pending_;
    Pending* end = first + run.num_pending[q];
    std::sort(first, end, [](const Pending& one, const Pending& other) { return one.lower < other.lower; });
    for (const Pending* one = first; one < end && !(one->lower > run.limit[q]); ++one) prefetch(one->row, one->column);
    for (const Pending* one = first; one < end && !(one->lower > run.limit[q]); ++one) {
      visit(run, q, one->row, one->column);
    }
    run.num_pending[q] = 0;
  }

  void prefetch(int64_t row, int64_t column) const {
    const auto& database = problem_.database;
    const T* from = database.patch(row, column);
    for (int64_t i = 0; i < database.patch_size; ++i, from += database.row_pitch) {
      for (int64_t j = 0; j < database.run(); j += 64 / static_cast<int64_t>(sizeof(T))) __builtin_prefetch(from + j);
    }
  }

  void visit(QueryRun& run, int64_t q, int64_t row, int64_t column) {
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
      if (std::isfinite(farthest)) {
        const float quick = quick_distance(a, query.row_pitch, b, database.row_pitch, query.run(), query.patch_size);
        if (screen_.surely_farther(quick, farthest)) return;
      }
    }
    const double distance =
        exact_distance(a, query.row_pitch, b, database.row_pitch, query.run(), query.patch_size);
    if (!insert_nearest(best, best_index, k, distance, index)) return;
    run.ranked[q] = static_cast<float>(std::sqrt(best[k - 1]) * problem_.gain * (1 + 0x1p-20));
    tighten(run, q);
  }

  void write(const QueryRun& run) const {
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
  const int64_t max_pending_;
  const QuickScreen<float> screen_;
  float scale_[kCandidatesAtOnce + kColumnsAtOnce] = {}, norm_[kCandidatesAtOnce + kColumnsAtOnce] = {},
        error_[kCandidatesAtOnce + kColumnsAtOnce] = {};
  std::vector<QueryRun> runs_;
};

template <typename T>
void knn_search(const KnnProblem<T>& problem, const KnnTile& tile) {
  TileSearch<T>(problem, tile).search();
}

template void knn_search<float>(const KnnProblem<float>&, const KnnTile&);
template void knn_search<double>(const KnnProblem<double>&, const KnnTile&);
