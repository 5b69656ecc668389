#include <cstring>

#include "self_similar_kernel.h"
#if defined(__x86_64__)
#include "target_avx512.h"

namespace msgnn::avx512 {
#include "vector.h"
#include "self_similar_kernel.inl"
}  // namespace msgnn::avx512

#include "target_end.h"
#endif  // x86_64
