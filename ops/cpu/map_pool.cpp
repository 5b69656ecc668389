#include "map_pool.h"

#include <torch/library.h>

#include <cstdlib>
#include <mutex>
#include <unordered_map>
#include <vector>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace msgnn {
namespace {

// Pages of this size, where the system grants them, are cleared and found 512 times less often.
constexpr size_t kLargePage = size_t{1} << 21;

class MapPool {
 public:
  void open() {
    const std::lock_guard<std::mutex> lock(mutex_);
    ++passes_;
  }

  // The last pass that ends gives everything back.
  void close() {
    const std::lock_guard<std::mutex> lock(mutex_);
    TORCH_CHECK(passes_ > 0, "close_map_pool: must follow an open_map_pool, got one too many.");
    if (--passes_ > 0) return;
    for (const auto& [size, blocks] : free_) {
      for (void* block : blocks) std::free(block);
    }
    free_.clear();
  }

  // Null while no pass is open, or where there is no memory.
  void* take(size_t size) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (passes_ == 0) return nullptr;
      auto& blocks = free_[size];
      if (!blocks.empty()) {
        void* block = blocks.back();
        blocks.pop_back();
        return block;
      }
    }
    void* block = nullptr;
    if (posix_memalign(&block, kLargePage, size) != 0) return nullptr;
#ifdef __linux__
    madvise(block, size, MADV_HUGEPAGE);
#endif
    return block;
  }

  void give(void* block, size_t size) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (passes_ > 0) {
      free_[size].push_back(block);
    } else {
      std::free(block);
    }
  }

 private:
  std::mutex mutex_;
  int64_t passes_ = 0;
  std::unordered_map<size_t, std::vector<void*>> free_;
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
  void* block = bytes < 2 * kLargePage ? nullptr : pool().take(size);
  if (block == nullptr) return at::empty(sizes, at::TensorOptions(at::kFloat), at::MemoryFormat::ChannelsLast);
  return at::from_blob(
      block, sizes, {height * width * channels, 1, width * channels, channels},
      [size](void* gone) { pool().give(gone, size); }, at::TensorOptions().dtype(at::kFloat));
}

TORCH_LIBRARY_FRAGMENT(msgnn_plugin, library) {
  library.def("open_map_pool() -> ()", [] { pool().open(); });
  library.def("close_map_pool() -> ()", [] { pool().close(); });
}

}  // namespace msgnn
