#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "CChild.h"

// As in <linux/close_range.h>, which not every system has.
#define MARK_CLOSE_ON_EXEC 4U

// After vfork the memory is still the parent's, whose thread waits: system calls only,
// no allocation, and what a failure is travels through `error`.
static void become(char *const arguments[], char *const environment[], const char *directory, const int streams[3],
                   int ends_with_thread, pid_t parent, volatile int *error) {
  setsid();
  struct sigaction action = {.sa_handler = SIG_DFL};
  for (int number = 1; number < NSIG; number++) sigaction(number, &action, NULL);
  // > the signal will be sent upon the termination of that thread
  // https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html
  if (ends_with_thread) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(127);
  }
  for (int number = 0; number < 3; number++) {
    if (dup2(streams[number], number) < 0) {
      *error = errno;
      _exit(127);
    }
  }
  if (directory && chdir(directory) != 0) {
    *error = -errno;
    _exit(127);
  }
  syscall(SYS_close_range, 3U, ~0U, MARK_CLOSE_ON_EXEC);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  execvpe(arguments[0], arguments, environment ? environment : environ);
  *error = errno;
  _exit(127);
}

int cchild_pipe(int ends[2], int own) {
  if (pipe2(ends, O_CLOEXEC) != 0) return errno;
  fcntl(ends[own], F_SETFL, fcntl(ends[own], F_GETFL) | O_NONBLOCK);
  return 0;
}

int cchild_start(char *const arguments[], char *const environment[], const char *directory, const int streams[3],
                 int ends_with_thread, pid_t *child) {
  int copies[3];
  int error_number = 0;
  // Above 2, so that none is overwritten before it is in its place.
  for (int number = 0; number < 3; number++) {
    int null = streams[number] < 0 ? open("/dev/null", O_RDWR | O_CLOEXEC) : -1;
    copies[number] = fcntl(streams[number] < 0 ? null : streams[number], F_DUPFD_CLOEXEC, 3);
    if (copies[number] < 0 && error_number == 0) error_number = errno;
    if (null >= 0) close(null);
  }
  if (error_number == 0) {
    // A handler of ours must not run in the child, on memory that is ours.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    volatile int error = 0;
    pid_t parent = getpid();
    pid_t made = vfork();
    if (made == 0) become(arguments, environment, directory, copies, ends_with_thread, parent, &error);
    if (made < 0) error = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (made > 0 && error) {
      while (waitpid(made, NULL, 0) < 0 && errno == EINTR) {
      }
    }
    *child = made;
    error_number = error;
  }
  for (int number = 0; number < 3; number++) {
    if (copies[number] >= 0) close(copies[number]);
  }
  return error_number;
}

int cchild_look(pid_t child) {
  siginfo_t info = {.si_pid = 0};
  if (waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) return -1;
  return info.si_code == CLD_EXITED ? info.si_status : 256 + info.si_status;
}

void cchild_wait(pid_t child) {
  siginfo_t info;
  while (waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT) != 0 && errno == EINTR) {
  }
}
