// What the searches of all backends must decide alike: how candidates rank, and which ones a quick sum may exclude.
#pragma once

#include <cfloat>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "msgnn/patch_grid.h"

namespace msgnn {

// Places that no candidate has taken yet rank behind all candidates, even those infinitely far.
constexpr int64_t kNoCandidate = INT64_MAX;

MSGNN_HOST_DEVICE inline bool ranks_before(double distance, int64_t index, double than_distance, int64_t than_index) {
  return distance < than_distance || (distance == than_distance && index < than_index);
}

// NaN counts as infinitely far.
MSGNN_HOST_DEVICE inline double ranked_distance(double sum) { return sum == sum ? sum : HUGE_VAL; }

// Keeps `length` candidates in ascending rank; returns whether the new one is among them.
MSGNN_HOST_DEVICE inline bool insert_nearest(
    double* distances, int64_t* indices, int64_t length, double distance, int64_t index) {
  int64_t place = length - 1;
  if (!ranks_before(distance, index, distances[place], indices[place])) return false;
  for (; place > 0 && ranks_before(distance, index, distances[place - 1], indices[place - 1]); --place) {
    distances[place] = distances[place - 1], indices[place] = indices[place - 1];
  }
  distances[place] = distance, indices[place] = index;
  return true;
}

// Excludes candidates by a sum of squared differences computed in T.
template <typename T>
class QuickScreen {
 public:
  // The sum has `values` terms, added in any order: its relative error stays below (values + 2) / 2 epsilons, and
  // underflow changes a term by less than the smallest number.
  MSGNN_HOST_DEVICE explicit QuickScreen(int64_t values)
      : least_part_(1 - static_cast<double>(values + 16) * epsilon()),
        underflow_(smallest() * static_cast<double>(values)) {}

  // A sum that T cannot hold tells nothing.
  MSGNN_HOST_DEVICE bool surely_farther(T sum, double than_distance) const {
    return sum <= largest() && sum * least_part_ - underflow_ > than_distance;
  }

 private:
  static constexpr bool kSingle = std::is_same_v<T, float>;
  MSGNN_HOST_DEVICE static constexpr double epsilon() { return kSingle ? FLT_EPSILON : DBL_EPSILON; }
  MSGNN_HOST_DEVICE static constexpr double smallest() { return kSingle ? 0x1p-149 : 0x1p-1074; }
  MSGNN_HOST_DEVICE static constexpr T largest() { return kSingle ? static_cast<T>(FLT_MAX) : static_cast<T>(DBL_MAX); }

  double least_part_;
  double underflow_;
};

}  // namespace msgnn
