/* linkage.h - makes a C header usable from C++: functions have C linkage.
 *
 * Every header of a library has its declarations between LVLM_BEGIN_DECLS and
 * LVLM_END_DECLS, after its includes. Headers that are compiled once per precision and
 * those of programs are for C only. */
#ifndef LVLM_FORMATS_BASE_LINKAGE_H
#define LVLM_FORMATS_BASE_LINKAGE_H

#ifdef __cplusplus
#define LVLM_BEGIN_DECLS extern "C" {
#define LVLM_END_DECLS }
#else
#define LVLM_BEGIN_DECLS
#define LVLM_END_DECLS
#endif

#endif
