// A 3x3 convolution whose input is an instance norm, made on the way in, and whose output's moments are taken on the way
// out; see trunk_kernels.h. Included inside the namespace of one instruction set.

class NormConvRunner {
 public:
  explicit NormConvRunner(const NormConv& problem)
      : p_(problem),
        row_values_(problem.width * problem.channels),
        group_values_(problem.channels / kLanes * kBlockValues<kPoints>),
        memory_(
            2 * group_values_ + (kWaiting * kPoints + kGroupColumns) * problem.channels +
            (problem.x == nullptr ? kPoints * row_values_ : 0) + kAlignment),
        sums_(4 * problem.channels) {
    const auto address = reinterpret_cast<uintptr_t>(memory_.data()) / sizeof(float);
    patches_ = memory_.data() + (kAlignment - address % kAlignment) % kAlignment;
    products_ = patches_ + group_values_;
    waiting_ = products_ + group_values_;
    zeros_ = waiting_ + kWaiting * kPoints * problem.channels;
    ring_ = zeros_ + kGroupColumns * problem.channels;
  }

  // Of the tile row that a band begins with: the row above it and its first one, before any band writes.
  void prepare(int64_t band, int64_t first) {
    start_image(first / tile_rows());
    const int64_t top = first % tile_rows() * kTile;
    if (top == 0) return;
    for (int64_t i = 0; i < 2; ++i) {
      float* saved = p_.halo + (2 * band + i) * row_values_;
      if (p_.x == nullptr) {
        activate(inner_row(top - 1 + i), saved, 0, p_.width);
      } else if (p_.norm != nullptr) {
        add(inner_row(top - 1 + i), x_row(top - 1 + i), 0, p_.width);
      }
    }
  }

  // Tile rows [begin, end) of all images.
  void run(int64_t band, int64_t begin, int64_t end) {
    const int64_t rows = tile_rows();
    for (int64_t task = begin; task < end; ++task) {
      const int64_t top = task % rows * kTile;
      if (task == begin || top == 0) {
        start_image(task / rows);
        next_ = 0;
        limit_ = std::min(p_.height, (end - image_ * rows) * kTile);
        if (top > 0) next_ = top + 1;
        if (top > 0 && p_.x == nullptr) {
          for (int64_t i = 0; i < 2; ++i) copy(p_.halo + (2 * band + i) * row_values_, ring_row(top - 1 + i));
        }
      }
      // The next band has kept its first row before it wrote over it.
      if (p_.x == nullptr && limit_ < p_.height && top + kTile == limit_) {
        copy(p_.halo + (2 * band + 3) * row_values_, ring_row(limit_));
      }
      tile_row(top, p_.moments + task * 2 * p_.channels);
    }
  }

 private:
  static constexpr int64_t kPoints = 6;
  static constexpr int64_t kGroupColumns = kGroupTiles * kTile + 2;
  static constexpr int64_t kAlignment = 16;  // floats of a cache line

  int64_t tile_rows() const { return (p_.height + kTile - 1) / kTile; }
  float* inner_row(int64_t row) const { return p_.inner + (image_ * p_.height + row) * row_values_; }
  float* x_row(int64_t row) const { return p_.x + (image_ * p_.height + row) * row_values_; }
  float* ring_row(int64_t row) const { return ring_ + row % kPoints * row_values_; }
  void copy(const float* from, float* to) const { std::copy(from, from + row_values_, to); }

  void start_image(int64_t image) {
    image_ = image;
    norm_ = p_.norm != nullptr ? p_.norm + image * 3 * p_.channels : nullptr;
  }

  // (value - centre) * scale + shift: near a mean far from 0 the difference loses nothing.
  vfloat normalise(const float* from, int64_t c) const {
    return (load<vfloat>(from) - load<vfloat>(norm_ + c)) * load<vfloat>(norm_ + p_.channels + c) +
           load<vfloat>(norm_ + 2 * p_.channels + c);
  }

  void activate(const float* from, float* to, int64_t first, int64_t end) const {
    for (int64_t at = first * p_.channels; at < end * p_.channels; at += p_.channels) {
      for (int64_t c = 0; c < p_.channels; c += kLanes) {
        const vfloat value = normalise(from + at + c, c);
        store(to + at + c, value < vfloat{} ? vfloat{} : value);  // NaN stays
      }
    }
  }

  void add(const float* from, float* to, int64_t first, int64_t end) const {
    for (int64_t at = first * p_.channels; at < end * p_.channels; at += p_.channels) {
      for (int64_t c = 0; c < p_.channels; c += kLanes) {
        store(to + at + c, load<vfloat>(to + at + c) + normalise(from + at + c, c));
      }
    }
  }

  void tile_row(int64_t top, double* moments) {
    const int64_t num_tiles = (p_.width + kTile - 1) / kTile, groups = (num_tiles + kGroupTiles - 1) / kGroupTiles;
    // Of x the rows on both sides of the next band's border are ready.
    const int64_t last = p_.x != nullptr && limit_ < p_.height ? limit_ - 1 : limit_;
    const int64_t needed = std::min(last, top + kTile + 1);
    int64_t columns_made = 0, count = 0;
    std::fill(moments, moments + 2 * p_.channels, 0.0);
    for (int64_t group = 0; group < groups; ++group) {
      const int64_t first = num_tiles * group / groups, tiles = num_tiles * (group + 1) / groups - first;
      const int64_t left = first * kTile, right = std::min(p_.width, left + tiles * kTile);
      // What this group reads that no earlier one did; all of it is read before anything is written over it.
      const int64_t columns_needed = std::min(p_.width, right + 1);
      for (int64_t row = next_; row < needed; ++row) {
        if (p_.x == nullptr) {
          activate(inner_row(row), ring_row(row), columns_made, columns_needed);
        } else if (norm_ != nullptr) {
          add(inner_row(row), x_row(row), columns_made, columns_needed);
        }
      }
      columns_made = columns_needed;
      transform_patches<kPoints>(patches_at(top - 1, left - 1, tiles), p_.channels, tiles, waiting_, patches_);
      multiply_positions<kPoints, false>(patches_, p_.weight, tiles, p_.channels, products_);
      finish(top, left, tiles);
      take_moments(top, left, right, count, moments);
    }
    next_ = std::max(next_, needed);
  }

  Patches<kPoints> patches_at(int64_t top, int64_t left, int64_t tiles) const {
    Patches<kPoints> patches = {};
    const int64_t columns = tiles * kTile + kPoints - kTile;
    patches.before = std::min(columns, std::max<int64_t>(0, -left));
    patches.after = std::min(columns - patches.before, std::max<int64_t>(0, left + columns - p_.width));
    patches.inside = columns - patches.before - patches.after;
    for (int64_t i = 0; i < kPoints; ++i) {
      const int64_t row = top + i;
      const bool inside = row >= 0 && row < p_.height;
      const float* from = !inside ? zeros_ : p_.x == nullptr ? ring_row(row) : x_row(row);
      patches.rows[i] = inside ? from + (left + patches.before) * p_.channels : from;
    }
    return patches;
  }

  void finish(int64_t top, int64_t left, int64_t tiles) {
    Outputs outputs = {};
    outputs.bias = p_.bias;
    outputs.end_row = p_.height - top;
    outputs.end_column = p_.width - left;
    const int64_t rows = std::min(kTile, p_.height - top);
    for (int64_t i = 0; i < rows; ++i) outputs.rows[i] = inner_row(top + i) + left * p_.channels;
    transform_tiles<kPoints, Stage::result>(products_, p_.channels, tiles, outputs);
  }

  // Means and sums of squared distances from them, first of the group while it is in the cache, then joined to those
  // of the tile row in float64 (Chan, Golub and LeVeque, 1979).
  void take_moments(int64_t top, int64_t left, int64_t right, int64_t& count, double* moments) {
    const int64_t rows = std::min(kTile, p_.height - top), columns = right - left, more = rows * columns;
    float *means = sums_.data(), *rests = means + p_.channels, *squares = rests + p_.channels;
    for (int64_t c = 0; c < p_.channels; c += kLanes) {
      vfloat total[2] = {};
      for_each(top, left, columns, rows, c, [&](vfloat value, int64_t way) { total[way] += value; });
      const vfloat mean = (total[0] + total[1]) * (1.0f / static_cast<float>(more));
      vfloat rest[2] = {}, square[2] = {};
      for_each(top, left, columns, rows, c, [&](vfloat value, int64_t way) {
        const vfloat difference = value - mean;
        rest[way] += difference;
        square[way] += difference * difference;
      });
      store(means + c, mean);
      store(rests + c, rest[0] + rest[1]);
      store(squares + c, square[0] + square[1]);
    }
    const double own = static_cast<double>(more), before = static_cast<double>(count), all = own + before;
    for (int64_t c = 0; c < p_.channels; ++c) {
      const double rest = rests[c] / own, mean = means[c] + rest;
      const double difference = mean - moments[c];
      moments[c] += difference * (own / all);
      moments[p_.channels + c] += squares[c] - rest * rests[c] + difference * difference * (own * before / all);
    }
    count += more;
  }

  template <typename Take>
  inline __attribute__((always_inline)) void for_each(
      int64_t top, int64_t left, int64_t columns, int64_t rows, int64_t c, Take take) const {
    for (int64_t i = 0; i < rows; ++i) {
      const float* from = inner_row(top + i) + left * p_.channels + c;
      int64_t column = 0;
      for (; column + 2 <= columns; column += 2, from += 2 * p_.channels) {
        take(load<vfloat>(from), 0);
        take(load<vfloat>(from + p_.channels), 1);
      }
      if (column < columns) take(load<vfloat>(from), 0);
    }
  }

  const NormConv& p_;
  const int64_t row_values_, group_values_;
  std::vector<float> memory_, sums_;
  float *patches_, *products_, *waiting_, *zeros_, *ring_;
  const float* norm_ = nullptr;
  int64_t image_ = 0;
  int64_t next_ = 0, limit_ = 0;  // rows of the input that are made, and that this band makes
};

inline void prepare_norm_conv(const NormConv& problem, int64_t band, int64_t first) {
  NormConvRunner(problem).prepare(band, first);
}

inline void norm_conv(const NormConv& problem, int64_t band, int64_t begin, int64_t end) {
  NormConvRunner(problem).run(band, begin, end);
}
