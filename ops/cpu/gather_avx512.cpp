#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <vector>

#include "gather_kernel.h"
#if defined(__x86_64__)
#include "target_avx512.h"

namespace msgnn::avx512 {
#include "vector.h"
#include "gather_kernel.inl"
}  // namespace msgnn::avx512

#include "target_end.h"
#endif  // x86_64
