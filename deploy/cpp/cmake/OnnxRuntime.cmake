# Defines the target onnx_runtime from an unpacked ONNX Runtime release, or from the library of an installed Python wheel.
#
#   ONNXRUNTIME          folder of the release (include, lib), or of an installed `onnxruntime` module (capi)
#   ONNXRUNTIME_HEADERS  folder of onnxruntime_cxx_api.h and the headers beside it; default: ONNXRUNTIME/include. A
#                        wheel lacks them. They may be older than the library, but not newer.

if(NOT ONNXRUNTIME_HEADERS)
  set(ONNXRUNTIME_HEADERS "${ONNXRUNTIME}/include")
endif()
if(NOT EXISTS "${ONNXRUNTIME_HEADERS}/onnxruntime_cxx_api.h")
  message(FATAL_ERROR "expected onnxruntime_cxx_api.h in ONNXRUNTIME_HEADERS, got '${ONNXRUNTIME_HEADERS}'")
endif()
file(GLOB onnx_runtime_files "${ONNXRUNTIME}/lib/libonnxruntime*.so*" "${ONNXRUNTIME}/capi/libonnxruntime*.so*")
set(onnx_runtime_library "${onnx_runtime_files}")
list(FILTER onnx_runtime_library INCLUDE REGEX "/libonnxruntime\\.so[.0-9]*$")
if(NOT onnx_runtime_library)
  message(FATAL_ERROR "expected libonnxruntime.so in lib or capi of ONNXRUNTIME, got '${ONNXRUNTIME}'")
endif()
list(GET onnx_runtime_library -1 onnx_runtime_library)  # the file itself comes after the links to it
get_filename_component(onnx_runtime_folder "${onnx_runtime_library}" DIRECTORY)

# The library calls itself libonnxruntime.so.1. A wheel has no file of that name, so the program gets a folder with links
# to all of the wheel's files: the library finds its GPU providers in the folder that it is loaded from.
if(NOT EXISTS "${onnx_runtime_folder}/libonnxruntime.so.1")
  set(onnx_runtime_folder "${CMAKE_BINARY_DIR}/onnxruntime")
  file(MAKE_DIRECTORY "${onnx_runtime_folder}")
  foreach(file ${onnx_runtime_files})
    get_filename_component(name "${file}" NAME)
    file(CREATE_LINK "${file}" "${onnx_runtime_folder}/${name}" SYMBOLIC)
  endforeach()
  file(CREATE_LINK "${onnx_runtime_library}" "${onnx_runtime_folder}/libonnxruntime.so.1" SYMBOLIC)
endif()

add_library(onnx_runtime INTERFACE)
target_include_directories(onnx_runtime SYSTEM INTERFACE "${ONNXRUNTIME_HEADERS}")
target_link_libraries(onnx_runtime INTERFACE "${onnx_runtime_library}")
target_link_options(onnx_runtime INTERFACE "LINKER:-rpath,${onnx_runtime_folder}")
