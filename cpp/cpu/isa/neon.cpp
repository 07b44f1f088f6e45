// Kernels for AArch64 (NEON).
#define FS_ISA neon
#include "cpu/isa/table.inc"
