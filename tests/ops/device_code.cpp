// The GPU's code as a CPU runs it: what a block does by turns of its threads, what a warp does lane by lane.
// tests/ops/test_device_code.py compiles this and calls it; maps are contiguous (B, C, H, W), float or double.
#include "msgnn/block_search.h"
#include "msgnn/gather_element.h"

#include <algorithm>
#include <memory>
#include <vector>

using namespace msgnn;

namespace {

template <typename T>
StridedMap<T> view(T* data, const int64_t* sizes, int64_t patch_size, int64_t stride) {
  const int64_t pitches[] = {sizes[1] * sizes[2] * sizes[3], sizes[2] * sizes[3], sizes[3], 1};
  return {data, sizes, pitches, patch_size, stride};
}

// The threads of a block in turn, forwards in one phase and backwards in the next: no result may depend on it.
template <typename T>
struct ThreadsInTurn {
  PairSums<T> sums[kBlockThreads];
  bool backwards = false;

  template <typename Work>
  void operator()(const Work& work) {
    for (int i = 0; i < kBlockThreads; ++i) {
      const int thread = backwards ? kBlockThreads - 1 - i : i;
      work(thread, sums[thread]);
    }
    backwards = !backwards;
  }
};

template <typename T>
void search(
    const T* query, const int64_t* query_sizes, const T* database, const int64_t* database_sizes, int64_t patch_size,
    int64_t stride, int64_t num_neighbors, int64_t window, const int64_t* origin, int64_t* index, double* distance) {
  const BlockSearch<T> problem{
      view(query, query_sizes, patch_size, stride), view(database, database_sizes, patch_size, stride), num_neighbors,
      window, origin, index, distance};
  const auto memory = std::make_unique<BlockMemory<T>>();
  const auto threads = std::make_unique<ThreadsInTurn<T>>();
  for (int64_t image = 0; image < problem.query.images; ++image) {
    for (int64_t row = 0; row < problem.query.rows; row += kTileRows) {
      for (int64_t column = 0; column < problem.query.columns; column += kTileColumns) {
        BlockSearcher<T, ThreadsInTurn<T>>(problem, image, row, column, *memory, *threads).search();
      }
    }
  }
}

// The index turned round as inverse_index.cu does it: by a stable sort.
struct SortedPairs {
  std::vector<int64_t> start, number;

  SortedPairs(const int64_t* index, int64_t images, int64_t queries, int64_t neighbors, int64_t places)
      : start(images * places + 1), number(images * queries * neighbors) {
    std::vector<int64_t> key(number.size()), sorted(number.size());
    for (size_t pair = 0; pair < number.size(); ++pair) {
      number[pair] = pair, key[pair] = static_cast<int64_t>(pair) / (queries * neighbors) * places + index[pair];
    }
    std::stable_sort(number.begin(), number.end(), [&](int64_t a, int64_t b) { return key[a] < key[b]; });
    for (size_t i = 0; i < number.size(); ++i) sorted[i] = key[number[i]];
    for (size_t place = 0; place < start.size(); ++place) {
      start[place] = first_not_below(sorted.data(), sorted.size(), place);
    }
  }
};

template <typename T, typename Value>
void for_pixels(const StridedMap<T>& map, const Value& value) {
  for (int64_t image = 0; image < map.images; ++image) {
    for (int64_t channel = 0; channel < map.channels; ++channel) {
      for (int64_t y = 0; y < map.height; ++y) {
        for (int64_t x = 0; x < map.width; ++x) map.pixel(image, channel, y, x) = value(image, channel, y, x);
      }
    }
  }
}

}  // namespace

extern "C" {

void search_float(
    const float* query, const int64_t* query_sizes, const float* database, const int64_t* database_sizes,
    int64_t patch_size, int64_t stride, int64_t num_neighbors, int64_t window, const int64_t* origin, int64_t* index,
    double* distance) {
  search(query, query_sizes, database, database_sizes, patch_size, stride, num_neighbors, window, origin, index, distance);
}

void search_double(
    const double* query, const int64_t* query_sizes, const double* database, const int64_t* database_sizes,
    int64_t patch_size, int64_t stride, int64_t num_neighbors, int64_t window, const int64_t* origin, int64_t* index,
    double* distance) {
  search(query, query_sizes, database, database_sizes, patch_size, stride, num_neighbors, window, origin, index, distance);
}

// `grad` is of the differences; out, query_grad and database_grad are written.
void differences(
    const double* query, const int64_t* query_sizes, const double* database, const int64_t* database_sizes,
    const int64_t* index, int64_t neighbors, int64_t patch_size, int64_t stride, int64_t abs_sum, const double* grad,
    double* out, double* query_grad, double* database_grad) {
  const auto asking = view(query, query_sizes, patch_size, stride);
  const auto answering = view(database, database_sizes, patch_size, stride);
  const int64_t queries = asking.places(), values = abs_sum ? asking.channels : asking.patch_values();
  for (int64_t pair = 0; pair < asking.images * queries * neighbors; ++pair) {
    const PatchPairReader<double> patches(asking, answering, patch_pair(index, pair, queries, neighbors));
    for (int64_t value = 0; value < values; ++value) {
      out[pair * values + value] = abs_sum ? patches.absolute_difference(value) : patches.difference(value);
    }
  }
  const SortedPairs sorted(index, asking.images, queries, neighbors, answering.places());
  const PairsOfPlaces of_queries{nullptr, nullptr, index, neighbors, queries};
  const PairsOfPlaces of_places{sorted.start.data(), sorted.number.data(), index, neighbors, queries};
  const auto to_query = view(query_grad, query_sizes, patch_size, stride);
  const auto to_database = view(database_grad, database_sizes, patch_size, stride);
  for_pixels(to_query, [&](int64_t image, int64_t channel, int64_t y, int64_t x) {
    return abs_sum ? sign_pixel(to_query, asking, answering, of_queries, grad, image, channel, y, x)
                   : gradient_pixel(to_query, of_queries, grad, image, channel, y, x);
  });
  for_pixels(to_database, [&](int64_t image, int64_t channel, int64_t y, int64_t x) {
    return abs_sum ? sign_pixel(to_database, answering, asking, of_places, grad, image, channel, y, x)
                   : -gradient_pixel(to_database, of_places, grad, image, channel, y, x);
  });
}

// `grad` is of the map; out, database_grad and weight_grad are written.
void aggregate(
    const double* database, const int64_t* database_sizes, const int64_t* index, const double* weight,
    int64_t neighbors, int64_t patch_size, int64_t stride, const int64_t* sizes, const double* grad, double* out,
    double* database_grad, double* weight_grad) {
  const auto answering = view(database, database_sizes, patch_size, stride);
  const auto to_out = view(out, sizes, patch_size, stride);
  const int64_t queries = to_out.places();
  const SortedPairs sorted(index, to_out.images, queries, neighbors, answering.places());
  const PairsOfPlaces of_queries{nullptr, nullptr, index, neighbors, queries};
  const PairsOfPlaces of_places{sorted.start.data(), sorted.number.data(), index, neighbors, queries};
  for_pixels(to_out, [&](int64_t image, int64_t channel, int64_t y, int64_t x) {
    return weighted_pixel(to_out, answering, of_queries, weight, image, channel, y, x) / coverage(to_out, y, x);
  });
  const auto given = view(grad, sizes, patch_size, stride);
  std::vector<double> mean(sizes[0] * sizes[1] * sizes[2] * sizes[3]);
  const auto mean_grad = view(mean.data(), sizes, patch_size, stride);
  for_pixels(mean_grad, [&](int64_t image, int64_t channel, int64_t y, int64_t x) {
    return given.pixel(image, channel, y, x) / coverage(mean_grad, y, x);
  });
  const auto asking = view<const double>(mean.data(), sizes, patch_size, stride);
  const auto to_database = view(database_grad, database_sizes, patch_size, stride);
  for_pixels(to_database, [&](int64_t image, int64_t channel, int64_t y, int64_t x) {
    return weighted_pixel(to_database, asking, of_places, weight, image, channel, y, x);
  });
  constexpr int64_t lanes = 4;
  for (int64_t pair = 0; pair < asking.images * queries * neighbors; ++pair) {
    const PatchPairReader<double> patches(asking, answering, patch_pair(index, pair, queries, neighbors));
    weight_grad[pair] = 0;
    for (int64_t lane = 0; lane < lanes; ++lane) weight_grad[pair] += patches.product(lane, lanes);
  }
}
}
