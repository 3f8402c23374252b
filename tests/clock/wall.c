/* The system's clock of one process, moved: preloaded, it adds an offset to CLOCK_REALTIME, and says
   what the kernel says of NTP. The offset is read from a file at each call, so that it can jump.

   The file (environment CLOCK_FILE) holds three int64: offset in ns, 1 if "synchronised", maxerror
   in us. CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW and CLOCK_BOOTTIME are left alone, and so are the
   times of files: the kernel writes those. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

static volatile const int64_t *told(void) {
    static volatile const int64_t *memory;
    if (!memory) {
        const char *path = getenv("CLOCK_FILE");
        int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        void *found = file < 0 ? MAP_FAILED : mmap(NULL, 24, PROT_READ, MAP_SHARED, file, 0);
        if (found == MAP_FAILED) abort();
        close(file);
        memory = found;
    }
    return memory;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && clock == CLOCK_REALTIME) {
        int64_t ns = now->tv_sec * 1000000000LL + now->tv_nsec + told()[0];
        now->tv_sec = ns / 1000000000;
        now->tv_nsec = ns % 1000000000;
    }
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec found;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &found);
    now->tv_sec = found.tv_sec;
    now->tv_usec = found.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *to) {
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    if (to) *to = found.tv_sec;
    return found.tv_sec;
}

int adjtimex(struct timex *to) {
    to->status = told()[1] ? 0 : STA_UNSYNC;
    to->maxerror = told()[2];
    return told()[1] ? TIME_OK : TIME_ERROR;
}
