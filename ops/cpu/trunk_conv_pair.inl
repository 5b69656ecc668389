// Two convolutions depth-first over strips, see trunk_kernels.h. Included inside the namespace of one instruction set.

constexpr int64_t kColumnTiles = 41;  // widest strip: its middle map and all weights fit a core's cache

// Tiles of the grid, and the strips they are shared in: columns of tiles at most kColumnTiles wide, row by row.
struct StripGrid {
  int64_t rows, columns, blocks;
  explicit StripGrid(const ConvPair& p)
      : rows((p.height + kTile - 1) / kTile),
        columns((p.width + kTile - 1) / kTile),
        blocks((columns + kColumnTiles - 1) / kColumnTiles) {}
  int64_t first_column(int64_t block) const { return columns * block / blocks; }
};

template <int64_t POINTS>
class StripRunner {
 public:
  explicit StripRunner(const ConvPair& problem)
      : p_(problem),
        grid_(problem),
        pitch_(problem.width * problem.channels),
        ring_pitch_((kColumnTiles + 1) * kTile * problem.channels),
        group_values_(kBlockValues<POINTS> / kLanes * problem.channels),
        memory_(
            kRingRows * ring_pitch_ + 2 * group_values_ + (kWaiting * POINTS + kGroupColumns) * problem.channels +
            kAlignment) {
    const auto address = reinterpret_cast<uintptr_t>(memory_.data()) / sizeof(float);
    ring_ = memory_.data() + (kAlignment - address % kAlignment) % kAlignment;
    patches_ = ring_ + kRingRows * ring_pitch_;
    products_ = patches_ + group_values_;
    waiting_ = products_ + group_values_;
    zeros_ = waiting_ + kWaiting * POINTS * problem.channels;
  }

  // Tile rows [first, end) of a block of tile columns.
  void run(int64_t image, int64_t block, int64_t first, int64_t end) {
    image_ = image * p_.height * pitch_;
    weight1_ = p_.weight1 + image * p_.image_weights;
    first_tile_ = grid_.first_column(block);
    end_tile_ = grid_.first_column(block + 1);
    middle_row(first);
    for (int64_t row = first; row < end; ++row) {
      middle_row(row + 1);
      output_row(row);
    }
  }

 private:
  static constexpr int64_t kHalo = (POINTS - kTile) / 2;
  static constexpr int64_t kRingRows = 2 * kTile;
  static constexpr int64_t kGroupColumns = kGroupTiles * kTile + 2 * kHalo;
  static constexpr int64_t kAlignment = 16;  // floats of a cache line

  // Middle rows [kTile * row - kHalo, ... + kTile), into the ring's half that row's parity names. Tile columns likewise.
  void middle_row(int64_t row) {
    const int64_t top = row * kTile - kHalo, num_tiles = end_tile_ - first_tile_ + 1;
    Outputs outputs = {};
    for (int64_t i = 0; i < kTile; ++i) outputs.rows[i] = ring_row(row, i);
    if (top >= p_.height) {
      for (float* to : outputs.rows) std::fill(to, to + num_tiles * kTile * p_.channels, 0.0f);
      return;
    }
    outputs.negative_slope = p_.negative_slope;
    outputs.bias = p_.bias1;
    outputs.first_row = -top;
    outputs.end_row = p_.height - top;
    const int64_t groups = (num_tiles + kGroupTiles - 1) / kGroupTiles;
    for (int64_t group = 0; group < groups; ++group) {
      const int64_t first = num_tiles * group / groups, tiles = num_tiles * (group + 1) / groups - first;
      const int64_t left = (first_tile_ + first) * kTile - kHalo;
      for (int64_t map = 0; map < p_.num_maps; ++map) {
        transform_patches<POINTS>(map_patches(map, top, left, tiles), p_.channels, tiles, waiting_, patches_);
        const float* weight = weight1_ + map * POINTS * POINTS * p_.channels * p_.channels;
        multiply(map > 0, weight, tiles);
      }
      outputs.first_column = -left;
      outputs.end_column = p_.width - left;
      transform_tiles<POINTS, Stage::middle>(products_, p_.channels, tiles, outputs);
      for (float*& to : outputs.rows) to += tiles * kTile * p_.channels;
    }
  }

  void output_row(int64_t row) {
    const int64_t top = row * kTile, num_tiles = end_tile_ - first_tile_;
    const int64_t groups = (num_tiles + kGroupTiles - 1) / kGroupTiles;
    for (int64_t group = 0; group < groups; ++group) {
      const int64_t first = num_tiles * group / groups, tiles = num_tiles * (group + 1) / groups - first;
      const int64_t left = (first_tile_ + first) * kTile;
      Patches<POINTS> patches = {};
      for (int64_t i = 0; i < POINTS; ++i) {
        patches.rows[i] = ring_row(row + i / kTile, i % kTile) + first * kTile * p_.channels;
      }
      patches.inside = tiles * kTile + 2 * kHalo;
      transform_patches<POINTS>(patches, p_.channels, tiles, waiting_, patches_);
      multiply(false, p_.weight2, tiles);
      Outputs outputs = {};
      outputs.negative_slope = p_.negative_slope;
      outputs.bias = p_.bias2;
      outputs.end_row = p_.height - top;
      outputs.end_column = p_.width - left;
      for (int64_t i = 0; i < std::min(kTile, p_.height - top); ++i) {
        const int64_t place = image_ + (top + i) * pitch_ + left * p_.channels;
        outputs.rows[i] = p_.output + place;
        outputs.residual[i] = p_.maps[0] + place;
        if (p_.offset != nullptr) outputs.offset[i] = p_.offset + place;
      }
      if (p_.residual) {
        transform_tiles<POINTS, Stage::residual_result>(products_, p_.channels, tiles, outputs);
      } else if (p_.last_activation) {
        transform_tiles<POINTS, Stage::active_result>(products_, p_.channels, tiles, outputs);
      } else {
        transform_tiles<POINTS, Stage::result>(products_, p_.channels, tiles, outputs);
      }
    }
  }

  // Patches of a map for middle tiles whose first output is (top, left).
  Patches<POINTS> map_patches(int64_t map, int64_t top, int64_t left, int64_t tiles) {
    Patches<POINTS> patches;
    const int64_t columns = tiles * kTile + 2 * kHalo;
    left -= kHalo;
    top -= kHalo;
    patches.before = std::min(columns, std::max<int64_t>(0, -left));
    patches.after = std::min(columns - patches.before, std::max<int64_t>(0, left + columns - p_.width));
    patches.inside = columns - patches.before - patches.after;
    patches.has_offset = p_.offset != nullptr;
    for (int64_t i = 0; i < POINTS; ++i) {
      const bool inside = top + i >= 0 && top + i < p_.height;
      const int64_t place = image_ + (top + i) * pitch_ + (left + patches.before) * p_.channels;
      patches.rows[i] = inside ? p_.maps[map] + place : zeros_;
      patches.offset_rows[i] = inside && patches.has_offset ? p_.offset + place : zeros_;
    }
    return patches;
  }

  void multiply(bool add, const float* weight, int64_t tiles) {
    (add ? multiply_positions<POINTS, true> : multiply_positions<POINTS, false>)(
        patches_, weight, tiles, p_.channels, products_);
  }

  float* ring_row(int64_t row, int64_t i) { return ring_ + (row % 2 * kTile + i) * ring_pitch_; }

  const ConvPair& p_;
  const StripGrid grid_;
  const int64_t pitch_, ring_pitch_, group_values_;
  std::vector<float> memory_;
  float *ring_, *patches_, *products_, *waiting_, *zeros_;
  int64_t image_ = 0, first_tile_ = 0, end_tile_ = 0;
  const float* weight1_ = nullptr;
};

inline int64_t conv_pair_strips(const ConvPair& problem) {
  const StripGrid grid(problem);
  return problem.images * grid.blocks * grid.rows;
}

template <int64_t POINTS>
void conv_pair_of(const ConvPair& problem, int64_t begin, int64_t end) {
  const StripGrid grid(problem);
  StripRunner<POINTS> runner(problem);
  while (begin < end) {
    const int64_t column = begin / grid.rows, first = begin % grid.rows;
    const int64_t rows = std::min(grid.rows - first, end - begin);
    runner.run(column / grid.blocks, column % grid.blocks, first, first + rows);
    begin += rows;
  }
}

inline void conv_pair(const ConvPair& problem, int64_t begin, int64_t end) {
  (problem.kernel == 3 ? conv_pair_of<6> : conv_pair_of<8>)(problem, begin, end);
}

inline int64_t weight_values(int64_t kernel, int64_t channels) {
  const int64_t points = kernel + kTile - 1;
  return points * points * channels * channels;
}

inline void transform_weight(
    int64_t kernel, int64_t channels, const float* weight, const float* gate, float* out) {
  (kernel == 3 ? transform_kernel<6> : transform_kernel<8>)(channels, weight, gate, out);
}
