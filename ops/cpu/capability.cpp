#include "capability.h"

#include <cstdlib>
#include <cstring>

namespace msgnn {
namespace {

constexpr Capability all[] = {Capability::portable, Capability::avx2, Capability::avx512, Capability::avx512_vnni};

Capability offered() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return Capability::portable;
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl")) {
    return Capability::avx2;
  }
  return __builtin_cpu_supports("avx512vnni") ? Capability::avx512_vnni : Capability::avx512;
#else
  return Capability::portable;
#endif
}

}  // namespace

const char* capability_name(Capability capability) {
  switch (capability) {
    case Capability::avx512_vnni: return "avx512_vnni";
    case Capability::avx512: return "avx512";
    case Capability::avx2: return "avx2";
    default: return "portable";
  }
}

Capability capability() {
  static const Capability best = offered();
  const char* wanted = std::getenv("MSGNN_CPU_CAPABILITY");
  if (wanted != nullptr) {
    for (Capability one : all) {
      if (one <= best && std::strcmp(wanted, capability_name(one)) == 0) return one;
    }
  }
  return best;
}

}  // namespace msgnn
