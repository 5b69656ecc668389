// The exact nearest-neighbour search of a few queries by one block of threads, as the GPU runs it.
//
// Candidates pass by in tiles. Sums of squared differences in the maps' own type screen them (nearest.h); those that
// pass are put by until many are waiting, then measured by float64 differences and ranked. So every neighbour list is
// exact, whatever the order of visits, and no list depends on which thread was first.
//
// The block's work is a sequence of phases with a barrier after each: `threads(work)` calls work(thread, sums) for
// every thread and returns when all are done. On a GPU these run side by side; the CPU's tests run them in turn.
#pragma once

#include "msgnn/nearest.h"
#include "msgnn/strided_map.h"

namespace msgnn {

template <typename T>
struct BlockSearch {
  StridedMap<const T> query;
  StridedMap<const T> database;
  int64_t num_neighbors;
  int64_t window;         // side in grid places, 0: everything
  const int64_t* origin;  // (queries, 2) top-left places, or null: centred
  int64_t* index;         // (images, queries, num_neighbors)
  double* distance;
};

constexpr int kTileRows = 4, kTileColumns = 8;             // of the query grid
constexpr int kBlockQueries = kTileRows * kTileColumns;    // side by side
constexpr int kBlockCandidates = 64;                       // of a tile
constexpr int kBlockValues = 16;                           // of each patch held at once
constexpr int kBlockThreads = 128;
constexpr int kSide = 4;                                   // a thread compares kSide queries with kSide candidates
constexpr int kCandidateGroups = kBlockCandidates / kSide;
constexpr int kMaxWaiting = 2 * kBlockQueries * kBlockCandidates;
static_assert(kBlockThreads * kSide * kSide == kBlockQueries * kBlockCandidates, "every pair has its thread");

// Of one thread.
template <typename T>
struct PairSums {
  T sum[kSide][kSide];
};

// Of one block.
template <typename T>
struct BlockMemory {
  // Rows are 4 values longer than they need be, so that a thread's four lie on one boundary of 16 bytes but the rows
  // of a warp's stores in different banks.
  alignas(16) T query[kBlockValues][kBlockQueries + 4];
  alignas(16) T candidate[kBlockValues][kBlockCandidates + 4];
  int64_t waiting[kMaxWaiting];    // candidate's place * kBlockQueries + query
  double measured[kBlockThreads];  // distances of as many of them
  double farthest[kBlockQueries];  // of the lists so far
  int64_t window_row[kBlockQueries], window_column[kBlockQueries];
  int32_t candidate_row[kBlockCandidates], candidate_column[kBlockCandidates];  // -1: none left
  int num_waiting;
};

MSGNN_HOST_DEVICE inline int take_next(int* counter) {
#ifdef __CUDA_ARCH__
  return atomicAdd(counter, 1);
#else
  return (*counter)++;
#endif
}

// Searches the tile of queries whose first is at (tile_row, tile_column) of the grid.
template <typename T, typename Threads>
class BlockSearcher {
 public:
  MSGNN_HOST_DEVICE BlockSearcher(
      const BlockSearch<T>& problem, int64_t image, int64_t tile_row, int64_t tile_column, BlockMemory<T>& memory,
      Threads& threads)
      : problem_(problem),
        query_(problem.query),
        database_(problem.database),
        image_(image),
        tile_row_(tile_row),
        tile_column_(tile_column),
        height_(problem.window ? problem.window : problem.database.rows),
        width_(problem.window ? problem.window : problem.database.columns),
        screen_(problem.query.patch_values()),
        memory_(memory),
        threads_(threads) {}

  MSGNN_HOST_DEVICE void search() {
    threads_([&](int thread, PairSums<T>&) { start(thread); });
    // Bounds of all windows, the same for every thread.
    int64_t top = database_.rows, bottom = 0, left = database_.columns, right = 0;
    for (int q = 0; q < kBlockQueries; ++q) {
      if (!asks(q)) continue;
      top = minimum(top, memory_.window_row[q]), bottom = maximum(bottom, memory_.window_row[q] + height_);
      left = minimum(left, memory_.window_column[q]), right = maximum(right, memory_.window_column[q] + width_);
    }
    const int64_t count = (bottom - top) * (right - left);
    for (int64_t first = 0; first < count; first += kBlockCandidates) {
      threads_([&](int thread, PairSums<T>& sums) {
        sums = {};
        if (thread < kBlockCandidates) place_candidate(thread, first + thread, count, top, left, right - left);
      });
      for (int64_t value = 0; value < query_.patch_values(); value += kBlockValues) {
        threads_([&](int thread, PairSums<T>&) { load(thread, value); });
        threads_([&](int thread, PairSums<T>& sums) { add_squares(thread, sums); });
      }
      threads_([&](int thread, PairSums<T>& sums) { put_by(thread, sums); });
      if (memory_.num_waiting > kMaxWaiting - kBlockQueries * kBlockCandidates) rank_waiting();
    }
    rank_waiting();
  }

 private:
  MSGNN_HOST_DEVICE int64_t query_row(int q) const { return tile_row_ + q / kTileColumns; }
  MSGNN_HOST_DEVICE int64_t query_column(int q) const { return tile_column_ + q % kTileColumns; }
  // Whether the tile's query lies in the grid.
  MSGNN_HOST_DEVICE bool asks(int q) const { return query_row(q) < query_.rows && query_column(q) < query_.columns; }
  MSGNN_HOST_DEVICE int64_t first_neighbor(int q) const {
    const int64_t place = query_row(q) * query_.columns + query_column(q);
    return (image_ * query_.places() + place) * problem_.num_neighbors;
  }

  MSGNN_HOST_DEVICE void start(int thread) {
    if (thread == 0) memory_.num_waiting = 0;
    if (thread >= kBlockQueries || !asks(thread)) return;
    const int64_t row = query_row(thread), column = query_column(thread), place = row * query_.columns + column;
    if (problem_.origin != nullptr) {
      memory_.window_row[thread] = problem_.origin[2 * place];
      memory_.window_column[thread] = problem_.origin[2 * place + 1];
    } else {
      memory_.window_row[thread] = centred_window(row, query_.rows, database_.rows, height_);
      memory_.window_column[thread] = centred_window(column, query_.columns, database_.columns, width_);
    }
    memory_.farthest[thread] = HUGE_VAL;
    for (int64_t i = 0; i < problem_.num_neighbors; ++i) {
      problem_.distance[first_neighbor(thread) + i] = HUGE_VAL;
      problem_.index[first_neighbor(thread) + i] = kNoCandidate;
    }
  }

  MSGNN_HOST_DEVICE void place_candidate(
      int candidate, int64_t number, int64_t count, int64_t top, int64_t left, int64_t width) {
    const int64_t row = quotient(number, width);
    memory_.candidate_row[candidate] = number < count ? static_cast<int32_t>(top + row) : -1;
    memory_.candidate_column[candidate] = static_cast<int32_t>(left + number - row * width);
  }

  // Values count in the order (row, column, channel); those past the patch's end are 0.
  MSGNN_HOST_DEVICE void load(int thread, int64_t first) {
    const int own = thread % kBlockValues;
    const int64_t value = first + own, pixel = quotient(value, query_.channels);
    const int64_t channel = value - pixel * query_.channels, row = quotient(pixel, query_.patch_size);
    const int64_t column = pixel - row * query_.patch_size;
    const bool within = row < query_.patch_size;
    for (int q = thread / kBlockValues; q < kBlockQueries; q += kBlockThreads / kBlockValues) {
      memory_.query[own][q] = !within || !asks(q)
          ? T(0)
          : query_.padded(image_, channel, query_.patch_top(query_row(q)) + row,
                          query_.patch_left(query_column(q)) + column);
    }
    for (int c = thread / kBlockValues; c < kBlockCandidates; c += kBlockThreads / kBlockValues) {
      memory_.candidate[own][c] = !within || memory_.candidate_row[c] < 0
          ? T(0)
          : database_.padded(image_, channel, database_.patch_top(memory_.candidate_row[c]) + row,
                             database_.patch_left(memory_.candidate_column[c]) + column);
    }
  }

  MSGNN_HOST_DEVICE void add_squares(int thread, PairSums<T>& sums) const {
    const int first_query = thread / kCandidateGroups * kSide, first_candidate = thread % kCandidateGroups * kSide;
    MSGNN_UNROLL
    for (int value = 0; value < kBlockValues; ++value) {
      T query[kSide], candidate[kSide];
      MSGNN_UNROLL
      for (int i = 0; i < kSide; ++i) {
        query[i] = memory_.query[value][first_query + i];
        candidate[i] = memory_.candidate[value][first_candidate + i];
      }
      MSGNN_UNROLL
      for (int i = 0; i < kSide; ++i) {
        MSGNN_UNROLL
        for (int j = 0; j < kSide; ++j) {
          const T difference = query[i] - candidate[j];
          sums.sum[i][j] += difference * difference;
        }
      }
    }
  }

  MSGNN_HOST_DEVICE void put_by(int thread, const PairSums<T>& sums) {
    const int first_query = thread / kCandidateGroups * kSide, first_candidate = thread % kCandidateGroups * kSide;
    MSGNN_UNROLL
    for (int i = 0; i < kSide; ++i) {
      const int q = first_query + i;
      MSGNN_UNROLL
      for (int j = 0; j < kSide; ++j) {
        const int c = first_candidate + j;
        if (!is_candidate_of(q, c) || screen_.surely_farther(sums.sum[i][j], memory_.farthest[q])) continue;
        const int64_t place = memory_.candidate_row[c] * database_.columns + memory_.candidate_column[c];
        memory_.waiting[take_next(&memory_.num_waiting)] = place * kBlockQueries + q;
      }
    }
  }

  MSGNN_HOST_DEVICE bool is_candidate_of(int q, int c) const {
    if (memory_.candidate_row[c] < 0 || !asks(q)) return false;
    const int64_t row = memory_.candidate_row[c] - memory_.window_row[q];
    const int64_t column = memory_.candidate_column[c] - memory_.window_column[q];
    return 0 <= row && row < height_ && 0 <= column && column < width_;
  }

  MSGNN_HOST_DEVICE void rank_waiting() {
    const int count = memory_.num_waiting;
    for (int first = 0; first < count; first += kBlockThreads) {
      const int some = count - first < kBlockThreads ? count - first : kBlockThreads;
      threads_([&](int thread, PairSums<T>&) {
        if (thread < some) memory_.measured[thread] = measure(memory_.waiting[first + thread]);
      });
      threads_([&](int thread, PairSums<T>&) {
        if (thread < kBlockQueries && asks(thread)) rank(thread, first, some);
      });
    }
    threads_([&](int thread, PairSums<T>&) {
      if (thread == 0) memory_.num_waiting = 0;
    });
  }

  MSGNN_HOST_DEVICE double measure(int64_t waiting) const {
    const int q = static_cast<int>(waiting % kBlockQueries);
    const int64_t place = waiting / kBlockQueries, place_row = quotient(place, database_.columns);
    const int64_t place_column = place - place_row * database_.columns;
    double sum = 0;
    for (int64_t row = 0; row < query_.patch_size; ++row) {
      for (int64_t column = 0; column < query_.patch_size; ++column) {
        const int64_t query_y = query_.patch_top(query_row(q)) + row;
        const int64_t query_x = query_.patch_left(query_column(q)) + column;
        const int64_t y = database_.patch_top(place_row) + row, x = database_.patch_left(place_column) + column;
        for (int64_t channel = 0; channel < query_.channels; ++channel) {
          const double difference = static_cast<double>(query_.padded(image_, channel, query_y, query_x)) -
                                    static_cast<double>(database_.padded(image_, channel, y, x));
          sum += difference * difference;
        }
      }
    }
    return ranked_distance(sum);
  }

  MSGNN_HOST_DEVICE void rank(int q, int first, int count) {
    double* distances = problem_.distance + first_neighbor(q);
    int64_t* indices = problem_.index + first_neighbor(q);
    for (int i = 0; i < count; ++i) {
      const int64_t waiting = memory_.waiting[first + i];
      if (waiting % kBlockQueries != q) continue;
      insert_nearest(distances, indices, problem_.num_neighbors, memory_.measured[i], waiting / kBlockQueries);
    }
    memory_.farthest[q] = distances[problem_.num_neighbors - 1];
  }

  const BlockSearch<T>& problem_;
  const StridedMap<const T>& query_;
  const StridedMap<const T>& database_;
  const int64_t image_, tile_row_, tile_column_;
  const int64_t height_, width_;  // of a window
  const QuickScreen<T> screen_;
  BlockMemory<T>& memory_;
  Threads& threads_;
};

}  // namespace msgnn
