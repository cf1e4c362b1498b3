// Threads that cannot be made, whoever asks for them, and signals as bytes.
#pragma once

#include <stddef.h>

/// Starts a thread that nobody joins.
///
/// `TARN_FAULT=thread@N` fails the process's Nth thread and every later one, whoever
/// makes it, as a limit on threads does.
///
/// Returns 0, or the error number when it cannot be made: then `body` is not called.
int cthreads_start(void (*body)(void *), void *context, size_t stack_size);

/// What is called, once, when a library cannot make a thread; it does not return.
///
/// libdispatch, which carries Swift's tasks, would try again each second without
/// end, and nothing that waits for it would hear of it.
void cthreads_end_without(void (*end)(int error));

/// From now on a byte with a signal's number can be read for each that arrives.
///
/// Returns the end of a pipe to read from, or -1 with `errno` set.
int cthreads_hear(const int *signals, size_t count);
