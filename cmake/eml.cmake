# Flags, and the functions with which every folder declares its one target.

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
include(CheckPIESupported)
check_pie_supported() # also link programs so
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "" FORCE)
endif()
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g")
set(EML_OPTIMIZE "-O2" CACHE STRING "optimisation of the build type Release")
set(CMAKE_C_FLAGS_RELEASE "${EML_OPTIMIZE}")

add_compile_options(-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wvla -Wstrict-prototypes
  -Wmissing-prototypes -Wformat=2 -fstack-protector-strong -fno-strict-overflow
  -fstack-clash-protection -fno-common -ffp-contract=off -fno-math-errno -fno-trapping-math)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|amd64")
  add_compile_options(-fcf-protection=full)
endif()
add_compile_definitions(_POSIX_C_SOURCE=200809L)
if(EML_IMAGE) # where it was built must not show in what is measured
  add_compile_options("-ffile-prefix-map=${CMAKE_SOURCE_DIR}=.")
endif()
if(EML_WERROR)
  add_compile_options(-Werror)
endif()
if(EML_FUZZ AND NOT CMAKE_C_COMPILER_ID MATCHES Clang)
  message(FATAL_ERROR "the fuzz targets need clang: configure with --preset fuzz")
endif()
if(EML_SANITIZE OR EML_FUZZ)
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
  if(EML_FUZZ)
    add_compile_options(-fsanitize=fuzzer-no-link)
  endif()
else()
  add_compile_definitions($<$<NOT:$<CONFIG:Debug>>:_FORTIFY_SOURCE=2>)
endif()
add_link_options(-Wl,-z,relro,-z,now,-z,noexecstack)

# An include root for one folder: ${build}/roots/<name>/<name> -> the folder. A header can only be
# included as "name/x.h", and only where the target is linked.
function(eml_include_root target name)
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/roots/${name})
  file(CREATE_LINK ${CMAKE_CURRENT_SOURCE_DIR} ${CMAKE_BINARY_DIR}/roots/${name}/${name} SYMBOLIC)
  target_include_directories(${target} PUBLIC ${CMAKE_BINARY_DIR}/roots/${name})
endfunction()

# eml_library(<folder name> DEPS <other eml folders> LIBS <system libraries, private>):
# all .c files of this folder (and its subfolders) as the static library eml_<name>.
function(eml_library name)
  cmake_parse_arguments(A "" "" "DEPS;LIBS;EXCLUDE" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.c)
  foreach(x ${A_EXCLUDE})
    list(FILTER sources EXCLUDE REGEX "/${x}$")
  endforeach()
  add_library(eml_${name} STATIC ${sources})
  eml_include_root(eml_${name} ${name})
  foreach(dep ${A_DEPS})
    target_link_libraries(eml_${name} PUBLIC eml_${dep})
  endforeach()
  target_link_libraries(eml_${name} PRIVATE ${A_LIBS})
endfunction()
