// The pairs (query, neighbour) seen from either grid; see gather_kernel.h.
#pragma once

#include <vector>

#include "gather_kernel.h"

namespace msgnn {

// Where each patch of a map begins, in values from the map's start.
template <typename T>
std::vector<int64_t> patch_offsets(const PatchMap<const T>& map) {
  std::vector<int64_t> offsets;
  offsets.reserve(map.rows * map.columns);
  for (int64_t row = 0; row < map.rows; ++row) {
    for (int64_t column = 0; column < map.columns; ++column) {
      offsets.push_back((row * map.row_pitch + column * map.channels) * map.stride);
    }
  }
  return offsets;
}

// The index turned round: for each database place the pairs that name it, in ascending order (a counting sort).
struct InverseIndex {
  std::vector<int64_t> start, number, query;

  InverseIndex() = default;
  InverseIndex(const int64_t* index, int64_t queries, int64_t neighbors, int64_t places)
      : start(places + 1), number(queries * neighbors), query(queries * neighbors) {
    // start[place + 1] moves from the first to the end of the place's list while the list fills.
    std::vector<int64_t> count(places);
    for (int64_t pair = 0; pair < queries * neighbors; ++pair) ++count[index[pair]];
    for (int64_t place = 0; place + 1 < places; ++place) start[place + 2] = start[place + 1] + count[place];
    for (int64_t asking = 0, pair = 0; asking < queries; ++asking) {
      for (int64_t k = 0; k < neighbors; ++k, ++pair) {
        const int64_t listed = start[index[pair] + 1]++;
        number[listed] = pair, query[listed] = asking;
      }
    }
  }

  PairLists lists() const { return {start.data(), number.data(), query.data(), 0}; }
};

}  // namespace msgnn
