# How nvcc compiles kernels: for the plugin (cmake/cuda.cmake) and for their tests on a GPU (tests/cuda_host/device.cmake);
# tests/cuda_static.py reads the options from here.

# -fmad=false as -ffp-contract=off on the CPU: formulas in math/ say fma where they mean it; so should kernels.
set(FS_NVCC_OPTIONS --expt-relaxed-constexpr -fmad=false -diag-suppress=20012,20014)

# Note [Size of the plugin]
# Hundreds of kernels for six architectures make the size of a wheel. This option keeps nvcc from unrolling loops of
# unknown length: code a third as large, compiled in half the time. Kernels say `#pragma unroll` where it pays. A file
# with a line "// Optimised in full: <reason>" is compiled without it. Host code only launches (-Os).
set(FS_NVCC_SMALL_CODE --Ofast-compile=min)

# Gives each of the sources FS_NVCC_SMALL_CODE, where nvcc knows it and the source does not refuse it.
function(fireseed_small_code)
  include(CheckCompilerFlag)
  check_compiler_flag(CUDA ${FS_NVCC_SMALL_CODE} FS_NVCC_HAS_SMALL_CODE)
  foreach(source IN LISTS ARGN)
    file(STRINGS "${source}" in_full LIMIT_COUNT 1 REGEX "^// Optimised in full: ")
    if(FS_NVCC_HAS_SMALL_CODE AND NOT in_full)
      set_source_files_properties("${source}" PROPERTIES COMPILE_OPTIONS ${FS_NVCC_SMALL_CODE})
    endif()
  endforeach()
endfunction()
