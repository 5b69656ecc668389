// One value at a time of patch_difference, patch_aggregate and their gradients, as one GPU thread computes it.
//
// A pair is a query and one of its neighbours, numbered (image * M + query) * K + k over all images. What a pair yields
// is computed pair by pair. What adds patches into a map is computed pixel by pixel: the pixel collects from all
// patches that cover it, in the order of places and pairs. So every value is made by one thread, in one order.
#pragma once

#include "msgnn/strided_map.h"

namespace msgnn {

// A pair of patches, by their places.
struct PatchPair {
  int64_t image, query, database;
};

MSGNN_HOST_DEVICE inline PatchPair patch_pair(const int64_t* index, int64_t pair, int64_t queries, int64_t neighbors) {
  const int64_t query = quotient(pair, neighbors), image = quotient(query, queries);
  return {image, query - image * queries, index[pair]};
}

// The two patches of a pair, pixel by pixel.
template <typename T>
class PatchPairReader {
 public:
  MSGNN_HOST_DEVICE PatchPairReader(
      const StridedMap<const T>& query, const StridedMap<const T>& database, const PatchPair& pair)
      : query_(query), database_(database), image_(pair.image) {
    const int64_t row = quotient(pair.query, query.columns), place_row = quotient(pair.database, database.columns);
    query_y_ = query.patch_top(row), query_x_ = query.patch_left(pair.query - row * query.columns);
    y_ = database.patch_top(place_row), x_ = database.patch_left(pair.database - place_row * database.columns);
  }

  MSGNN_HOST_DEVICE T query(int64_t channel, int64_t row, int64_t column) const {
    return query_.padded(image_, channel, query_y_ + row, query_x_ + column);
  }
  MSGNN_HOST_DEVICE T database(int64_t channel, int64_t row, int64_t column) const {
    return database_.padded(image_, channel, y_ + row, x_ + column);
  }
  MSGNN_HOST_DEVICE T difference(int64_t channel, int64_t row, int64_t column) const {
    return query(channel, row, column) - database(channel, row, column);
  }

  // `value` counts in the order (channel, row, column).
  MSGNN_HOST_DEVICE T difference(int64_t value) const {
    const int64_t side = query_.patch_size, line = quotient(value, side), channel = quotient(line, side);
    return difference(channel, line - channel * side, value - line * side);
  }

  MSGNN_HOST_DEVICE T absolute_difference(int64_t channel) const {
    T sum = 0;
    for (int64_t row = 0; row < query_.patch_size; ++row) {
      for (int64_t column = 0; column < query_.patch_size; ++column) {
        const T value = difference(channel, row, column);
        sum += value < 0 ? -value : value;
      }
    }
    return sum;
  }

  // The inner product of the patches' channels first, first + step, ...
  MSGNN_HOST_DEVICE T product(int64_t first, int64_t step) const {
    T sum = 0;
    for (int64_t row = 0; row < query_.patch_size; ++row) {
      for (int64_t column = 0; column < query_.patch_size; ++column) {
        for (int64_t channel = first; channel < query_.channels; channel += step) {
          sum += query(channel, row, column) * database(channel, row, column);
        }
      }
    }
    return sum;
  }

 private:
  const StridedMap<const T>& query_;
  const StridedMap<const T>& database_;
  const int64_t image_;
  int64_t query_y_, query_x_, y_, x_;
};

// The pairs of each place of a grid, numbered over all images.
struct PairsOfPlaces {
  const int64_t* start;   // of each place's list and the end of the last; null: `neighbors` pairs a place, in order
  const int64_t* number;  // of each listed pair, ascending within a list; null: in order
  const int64_t* index;   // of each pair: its database place
  int64_t neighbors;
  int64_t queries;  // an image

  MSGNN_HOST_DEVICE int64_t begin(int64_t place) const { return start == nullptr ? place * neighbors : start[place]; }
  MSGNN_HOST_DEVICE int64_t pair(int64_t listed) const { return number == nullptr ? listed : number[listed]; }
  // The place of a pair's other patch in its own grid.
  MSGNN_HOST_DEVICE int64_t other(int64_t pair, int64_t image) const {
    return start == nullptr ? index[pair] : quotient(pair, neighbors) - image * queries;
  }
};

// How many patches cover a pixel of a map, at least 1 so that it can divide.
template <typename T>
MSGNN_HOST_DEVICE int64_t coverage(const StridedMap<T>& map, int64_t y, int64_t x) {
  const CoveringPatches rows = covering_patches(y + map.top, map.patch_size, map.stride, map.rows);
  const CoveringPatches columns = covering_patches(x + map.left, map.patch_size, map.stride, map.columns);
  return maximum((rows.end - rows.begin) * (columns.end - columns.begin), 1);
}

// Adds term(pair, place of the other patch, row and column within a patch) for all pairs of all patches of `own` that
// cover a pixel.
template <typename T, typename Sum, typename Term>
MSGNN_HOST_DEVICE Sum sum_over_patches(
    const StridedMap<T>& own, const PairsOfPlaces& pairs, int64_t image, int64_t y, int64_t x, Sum sum,
    const Term& term) {
  const CoveringPatches rows = covering_patches(y + own.top, own.patch_size, own.stride, own.rows);
  const CoveringPatches columns = covering_patches(x + own.left, own.patch_size, own.stride, own.columns);
  for (int64_t i = rows.begin; i < rows.end; ++i) {
    for (int64_t j = columns.begin; j < columns.end; ++j) {
      const int64_t place = image * own.places() + i * own.columns + j;
      const int64_t end = pairs.begin(place + 1);
      for (int64_t listed = pairs.begin(place); listed < end; ++listed) {
        const int64_t pair = pairs.pair(listed);
        sum += term(pair, pairs.other(pair, image), y - own.patch_top(i), x - own.patch_left(j));
      }
    }
  }
  return sum;
}

// Weighted sum of the other map's patches.
template <typename T, typename U>
MSGNN_HOST_DEVICE T weighted_pixel(
    const StridedMap<U>& own, const StridedMap<const T>& other, const PairsOfPlaces& pairs, const T* weight,
    int64_t image, int64_t channel, int64_t y, int64_t x) {
  return sum_over_patches(
      own, pairs, image, y, x, T(0), [&](int64_t pair, int64_t place, int64_t row, int64_t column) -> T {
        const int64_t grid_row = quotient(place, other.columns), grid_column = place - grid_row * other.columns;
        return weight[pair] * other.padded(image, channel, other.patch_top(grid_row) + row,
                                           other.patch_left(grid_column) + column);
      });
}

// Sum of the gradients of differences, in the order (channel, row, column) a pair.
template <typename T, typename U>
MSGNN_HOST_DEVICE T gradient_pixel(
    const StridedMap<U>& own, const PairsOfPlaces& pairs, const T* gradient, int64_t image, int64_t channel, int64_t y,
    int64_t x) {
  const int64_t side = own.patch_size;
  return sum_over_patches(
      own, pairs, image, y, x, T(0), [&](int64_t pair, int64_t, int64_t row, int64_t column) -> T {
        return gradient[((pair * own.channels + channel) * side + row) * side + column];
      });
}

// The same for absolute differences: sign(own - other) times the gradient of the pair and channel.
template <typename T, typename U>
MSGNN_HOST_DEVICE T sign_pixel(
    const StridedMap<U>& own, const StridedMap<const T>& own_values, const StridedMap<const T>& other,
    const PairsOfPlaces& pairs, const T* gradient, int64_t image, int64_t channel, int64_t y, int64_t x) {
  const T value = own_values.pixel(image, channel, y, x);
  return sum_over_patches(
      own, pairs, image, y, x, T(0), [&](int64_t pair, int64_t place, int64_t row, int64_t column) -> T {
        const int64_t grid_row = quotient(place, other.columns), grid_column = place - grid_row * other.columns;
        const T difference = value - other.padded(image, channel, other.patch_top(grid_row) + row,
                                                  other.patch_left(grid_column) + column);
        // 0 for NaN, as torch.sign.
        return T((difference > 0) - (difference < 0)) * gradient[pair * own.channels + channel];
      });
}

// First of `count` ascending keys that is not below `key`.
MSGNN_HOST_DEVICE inline int64_t first_not_below(const int64_t* keys, int64_t count, int64_t key) {
  int64_t low = 0, high = count;
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (keys[middle] < key) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

}  // namespace msgnn
