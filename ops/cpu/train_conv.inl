// One convolution with what surrounds it, see train_kernels.h. Included inside the namespace of one instruction set.

// Patches of `tiles` tiles of an image whose first pixel is (top, left), maybe outside the map.
template <int64_t POINTS>
inline Patches<POINTS> patches_at(
    const float* map, const float* offset, const float* zeros, int64_t image, int64_t height, int64_t width,
    int64_t channels, int64_t top, int64_t left, int64_t tiles) {
  Patches<POINTS> patches;
  const int64_t columns = tiles * kTile + POINTS - kTile;
  patches.before = std::min(columns, std::max<int64_t>(0, -left));
  patches.after = std::min(columns - patches.before, std::max<int64_t>(0, left + columns - width));
  patches.inside = columns - patches.before - patches.after;
  patches.has_offset = offset != nullptr;
  for (int64_t i = 0; i < POINTS; ++i) {
    const bool inside = top + i >= 0 && top + i < height;
    const int64_t place = ((image * height + top + i) * width + left + patches.before) * channels;
    patches.rows[i] = inside ? map + place : zeros;
    patches.offset_rows[i] = inside && patches.has_offset ? offset + place : zeros;
  }
  return patches;
}

template <int64_t POINTS>
class TrainConvRunner {
 public:
  explicit TrainConvRunner(const TrainConv& problem)
      : p_(problem),
        group_values_(problem.channels / kLanes * kBlockValues<POINTS>),
        map_weights_(POINTS * POINTS * problem.channels * problem.channels),
        memory_(
            2 * group_values_ + (kWaiting * POINTS + kGroupColumns) * problem.channels +
            (problem.gate != nullptr ? problem.num_maps * map_weights_ : 0) + kAlignment) {
    const auto address = reinterpret_cast<uintptr_t>(memory_.data()) / sizeof(float);
    patches_ = memory_.data() + (kAlignment - address % kAlignment) % kAlignment;
    products_ = patches_ + group_values_;
    waiting_ = products_ + group_values_;
    zeros_ = waiting_ + kWaiting * POINTS * problem.channels;
    gated_ = zeros_ + kGroupColumns * problem.channels;
  }

  // Tile rows [begin, end) of all images.
  void run(int64_t begin, int64_t end) {
    const int64_t rows = (p_.height + kTile - 1) / kTile;
    for (int64_t task = begin; task < end; ++task) {
      if (task == begin || task % rows == 0) start_image(task / rows);
      tile_row(task % rows * kTile);
    }
  }

 private:
  static constexpr int64_t kHalo = (POINTS - kTile) / 2;
  static constexpr int64_t kGroupColumns = kGroupTiles * kTile + 2 * kHalo;
  static constexpr int64_t kAlignment = 16;  // floats of a cache line

  void start_image(int64_t image) {
    image_ = image;
    weight_ = p_.weight;
    if (p_.gate == nullptr) return;
    const float *from = p_.weight, *gate = p_.gate + image * p_.channels;
    float* to = gated_;
    for (int64_t row = 0; row < p_.num_maps * POINTS * POINTS * p_.channels; ++row) {
      const vfloat factor = broadcast(gate[row % p_.channels]);
      for (int64_t c = 0; c < p_.channels; c += kLanes, from += kLanes, to += kLanes) {
        store(to, load<vfloat>(from) * factor);
      }
    }
    weight_ = gated_;
  }

  void tile_row(int64_t top) {
    const int64_t num_tiles = (p_.width + kTile - 1) / kTile, groups = (num_tiles + kGroupTiles - 1) / kGroupTiles;
    for (int64_t group = 0; group < groups; ++group) {
      const int64_t first = num_tiles * group / groups, tiles = num_tiles * (group + 1) / groups - first;
      const int64_t left = first * kTile;
      for (int64_t map = 0; map < p_.num_maps; ++map) {
        const Patches<POINTS> patches = patches_at<POINTS>(
            p_.maps[map], p_.offset, zeros_, image_, p_.height, p_.width, p_.channels, top - kHalo, left - kHalo, tiles);
        transform_patches<POINTS>(patches, p_.channels, tiles, waiting_, patches_);
        (map > 0 ? multiply_positions<POINTS, true> : multiply_positions<POINTS, false>)(
            patches_, weight_ + map * map_weights_, tiles, p_.channels, products_);
      }
      finish(top, left, tiles);
    }
  }

  void finish(int64_t top, int64_t left, int64_t tiles) {
    Outputs outputs = {};
    outputs.negative_slope = p_.negative_slope;
    outputs.bias = p_.bias;
    outputs.end_row = p_.height - top;
    outputs.end_column = p_.width - left;
    const int64_t rows = std::min(kTile, p_.height - top), columns = std::min(tiles * kTile, p_.width - left);
    const int64_t place = ((image_ * p_.height + top) * p_.width + left) * p_.channels;
    for (int64_t i = 0; i < rows; ++i) outputs.rows[i] = p_.output + place + i * p_.width * p_.channels;
    if (p_.activate) {
      transform_tiles<POINTS, Stage::active_result>(products_, p_.channels, tiles, outputs);
    } else {
      transform_tiles<POINTS, Stage::result>(products_, p_.channels, tiles, outputs);
    }
    const bool more = p_.scale != nullptr || p_.num_added + p_.num_scaled > 0 || p_.total != nullptr || p_.mask != nullptr;
    // While they are in the first cache.
    for (int64_t i = 0; more && i < rows; ++i) surround(place + i * p_.width * p_.channels, columns);
  }

  // One kind of map after the other, so that each loop is a plain run over memory.
  void surround(int64_t place, int64_t columns) {
    float* output = p_.output + place;
    const int64_t values = columns * p_.channels, factors = image_ * p_.channels;
    const vfloat slope = broadcast(p_.negative_slope);
    if (p_.scale != nullptr) {
      for (int64_t at = 0; at < values; at += p_.channels) {
        for (int64_t c = 0; c < p_.channels; c += kLanes) {
          store(output + at + c, load<vfloat>(output + at + c) * load<vfloat>(p_.scale + factors + c));
        }
      }
    }
    for (int64_t n = 0; n < p_.num_added; ++n) {
      const float* added = p_.added[n] + place;
      for (int64_t at = 0; at < values; at += kLanes) {
        store(output + at, load<vfloat>(output + at) + load<vfloat>(added + at));
      }
    }
    for (int64_t n = 0; n < p_.num_scaled; ++n) {
      const float* scaled = p_.scaled[n] + place;
      for (int64_t at = 0; at < values; at += p_.channels) {
        for (int64_t c = 0; c < p_.channels; c += kLanes) {
          const vfloat value = load<vfloat>(scaled + at + c) * load<vfloat>(p_.factor + factors + c);
          store(output + at + c, load<vfloat>(output + at + c) + value);
        }
      }
    }
    if (p_.total != nullptr) {
      float* total = p_.total + place;
      for (int64_t at = 0; at < values; at += kLanes) {
        store(total + at, load<vfloat>(total + at) + load<vfloat>(output + at));
      }
    }
    if (p_.mask != nullptr) {
      const float* mask = p_.mask + place;
      for (int64_t at = 0; at < values; at += kLanes) {
        const vfloat value = load<vfloat>(output + at);
        store(output + at, load<vfloat>(mask + at) > vfloat{} ? value : value * slope);
      }
    }
  }

  const TrainConv& p_;
  const int64_t group_values_, map_weights_;
  std::vector<float> memory_;
  float *patches_, *products_, *waiting_, *zeros_, *gated_;
  int64_t image_ = 0;
  const float* weight_ = nullptr;
};

inline void train_conv(const TrainConv& problem, int64_t begin, int64_t end) {
  if (problem.kernel == 3) {
    TrainConvRunner<6>(problem).run(begin, end);
  } else {
    TrainConvRunner<8>(problem).run(begin, end);
  }
}
