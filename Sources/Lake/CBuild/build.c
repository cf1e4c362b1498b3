// The commit comes from TARN_COMMIT in the environment of the build (Package.swift):
// this file alone is compiled again when it changes.
#include <cblas.h>
#include <sqlite3.h>

#include "CBuild.h"

#ifndef TARN_COMMIT
#define TARN_COMMIT "unknown"
#endif

const char *cbuild_commit(void) { return TARN_COMMIT; }

const char *cbuild_sqlite_version(void) { return sqlite3_libversion(); }

const char *cbuild_openblas_version(void) { return openblas_get_config(); }
