# How nvcc compiles kernels: for the plugin (cmake/cuda.cmake) and for their tests on a GPU (tests/cuda_host/device.cmake);
# tests/cuda_static.py reads the options from here.

# -fmad=false as -ffp-contract=off on the CPU: formulas in math/ say fma where they mean it; so should kernels.
set(FS_NVCC_OPTIONS --expt-relaxed-constexpr -fmad=false -diag-suppress=20012,20014)

# Note [Size of the plugin]
# Hundreds of kernels for six architectures make the size of a wheel. This keeps it small:
#   - FS_NVCC_SMALL_CODE keeps nvcc from unrolling loops of unknown length: code a third as large, compiled in half the
#     time. Kernels say `#pragma unroll` where it pays. A file with a line "// Optimised in full: <reason>" is compiled
#     without it.
#   - Kernels that wait for memory take the dtype at run time (device/float_memory.cuh), those that compute do not.
#   - For a wheel all kernels are one translation unit: what they share is there once, and is compressed together. So
#     names in anonymous namespaces differ among the files.
#   - A file with a line "// Rarely used: …" is in a wheel as PTX alone, which the driver compiles at its first use, once
#     for a machine.
# Host code only launches: -Os.
set(FS_NVCC_SMALL_CODE --Ofast-compile=min)

# The line of the source that begins so, or nothing.
function(fireseed_says result source beginning)
  file(STRINGS "${source}" line LIMIT_COUNT 1 REGEX "^// ${beginning}: ")
  set(${result} "${line}" PARENT_SCOPE)
endfunction()

# Gives each of the sources FS_NVCC_SMALL_CODE, where nvcc knows it and the source does not refuse it.
function(fireseed_small_code)
  include(CheckCompilerFlag)
  check_compiler_flag(CUDA ${FS_NVCC_SMALL_CODE} FS_NVCC_HAS_SMALL_CODE)
  foreach(source IN LISTS ARGN)
    fireseed_says(in_full "${source}" "Optimised in full")
    if(FS_NVCC_HAS_SMALL_CODE AND NOT in_full)
      set_property(SOURCE "${source}" APPEND PROPERTY COMPILE_OPTIONS ${FS_NVCC_SMALL_CODE})
    endif()
  endforeach()
endfunction()

# Puts a file that includes the sources of the list in their place, compiled for all architectures side by side; those
# that are rarely used go to the list `rare`.
function(fireseed_one_unit sources rare)
  set(unit "${CMAKE_CURRENT_BINARY_DIR}/cuda_kernels.cu")
  set(text "// All kernels of the CUDA plugin (Note [Size of the plugin]).\n")
  set(units "${unit}")
  foreach(source IN LISTS ${sources})
    fireseed_says(in_full "${source}" "Optimised in full")
    fireseed_says(rarely "${source}" "Rarely used")
    if(rarely)
      list(APPEND rare_units "${source}")
    elseif(in_full)
      list(APPEND units "${source}")
    else()
      string(APPEND text "#include \"${source}\"\n")
    endif()
  endforeach()
  file(CONFIGURE OUTPUT "${unit}" CONTENT "${text}" @ONLY)
  set_property(SOURCE "${unit}" APPEND PROPERTY COMPILE_OPTIONS --threads 0)
  set(${sources} "${units}" PARENT_SCOPE)
  set(${rare} "${rare_units}" PARENT_SCOPE)
endfunction()
