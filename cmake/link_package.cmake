# Links every entry of the source package `from` into the build's package `to`, beside the compiled parts.
file(MAKE_DIRECTORY "${to}")
file(GLOB entries RELATIVE "${from}" "${from}/*")
foreach(entry IN LISTS entries)
  if(NOT entry STREQUAL "__pycache__" AND NOT EXISTS "${to}/${entry}")
    file(CREATE_LINK "${from}/${entry}" "${to}/${entry}" SYMBOLIC)
  endif()
endforeach()
