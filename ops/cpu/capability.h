// Which instruction set the kernels of this process use.
#pragma once

namespace msgnn {

enum class Capability { portable, avx2, avx512, avx512_vnni };

// The best that the processor offers. The environment variable MSGNN_CPU_CAPABILITY ("portable", "avx2", "avx512",
// "avx512_vnni"), read at every call, asks for less; more than the processor offers is not given.
Capability capability();
const char* capability_name(Capability capability);

}  // namespace msgnn
