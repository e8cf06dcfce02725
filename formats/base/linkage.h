/* linkage.h - makes a C header usable from C++: functions have C linkage; and says
 * which functions the library shows.
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

/* A function of the public headers. All others are hidden (-fvisibility=hidden). */
#if defined(__GNUC__)
#define LVLM_API __attribute__((visibility("default")))
#else
#define LVLM_API
#endif

#endif
