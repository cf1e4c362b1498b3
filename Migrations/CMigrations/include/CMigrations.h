// The catalog's SQL, as its files have it; Migrations.swift hands it on.
#pragma once

#include <stddef.h>

/// A migration.
struct cmigrations_step {
  const char *name;  // of its file, without the extension
  const char *sql;
};

/// The migrations, oldest first, from place 0 on; NULL after the last one.
const struct cmigrations_step *cmigrations_step(size_t place);

/// Schema.sql.
const char *cmigrations_tables(void);

/// Views.sql.
const char *cmigrations_views(void);
