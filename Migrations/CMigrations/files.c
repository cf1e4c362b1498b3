// The SQL files beside this directory, in the program. As literals of Swift they took a minute and a half to compile.
#include "CMigrations.h"

#include <stddef.h>

static const struct cmigrations_step steps[] = {
    {"M0001_catalog", (const char[]){
#embed "../M0001_catalog.sql" suffix(, 0)
    }},
    {"M0002_history", (const char[]){
#embed "../M0002_history.sql" suffix(, 0)
    }},
    {"M0003_totals", (const char[]){
#embed "../M0003_totals.sql" suffix(, 0)
    }},
    {"M0004_evaluation", (const char[]){
#embed "../M0004_evaluation.sql" suffix(, 0)
    }},
    {"M0005_chunks", (const char[]){
#embed "../M0005_chunks.sql" suffix(, 0)
    }},
    {"M0006_router", (const char[]){
#embed "../M0006_router.sql" suffix(, 0)
    }},
    {"M0007_locations", (const char[]){
#embed "../M0007_locations.sql" suffix(, 0)
    }},
    {"M0008_views", (const char[]){
#embed "../M0008_views.sql" suffix(, 0)
    }},
    {"M0009_ranges", (const char[]){
#embed "../M0009_ranges.sql" suffix(, 0)
    }},
    {"M0010_indexes", (const char[]){
#embed "../M0010_indexes.sql" suffix(, 0)
    }},
    {"M0011_stored_bytes", (const char[]){
#embed "../M0011_stored_bytes.sql" suffix(, 0)
    }},
    {"M0012_guards", (const char[]){
#embed "../M0012_guards.sql" suffix(, 0)
    }},
    {"M0013_views", (const char[]){
#embed "../M0013_views.sql" suffix(, 0)
    }},
    {"M0014_trust", (const char[]){
#embed "../M0014_trust.sql" suffix(, 0)
    }},
    {"M0015_ways_back", (const char[]){
#embed "../M0015_ways_back.sql" suffix(, 0)
    }},
    {"M0016_tombstones", (const char[]){
#embed "../M0016_tombstones.sql" suffix(, 0)
    }},
    {"M0017_published", (const char[]){
#embed "../M0017_published.sql" suffix(, 0)
    }},
    {"M0018_listings", (const char[]){
#embed "../M0018_listings.sql" suffix(, 0)
    }},
    {"M0019_adopted", (const char[]){
#embed "../M0019_adopted.sql" suffix(, 0)
    }},
    {"M0020_commands", (const char[]){
#embed "../M0020_commands.sql" suffix(, 0)
    }},
    {"M0021_arrays", (const char[]){
#embed "../M0021_arrays.sql" suffix(, 0)
    }},
    {"M0022_exclusions", (const char[]){
#embed "../M0022_exclusions.sql" suffix(, 0)
    }},
    {"M0023_companions", (const char[]){
#embed "../M0023_companions.sql" suffix(, 0)
    }},
    {"M0024_refine", (const char[]){
#embed "../M0024_refine.sql" suffix(, 0)
    }},
    {"M0025_rules", (const char[]){
#embed "../M0025_rules.sql" suffix(, 0)
    }},
    {"M0026_training", (const char[]){
#embed "../M0026_training.sql" suffix(, 0)
    }},
    {"M0027_readers_rules", (const char[]){
#embed "../M0027_readers_rules.sql" suffix(, 0)
    }},
    {"M0028_probed_sizes", (const char[]){
#embed "../M0028_probed_sizes.sql" suffix(, 0)
    }},
};

static const char tables[] = {
#embed "../Schema.sql" suffix(, 0)
};

static const char views[] = {
#embed "../Views.sql" suffix(, 0)
};

const struct cmigrations_step *cmigrations_step(size_t place) {
  return place < sizeof steps / sizeof *steps ? steps + place : NULL;
}

const char *cmigrations_tables(void) { return tables; }

const char *cmigrations_views(void) { return views; }
