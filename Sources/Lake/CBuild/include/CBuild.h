/* What this build was made of and runs on. Strings that live as long as the process. */
#ifndef CBUILD_H
#define CBUILD_H

/* The commit, with "+changes" where files differed from it; "unknown" where the build was not told. */
const char *cbuild_commit(void);

/* The libraries as they are loaded now, not as they were when this was compiled.
 * https://www.sqlite.org/c3ref/libversion.html */
const char *cbuild_sqlite_version(void);
/* Its version, how it was built, and the kernels it has chosen. */
const char *cbuild_openblas_version(void);

#endif
