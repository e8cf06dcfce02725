# lvlmConfig.cmake - the targets lvlm::lvlm, which is shared, and lvlm::static, where what
# it needs is installed: as lvlm.pc and lvlm-static.pc describe them.
include(CMakeFindDependencyMacro)
find_dependency(PkgConfig)
if(NOT TARGET lvlm::lvlm)
    get_filename_component(lvlm_pc "${CMAKE_CURRENT_LIST_DIR}/../../pkgconfig" ABSOLUTE)
    set(lvlm_path "$ENV{PKG_CONFIG_PATH}")
    set(ENV{PKG_CONFIG_PATH} "${lvlm_pc}:${lvlm_path}")
    pkg_check_modules(LVLM_PC QUIET IMPORTED_TARGET GLOBAL lvlm)
    pkg_check_modules(LVLM_STATIC_PC QUIET IMPORTED_TARGET GLOBAL lvlm-static)
    set(ENV{PKG_CONFIG_PATH} "${lvlm_path}")
    if(LVLM_STATIC_PC_FOUND)
        add_library(lvlm::static STATIC IMPORTED)
        set_target_properties(lvlm::static PROPERTIES
            IMPORTED_LOCATION "${LVLM_STATIC_PC_LIBDIR}/liblvlm.a"
            INTERFACE_LINK_LIBRARIES PkgConfig::LVLM_STATIC_PC)
    endif()
    if(LVLM_PC_FOUND)
        add_library(lvlm::lvlm ALIAS PkgConfig::LVLM_PC)
    else()
        set(lvlm_FOUND FALSE)
        set(lvlm_NOT_FOUND_MESSAGE "pkg-config --print-errors --exists lvlm says why, \
with PKG_CONFIG_PATH=${lvlm_pc}")
    endif()
endif()
