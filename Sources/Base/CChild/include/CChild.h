/* Starts a program between whose making and whose first instruction more has to be said
 * than posix_spawn can: a session of its own, and that it ends with the thread that made it. */
#ifndef CCHILD_H
#define CCHILD_H

#include <sys/types.h>

/* Makes a pipe, `ends[0]` to read and `ends[1]` to write, that no program inherits; the end
 * with the number `own` never waits. 0, or the error number. */
int cchild_pipe(int ends[2], int own);

/* Starts `arguments[0]`, looked for in PATH, in a session and a process group of its own, with
 * `streams` as standard input, output and error, and no other descriptor of ours; -1 for
 * /dev/null. `environment` is its environment, null for ours; `directory` where it works, null
 * for where we do. With `ends_with_thread`, it is killed when the calling thread ends, or its
 * process. 0 with its number in `child`, or the error number, negative if `directory` could not
 * be entered. */
int cchild_start(char *const arguments[], char *const environment[], const char *directory, const int streams[3],
                 int ends_with_thread, pid_t *child);

/* How a child ended, 0 to 255 or 256 and the number of a signal, and it is still to be waited
 * for, so that its number is nobody else's; -1 while it runs. */
int cchild_look(pid_t child);

/* Returns once a child has ended, and is still to be waited for, or is no child any more. */
void cchild_wait(pid_t child);

#endif
