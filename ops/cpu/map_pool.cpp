#include "map_pool.h"

#include <torch/library.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <map>
#include <mutex>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace msgnn {
namespace {

// Pages of this size, where the system grants them, are cleared and found 512 times less often.
constexpr size_t kLargePage = size_t{1} << 21;
constexpr size_t kAlignment = 64;
constexpr size_t kKept = size_t{1} << 29;  // bytes between passes, at most: all that pictures of 400,000 pixels take

struct Block {
  void* start;
  size_t size;
};

// Tells the system that it may take these pages where memory runs short; false where it cannot be told.
bool may_be_taken_back(void* start, size_t size) {
#if defined(__linux__) && defined(MADV_FREE)
  return madvise(start, size, MADV_FREE) == 0;
#else
  return false;
#endif
}

class MapPool {
 public:
  void open() {
    const std::lock_guard<std::mutex> lock(mutex_);
    ++passes_;
  }

  // The last pass that ends leaves the next one some memory, which the system may take back, and frees the rest.
  void close() {
    const std::lock_guard<std::mutex> lock(mutex_);
    TORCH_CHECK(passes_ > 0, "close_map_pool: must follow an open_map_pool, got one too many.");
    if (--passes_ > 0) return;
    size_t kept = 0;
    for (auto block = free_.begin(); block != free_.end();) {
      const auto [size, start] = *block;
      if (kept + size <= kKept && may_be_taken_back(start, size)) {
        kept += size;
        ++block;
      } else {
        std::free(start);
        block = free_.erase(block);
      }
    }
  }

  // The smallest free block that is large enough, or a new one; null while no pass is open, or where there is no memory.
  Block take(size_t size) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (passes_ == 0) return {};
    auto found = free_.lower_bound(size);
    if (found != free_.end()) {
      found = std::prev(free_.upper_bound(found->first));  // of equal ones the last used, which may be in the cache
      const Block block = {found->second, found->first};
      free_.erase(found);
      return block;
    }
    // What is free is too small: maps of a smaller picture, which must not wait beside the larger one's.
    release();
    void* start = nullptr;
    if (posix_memalign(&start, kLargePage, size) != 0) return {};
#ifdef __linux__
    madvise(start, size, MADV_HUGEPAGE);
#endif
    return {start, size};
  }

  void give(Block block) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (passes_ > 0) {
      free_.emplace(block.size, block.start);
    } else {
      std::free(block.start);
    }
  }

 private:
  void release() {
    for (const auto& [size, start] : free_) std::free(start);
    free_.clear();
  }

  std::mutex mutex_;
  int64_t passes_ = 0;
  std::multimap<size_t, void*> free_;
};

// Never destroyed: maps may outlive everything else.
MapPool& pool() {
  static MapPool* const only = new MapPool;
  return *only;
}

}  // namespace

at::Tensor new_trunk_map(at::IntArrayRef sizes) {
  const int64_t images = sizes[0], channels = sizes[1], height = sizes[2], width = sizes[3];
  const size_t bytes = static_cast<size_t>(images * channels * height * width) * sizeof(float);
  // Small maps stay in the C library's heap anyway.
  const size_t size = (bytes + kLargePage - 1) / kLargePage * kLargePage;
  const Block block = bytes < 2 * kLargePage ? Block{} : pool().take(size);
  const std::array<int64_t, 4> strides = {height * width * channels, 1, width * channels, channels};
  if (block.start != nullptr) {
    return at::from_blob(
        block.start, sizes, strides, [block](void*) { pool().give(block); }, at::TensorOptions(at::kFloat));
  }
  // Aligned by hand: the C library's aligned blocks leave holes that are too small for the next one of their size, and a
  // step of training would grow by as many maps as it frees.
  void* start = std::malloc(bytes + kAlignment);
  TORCH_CHECK_WITH(OutOfMemoryError, start != nullptr, "map: must fit into memory, got no room for ", bytes, " bytes.");
  const uintptr_t aligned = (reinterpret_cast<uintptr_t>(start) + kAlignment - 1) / kAlignment * kAlignment;
  return at::from_blob(
      reinterpret_cast<void*>(aligned), sizes, strides, [start](void*) { std::free(start); },
      at::TensorOptions(at::kFloat));
}

TORCH_LIBRARY_FRAGMENT(msgnn_plugin, library) {
  library.def("open_map_pool() -> ()", [] { pool().open(); });
  library.def("close_map_pool() -> ()", [] { pool().close(); });
}

}  // namespace msgnn
